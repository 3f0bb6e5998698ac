package console

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pquerna/otp/totp"
	"golang.org/x/net/html"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/domain/user"
)

func TestSigningIn(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	t.Run("leads to where somebody wanted to go", func(t *testing.T) {
		v := s.visitor(t)
		door := v.open("/me/settings").is(http.StatusOK, "Sign in")
		if got := door.send("Sign in", "email", adminEmail, "password", adminPassword).path(); got != "/me/settings" {
			t.Errorf("it leads to %s, want /me/settings", got)
		}
	})
	t.Run("leads nowhere else", func(t *testing.T) {
		for _, elsewhere := range []string{
			"//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:x",
		} {
			v := s.visitor(t)
			inside := v.open("/sign-in").send("Sign in", "email", adminEmail, "password", adminPassword, "next",
				elsewhere)
			if inside.url.Host != strings.TrimPrefix(s.url, "http://") || inside.url.Path != "/" {
				t.Errorf("next=%s leads to %s", elsewhere, inside.url)
			}
		}
	})
	t.Run("wrong, whatever is wrong", func(t *testing.T) {
		var said []string
		for _, email := range []string{adminEmail, "nobody@example.com", "no address"} {
			refused := s.visitor(t).open("/sign-in").send("Sign in", "email", email, "password", "wrong")
			if refused.status != http.StatusUnauthorized && email != "no address" || refused.value("email") != email {
				t.Errorf("%s: %s", email, refused)
			}
			said = append(said, textOf(refused.find(func(n *html.Node) bool {
				return attribute(n, "role") == "alert"
			})))
		}
		if said[0] == "" || said[0] != said[1] || said[0] != said[2] {
			t.Errorf("the answers differ: %q", said)
		}
	})
	t.Run("out again", func(t *testing.T) {
		v := s.admin(t)
		v.open("/me").send("Sign out").is(http.StatusOK, "Sign in").has("You have signed out.")
		if got := v.open("/me").path(); got != "/sign-in?next=%2Fme" {
			t.Errorf("after signing out /me is %s", got)
		}
	})
	t.Run("a session that has ended", func(t *testing.T) {
		v := s.admin(t)
		form := v.open("/me")
		s.must(t)(s.commands.EndSessions(t.Context(), commands.Operator(), s.adminID))
		form.send("Save", "first_name", "Olena").is(http.StatusUnauthorized, "Sign in").
			has("Your session has ended", "Nothing was saved.")
		v.open("/me").is(http.StatusOK, "Sign in")
	})
}

func TestARequiredSecondFactorIsSetUpAtTheSignIn(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	id := s.person(t, "anna@example.com", nil)
	s.must(t)(s.commands.ChangeUser(t.Context(), commands.Operator(), id, commands.ChangeUser{
		Patch: user.Patch{RequireTwoFactor: pointerTo(true)},
	}))
	v := s.visitor(t)
	setup := v.open("/me").send("Sign in", "email", "anna@example.com", "password", adminPassword).
		is(http.StatusOK, "Your account needs a second step")

	t.Log("nothing else can be done")
	if got := v.open("/me").path(); got != setupPage {
		t.Errorf("/me leads to %s, want %s", got, setupPage)
	}
	t.Log("the picture has an address of its own and is kept by no cache")
	picture := v.open("/two-factor/qr.png")
	if picture.status != http.StatusOK || picture.header.Get("Content-Type") != "image/png" ||
		picture.header.Get("Cache-Control") != "no-store" {
		t.Errorf("the picture: %d %v", picture.status, picture.header)
	}
	if strings.Contains(setup.body, "data:") {
		t.Error("the picture is in the page")
	}
	setup.lacks("otpauth:")
	if got := s.visitor(t).open("/two-factor/qr.png"); got.header.Get("Content-Type") == "image/png" {
		t.Errorf("somebody else sees the picture: %s", got)
	}
	secret := strings.ReplaceAll(textOf(setup.find(func(n *html.Node) bool {
		return strings.Contains(attribute(n, "class"), "key-text")
	})), " ", "")

	wrong := setup.send("Go on", "code", "000000")
	if wrong.status != http.StatusUnprocessableEntity || !strings.Contains(wrong.wrong("code"), "clock") {
		t.Errorf("a wrong code: %s", wrong)
	}
	code, err := totp.GenerateCode(secret, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	codes := wrong.send("Go on", "code", code[:3]+" "+code[3:]).is(http.StatusOK, "Keep your backup codes")
	list := codes.all(func(n *html.Node) bool { return n.Data == "li" && attribute(n.Parent, "id") == "codes" })
	if len(list) != 10 {
		t.Fatalf("there are %d backup codes, want 10", len(list))
	}
	file := codes.send("Save as a file")
	if !strings.Contains(file.body, textOf(list[9])) ||
		!strings.Contains(file.header.Get("Content-Disposition"), "attachment") {
		t.Errorf("the file: %s", file.body)
	}
	codes.send("Done").is(http.StatusOK, "Home")

	t.Log("the next sign-in asks for a code; a backup code works once")
	again := s.visitor(t)
	second := again.open("/me/access").send("Sign in", "email", "anna@example.com", "password", adminPassword).
		is(http.StatusOK, "Second step")
	second.send("Sign in", "code", "123456").is(http.StatusUnauthorized, "Second step")
	inside := second.send("Sign in with the backup code", "backup_code", textOf(list[0]))
	if inside.path() != "/me/access" {
		t.Errorf("it leads to %s, want /me/access: %s", inside.path(), inside)
	}
	again.open("/me/settings").has("9 of 10 backup codes left", "you cannot switch it off")
}

// A person who has a cabinet password and nothing else gets inside without knowing a path.
func TestFromACabinetPasswordToTheCabinet(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	nova := s.must(t)(s.commands.CreateCompany(t.Context(), commands.Operator(), company.Details{Name: "Nova"}))
	s.must(t)(s.commands.SetCabinetPassword(t.Context(), commands.Operator(), nova, "the cabinet of Nova"))
	anna := s.must(t)(s.commands.RegisterUser(t.Context(), commands.Operator(), commands.RegisterUser{
		Details: user.Details{Email: "anna@example.com", CompanyID: nova}, RequireTwoFactor: true,
	}))
	v := s.visitor(t)
	asked := v.open("/").follow("First Login: you have a cabinet password").is(http.StatusOK, "First Login")
	asked.send("Send the link", "email", "anna", "cabinet_password", "").
		is(http.StatusUnprocessableEntity, "First Login")
	asked.send("Send the link", "email", "anna@example.com", "cabinet_password", "the cabinet of Nova").
		is(http.StatusOK, "Check your mailbox")

	link := "/first_login/" + s.link(t, anna, signin.FirstLoginRequested{}.EventType())
	opened := v.open(link).is(http.StatusOK, "Welcome")
	v.open(link).is(http.StatusOK, "Welcome") // opening it uses it not up
	password := opened.send("Sign in").is(http.StatusOK, "Set a new password")
	for name, c := range map[string]struct{ new, repeated, field string }{
		"short":     {"k9#x", "k9#x", "new_password"},
		"different": {"a long pass phrase of Anna", "another one", "repeat_password"},
		"weak":      {"anna@example.com", "anna@example.com", "new_password"},
	} {
		refused := password.send("Save the password", "new_password", c.new, "repeat_password", c.repeated)
		if refused.status != http.StatusUnprocessableEntity || refused.wrong(c.field) == "" {
			t.Errorf("%s: %s", name, refused)
		}
		refused.lacks(c.new)
	}
	password.send("Save the password", "new_password", "a long pass phrase of Anna", "repeat_password",
		"a long pass phrase of Anna").is(http.StatusOK, "Your account needs a second step")
	v.open(link).is(http.StatusGone, "This link does not work").follow("Ask for a new link").
		is(http.StatusOK, "First Login")

	t.Log("later the password is forgotten")
	forgot := s.visitor(t)
	forgot.open("/sign-in").follow("Forgot your password?").
		send("Send the link", "email", "anna@example.com").is(http.StatusOK, "Check your mailbox")
	reset := "/password_reset/" + s.link(t, anna, signin.ResetLinkRequested{}.EventType())
	forgot.open(reset).send("Save the password", "new_password", "the second phrase of Anna", "repeat_password",
		"the second phrase of Anna").is(http.StatusOK, "Your password is set").send("Sign in").
		send("Sign in", "email", "anna@example.com", "password", "the second phrase of Anna").
		is(http.StatusOK, "Your account needs a second step")
	forgot.open(reset).is(http.StatusGone, "This link does not work")
}

// What a page of another site makes a browser send changes nothing.
func TestFormsOfOthersAreRefused(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	v := s.admin(t)
	own := v.open("/me")
	form := own.find(func(n *html.Node) bool { return n.Data == "form" && attribute(n, "action") == "/me" })
	token := valuesOf(form).Get(tokenName)
	other := valuesOf(s.visitor(t).open("/sign-in").find(func(n *html.Node) bool {
		return n.Data == "form" && attribute(n, "action") == "/sign-in"
	})).Get(tokenName)
	for name, c := range map[string]struct{ token, header, value string }{
		"without a token":        {"", "Sec-Fetch-Site", "same-origin"},
		"with another's token":   {other, "Sec-Fetch-Site", "same-origin"},
		"from another site":      {token, "Sec-Fetch-Site", "cross-site"},
		"from a sister site":     {token, "Sec-Fetch-Site", "same-site"},
		"of an older browser":    {token, "Origin", "https://evil.example"},
		"of one that says where": {token, "Referer", "https://evil.example/page"},
	} {
		t.Run(name, func(t *testing.T) {
			body := strings.NewReader(tokenName + "=" + c.token + "&first_name=Eve")
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/me", body)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			request.Header.Set(c.header, c.value)
			if got := v.of(t).do(request); got.status != http.StatusForbidden {
				t.Errorf("got %s, want a refusal", got)
			}
		})
	}
	if got := v.open("/me").value("first_name"); got != "" {
		t.Errorf("the name is %q now", got)
	}
	own.send("Save", "first_name", "Olena")
	if diff := cmp.Diff("Olena", v.open("/me").value("first_name")); diff != "" {
		t.Errorf("an own form (-want +got):\n%s", diff)
	}
}

func pointerTo[T any](value T) *T { return &value }
