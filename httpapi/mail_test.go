package httpapi

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/secboard/secboard/domain/mailmessage"
	"github.com/secboard/secboard/mailing/mailtest"
	"github.com/secboard/secboard/pause/pausetest"
	"github.com/secboard/secboard/processes"
	"github.com/secboard/secboard/smtpclient/mtatest"
)

// sends begins to deliver mail, with links to the API's own address.
func (a *api) sends(t *testing.T) {
	t.Helper()
	mail := &processes.Mail{
		Pool: a.pool, Commands: a.Commands, Due: a.ReadModels.DueMail, Logger: slog.New(slog.DiscardHandler),
		Transport: a.MailTransport, Superusers: a.ReadModels.Superusers,
		BaseURL: func(context.Context) (string, error) { return a.url, nil },
	}
	if err := mail.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() {
		if err := mail.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		ended.Wait()
	})
}

// mailAccount makes a mail account at a server in the test's process, and gives the ids of both.
func (a *api) mailAccount(t *testing.T, sink *mailtest.Sink, address string) (server, account string) {
	t.Helper()
	server = a.create(t, "/mail/servers",
		map[string]any{"name": "Sink", "host": sink.Host, "port": sink.Port, "security": "none"})
	return server, a.create(t, "/mail/accounts",
		map[string]any{"server_id": server, "address": address, "display_name": "SecBoard"})
}

func (a *api) change(t *testing.T, method, path string, body any) answered {
	t.Helper()
	changed := a.call(t, a.admin, method, path, body)
	if changed.status >= 300 {
		t.Fatalf("%s %s: %s: got %v, want less than 300", method, path, changed, changed.status)
	}
	return changed
}

// arrived waits until mails of a subject were sent, and gives them.
func arrived(t *testing.T, sink *mailtest.Sink, subject string, n int) []mailtest.Message {
	t.Helper()
	var found []mailtest.Message
	pausetest.Until(t, fmt.Sprintf("%d mails %q", n, subject), func() bool {
		found = nil
		for _, m := range sink.Taken() {
			if strings.Contains(m.Header(t, "Subject"), subject) {
				found = append(found, m)
			}
		}
		return len(found) >= n
	})
	return found
}

// Mail servers and accounts are kept with their history, and never show a password.
func TestMailServersAndAccounts(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	server := a.create(t, "/mail/servers", map[string]any{"name": "Office", "host": "SMTP.example.com", "port": 587})
	shown := a.call(t, a.admin, http.MethodGet, "/mail/servers/"+server, nil)
	if diff := cmp.Diff([]any{"smtp.example.com", 587.0, "starttls", 30.0},
		[]any{shown.json["host"], shown.json["port"], shown.json["security"], shown.json["timeout_s"]}); diff != "" {
		t.Errorf("got (-want +got):\n%s", diff)
	}
	between := time.Now().UTC().Format(time.RFC3339Nano)
	changed := a.change(t, http.MethodPatch, "/mail/servers/"+server,
		map[string]any{"port": 465, "security": "tls", "name": "Head office"})
	if changed.json["port"] != 465.0 {
		t.Errorf("port = %v, want 465.0", changed.json["port"])
	}
	then := a.call(t, a.admin, http.MethodGet, "/mail/servers/"+server+"?as_of="+between, nil)
	if then.json["port"] != 587.0 {
		t.Errorf("port = %v, want 587.0", then.json["port"])
	}
	if got := a.call(t, a.admin, http.MethodGet, "/mail/servers/"+server+"/history", nil).items(); len(got) != 3 {
		t.Errorf("the list has %d elements, want 3: %v", len(got), got)
	}
	for body, wrong := range map[string]string{
		`{"name":"x","host":"smtp.example.com:25","port":25}`:            "host",
		`{"name":"x","host":"a b","port":25}`:                            "host",
		`{"name":"x","host":"a","port":70000}`:                           "port",
		`{"name":"x","host":"a","port":25,"security":"ssl"}`:             "security",
		`{"name":"x\r\nX: y","host":"a","port":25}`:                      "name",
		`{"name":"x","host":"a","port":25,"timeout_s":121}`:              "timeout_s",
		`{"name":"x","host":"a","port":25,"password":"not of a server"}`: "password",
	} {
		t.Run(body, func(t *testing.T) {
			refused := a.call(t, a.admin, http.MethodPost, "/mail/servers", body)
			if refused.status != http.StatusUnprocessableEntity {
				t.Errorf("got %v, want %v", refused.status, http.StatusUnprocessableEntity)
			}
			if _, found := refused.wrong()[wrong]; !found {
				t.Errorf("%v lacks %v", refused.wrong(), wrong)
			}
		})
	}

	done := func() any {
		for _, item := range a.call(t, a.admin, http.MethodGet, "/setup", nil).items() {
			if item["code"] == "mail_account" {
				return item["done"]
			}
		}
		return nil
	}
	if got := done(); got != false {
		t.Errorf("done() = %v, want false", got)
	}
	const password = "the password at the server"
	account := a.create(t, "/mail/accounts", map[string]any{
		"server_id": server, "address": "accounts@example.com", "display_name": "Нова", "username": "accounts",
		"password": password,
	})
	if got := done(); got != true {
		t.Errorf("done() = %v, want true", got)
	}
	path := "/mail/accounts/" + account
	got := a.call(t, a.admin, http.MethodGet, path, nil)
	if got.json["has_password"] != true {
		t.Errorf("has_password = %v, want true", got.json["has_password"])
	}
	for _, patch := range []map[string]any{
		{"password": "another password"}, {"display_name": "Nova"}, {"address": "mail@example.com"}, {"username": nil},
		{"password": nil},
	} {
		got = a.change(t, http.MethodPatch, path, patch)
	}
	if got.json["has_password"] != false {
		t.Errorf("has_password = %v, want false", got.json["has_password"])
	}
	if got.json["username"] != nil {
		t.Errorf("username = %v, want nil", got.json["username"])
	}
	if _, found := got.json["username"]; !found {
		t.Errorf("%v lacks username", got.json)
	}
	history := a.call(t, a.admin, http.MethodGet, path+"/history", nil)
	if got := history.items(); len(got) != 7 {
		t.Errorf("history.items() has %d elements, want 7: %v", len(got), got)
	}
	for _, answer := range []answered{
		got, history, a.call(t, a.admin, http.MethodGet, path+"?as_of="+time.Now().UTC().Format(time.RFC3339Nano), nil),
	} {
		if got := string(answer.body); strings.Contains(got, "password at") {
			t.Errorf(`%q contains "password at"`, got)
		}
		if got := string(answer.body); strings.Contains(got, "another password") {
			t.Errorf(`%q contains "another password"`, got)
		}
	}
	for recorded, err := range a.Commands.Log.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if got := string(recorded.Data); strings.Contains(got, password) {
			t.Errorf("%q contains %q", got, password)
		}
	}
	if got := a.log.String(); strings.Contains(got, password) {
		t.Errorf("%q contains %q", got, password)
	}
	injected := a.call(t, a.admin, http.MethodPost, "/mail/accounts", map[string]any{
		"server_id": server, "address": "a@example.com", "display_name": "x\r\nBcc: all@example.com",
		"password": "a\nb",
	})
	if diff := cmp.Diff(map[string]string{"display_name": "control_character", "password": "password"},
		injected.wrong()); diff != "" {
		t.Errorf("%v (-want +got):\n%s", injected, diff)
	}
	unknown := a.call(t, a.admin, http.MethodPatch, path, map[string]any{"server_id": account})
	if diff := cmp.Diff(map[string]string{"server_id": "unknown_mail_server"}, unknown.wrong()); diff != "" {
		t.Errorf("%v (-want +got):\n%s", unknown, diff)
	}
	for name, kept := range map[string]string{"a server": "/mail/servers/" + server, "an account": path} {
		t.Run("instead of deleting "+name, func(t *testing.T) {
			refused := a.call(t, a.admin, http.MethodDelete, kept, nil)
			if refused.status != http.StatusMethodNotAllowed {
				t.Errorf("refused.status = %v, want %v", refused.status, http.StatusMethodNotAllowed)
			}
			if got := refused.text("code"); got != "history_is_kept" {
				t.Errorf(`code = %q, want "history_is_kept"`, got)
			}
			if got := refused.text("detail"); !strings.Contains(got, kept+"/retire") {
				t.Errorf("%q lacks %q", got, kept+"/retire")
			}
		})
	}
}

// What is in use can't be retired; what chooses it is named.
func TestMailThatIsInUseIsNotRetired(t *testing.T) {
	t.Parallel()
	a, sink := newAPI(t), mailtest.NewSink(t)
	server, account := a.mailAccount(t, sink, "accounts@example.com")
	company := a.create(t, "/companies", map[string]any{"name": "Nova"})
	refused := a.call(t, a.admin, http.MethodPost, "/mail/servers/"+server+"/retire", nil)
	if refused.status != http.StatusConflict {
		t.Errorf("%v: got %v, want %v", refused, refused.status, http.StatusConflict)
	}
	if got := refused.text("detail"); !strings.Contains(got, "accounts@example.com") {
		t.Errorf(`%q lacks "accounts@example.com"`, got)
	}
	for _, use := range []struct {
		method, path, field string
		outer               string
		named               string
	}{
		{http.MethodPut, "/mail/routes/password_reset", "mail_account_id", "", "the route of password_reset"},
		{http.MethodPut, "/companies/" + company + "/default-mail-account", "mail_account_id", "", "the default of " +
			"the company Nova"},
		{http.MethodPatch, "/settings/site", "default_mail_account_id", "", "the default of the site"},
		{http.MethodPatch, "/settings/contact", "mail_account_id", "auto_reply", "the auto-reply"},
	} {
		t.Run(use.named, func(t *testing.T) {
			set := func(value any) {
				body := map[string]any{use.field: value}
				if use.outer != "" {
					body = map[string]any{use.outer: body}
				}
				a.change(t, use.method, use.path, body)
			}
			set(account)
			refused := a.call(t, a.admin, http.MethodPost, "/mail/accounts/"+account+"/retire", nil)
			if refused.status != http.StatusConflict {
				t.Errorf("%v: got %v, want %v", refused, refused.status, http.StatusConflict)
			}
			if got := refused.text("code"); got != "in_use" {
				t.Errorf(`code = %q, want "in_use"`, got)
			}
			if got := refused.text("detail"); !strings.Contains(got, use.named) {
				t.Errorf("%q lacks %q", got, use.named)
			}
			set(nil)
		})
	}
	a.change(t, http.MethodPost, "/mail/accounts/"+account+"/retire", map[string]any{"reason": "not needed"})
	a.change(t, http.MethodPost, "/mail/servers/"+server+"/retire", nil)
	unusable := a.call(t, a.admin, http.MethodPut, "/mail/routes/password_reset",
		map[string]any{"mail_account_id": account})
	if diff := cmp.Diff(map[string]string{"mail_account_id": "unknown_mail_account"}, unusable.wrong()); diff != "" {
		t.Errorf("%v (-want +got):\n%s", unusable, diff)
	}
	gone := a.call(t, a.admin, http.MethodPost, "/mail/accounts/"+account+"/test",
		map[string]any{"to": "me@example.com"})
	if gone.status != http.StatusConflict {
		t.Errorf("%v: got %v, want %v", gone, gone.status, http.StatusConflict)
	}
}

// A company's route comes before the route for all, that before the company's default, and that before the site's.
func TestWhichMailAccountSends(t *testing.T) {
	t.Parallel()
	a, sink := newAPI(t), mailtest.NewSink(t)
	company := a.create(t, "/companies", map[string]any{"name": "Nova"})
	server, account := "", map[string]string{}
	for i, name := range []string{"site", "company", "all", "route"} {
		if i == 0 {
			server, account[name] = a.mailAccount(t, sink, name+"@example.com")
			continue
		}
		account[name] = a.create(t, "/mail/accounts",
			map[string]any{"server_id": server, "address": name + "@example.com"})
	}
	a.create(t, "/users", map[string]any{"email": "olena@example.com", "company_id": company})
	a.sends(t)
	const feature = "/mail/routes/password_reset"
	for n, c := range []struct {
		name, method, path string
		body               map[string]any
	}{
		{"site", http.MethodPatch, "/settings/site", map[string]any{"default_mail_account_id": account["site"]}},
		{"company", http.MethodPut, "/companies/" + company + "/default-mail-account",
			map[string]any{"mail_account_id": account["company"]}},
		{"all", http.MethodPut, feature, map[string]any{"mail_account_id": account["all"]}},
		{"route", http.MethodPut, feature,
			map[string]any{"mail_account_id": account["route"], "company_id": company}},
	} {
		t.Run(c.name, func(t *testing.T) {
			set := a.change(t, c.method, c.path, c.body)
			if routes, _ := set.json["routes"].([]any); c.name == "route" && len(routes) != 2 {
				t.Errorf("%d routes, want 2: %v", len(routes), routes)
			}
			asked := a.call(t, "", http.MethodPost, "/password-resets", map[string]any{"email": "olena@example.com"})
			if asked.status != http.StatusAccepted {
				t.Fatalf("%v: got %v, want %v", asked, asked.status, http.StatusAccepted)
			}
			if got := sink.Wait(t, n+1)[n].From; got != c.name+"@example.com" {
				t.Errorf("the mail is from %q, want %q", got, c.name+"@example.com")
			}
		})
	}
	if got := a.call(t, a.admin, http.MethodGet, "/mail/routes/history", nil).items(); len(got) != 2 {
		t.Errorf("the list has %d elements, want 2: %v", len(got), got)
	}
	if got := a.call(t, a.admin, http.MethodPut, "/mail/routes/newsletter",
		map[string]any{"mail_account_id": nil}).status; got != http.StatusNotFound {
		t.Errorf("got %v, want %v", got, http.StatusNotFound)
	}
	if got := a.call(t, a.admin, http.MethodGet, "/mail/features", nil).items(); len(got) != len(mailmessage.Features) {
		t.Errorf("the list has %d elements, want %d: %v", len(got), len(mailmessage.Features), got)
	}
}

// A test mail goes the way of every mail and tells each step.
func TestATestMailTellsEachStep(t *testing.T) {
	t.Parallel()
	a, sink := newAPI(t), mailtest.NewSink(t)
	server, account := a.mailAccount(t, sink, "accounts@example.com")
	tested := func() ([]string, map[string]any) {
		t.Helper()
		answer := a.call(t, a.admin, http.MethodPost, "/mail/accounts/"+account+"/test",
			map[string]any{"to": "me@example.com"})
		if answer.status != http.StatusOK {
			t.Fatalf("%v: got %v, want %v", answer, answer.status, http.StatusOK)
		}
		var names []string
		var last map[string]any
		for _, step := range answer.json["steps"].([]any) {
			last = step.(map[string]any)
			names = append(names, fmt.Sprint(last["step"]))
			if last["detail"] == nil || last["detail"] == "" {
				t.Errorf("the last step says nothing: %v", last)
			}
		}
		if diff := cmp.Diff(answer.json["ok"], last["ok"]); diff != "" {
			t.Errorf("ok (-want +got):\n%s", diff)
		}
		return names, last
	}
	steps, last := tested()
	if diff := cmp.Diff([]string{"resolve", "connect", "tls", "login", "send"}, steps); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if last["ok"] != true {
		t.Errorf("ok = %v, want true", last["ok"])
	}
	if last["fix"] != nil {
		t.Errorf("fix = %v, want nil", last["fix"])
	}
	if got := sink.Wait(t, 1)[0].To; got != "me@example.com" {
		t.Errorf(`sink.Wait(t, 1)[0].To = %q, want "me@example.com"`, got)
	}
	sink.Answer(func(mailtest.Message) error { return mailtest.Refusal(550, "we don't want it") })
	_, last = tested()
	if last["ok"] != false {
		t.Errorf("ok = %v, want false", last["ok"])
	}
	if got := fmt.Sprint(last["detail"]); !strings.Contains(got, "we don't want it") {
		t.Errorf(`%q lacks "we don't want it"`, got)
	}
	a.change(t, http.MethodPatch, "/mail/servers/"+server, map[string]any{"security": "starttls"})
	steps, last = tested()
	if got := steps[len(steps)-1]; got != "tls" {
		t.Errorf(`steps[len(steps)-1] = %q, want "tls"`, got)
	}
	if last["fix"] == nil || last["fix"] == "" {
		t.Errorf("the last step says no fix: %v", last)
	}
	wrong := a.call(t, a.admin, http.MethodPost, "/mail/accounts/"+account+"/test",
		map[string]any{"to": "me\r\nRCPT TO:<x@example.com>"})
	if wrong.status != http.StatusUnprocessableEntity {
		t.Errorf("%v: got %v, want %v", wrong, wrong.status, http.StatusUnprocessableEntity)
	}
}

// People are told of what concerns their security, in their language, wherever it comes from.
func TestSecurityNotices(t *testing.T) {
	t.Parallel()
	a, sink := newAPI(t), mailtest.NewSink(t)
	_, account := a.mailAccount(t, sink, "accounts@example.com")
	a.change(t, http.MethodPatch, "/settings/site",
		map[string]any{"default_mail_account_id": account, "name": "Nova", "default_language": "uk"})
	a.givePassword(t)
	a.sends(t)
	a.change(t, http.MethodPut, "/me/password",
		map[string]any{"current_password": adminPassword, "new_password": "another long pass phrase"})
	changed := arrived(t, sink, "Nova: ваш пароль змінено", 1)[0]
	text := changed.Part(t, "text/plain")
	if !strings.Contains(text, "127.0.0.1") {
		t.Errorf(`%q lacks "127.0.0.1"`, text)
	}
	if !strings.Contains(text, time.Now().UTC().Format("2006-01-02")) {
		t.Errorf("%q lacks %q", text, time.Now().UTC().Format("2006-01-02"))
	}
	if strings.Contains(text, "another long") {
		t.Errorf(`%q contains "another long"`, text)
	}

	person := a.create(t, "/users", map[string]any{"email": "olena@example.com", "first_name": "Олена"})
	a.change(t, http.MethodPatch, "/users/"+person, map[string]any{"email": "hanna@example.com"})
	both := arrived(t, sink, "адресу електронної пошти змінено", 2)
	if diff := cmp.Diff([]string{"olena@example.com", "hanna@example.com"}, []string{both[0].To, both[1].To},
		cmpopts.SortSlices(strings.Compare)); diff != "" {
		t.Errorf("[]string{both[0].To, both[1].To} (-want +got):\n%s", diff)
	}
	if got := both[0].Part(t, "text/html"); !strings.Contains(got, "Олена") {
		t.Errorf(`%q lacks "Олена"`, got)
	}
	if got := both[0].Raw + both[1].Raw; strings.Contains(got, "password_reset") {
		t.Errorf(`%q contains "password_reset"`, got)
	}

	for range 6 {
		a.call(t, "", http.MethodPost, "/sessions",
			map[string]any{"email": "hanna@example.com", "password": "a wrong guess of somebody"})
	}
	// Without a password nothing can be guessed; of a superuser, and of one that doesn't exist, neither is told more
	// than once.
	for range 12 {
		a.call(t, "", http.MethodPost, "/sessions",
			map[string]any{"email": adminEmail, "password": "a wrong guess of somebody"})
		a.call(t, "", http.MethodPost, "/sessions",
			map[string]any{"email": "nobody@example.com", "password": "a wrong guess of somebody"})
	}
	locked := arrived(t, sink, "забагато спроб входу", 1)
	if locked[0].To != adminEmail {
		t.Errorf("locked[0].To = %q, want %q", locked[0].To, adminEmail)
	}
	messages := a.call(t, a.admin, http.MethodGet, "/mail/messages?feature=security_notice&query=спроб", nil)
	if got := messages.items(); len(got) != 1 {
		t.Errorf("messages.items() has %d elements, want 1: %v", len(got), got)
	}
	if got := messages.items()[0]["notice"]; got != "locked_out" {
		t.Errorf(`messages.items()[0]["notice"] = %q, want "locked_out"`, got)
	}
}

// The contact form notifies its recipients and answers people once a day, never robots and never ourselves.
func TestTheContactForm(t *testing.T) {
	t.Parallel()
	a, sink := newAPI(t), mailtest.NewSink(t)
	_, account := a.mailAccount(t, sink, "accounts@example.com")
	a.change(t, http.MethodPatch, "/settings/site", map[string]any{"default_mail_account_id": account})
	set := a.change(t, http.MethodPatch, "/settings/contact", map[string]any{
		"address": "Kyiv\nKhreshchatyk 1", "phone": "+380 44 1",
		"social":     map[string]string{"linkedin": "https://example.com/nova"},
		"recipients": []string{"office@example.com", "boss@example.com"}, "reply_email": "answers@example.com",
		"auto_reply": map[string]any{},
	})
	if diff := cmp.Diff([]any{"office@example.com", "boss@example.com"}, set.json["recipients"]); diff != "" {
		t.Errorf("recipients (-want +got):\n%s", diff)
	}
	if set.json["auto_reply"] == nil {
		t.Errorf("auto_reply = %v, want something", set.json["auto_reply"])
	}
	a.sends(t)
	write := func(email, language string) {
		t.Helper()
		received := a.call(t, "", http.MethodPost, "/contact", map[string]any{
			"name": "Olena <b>K</b>", "email": email, "subject": "Ціна?", "message": "Hello\n<script>alert(1)</script>",
		}, with{"Accept-Language", language})
		if received.status != http.StatusAccepted {
			t.Fatalf("%v: got %v, want %v", received, received.status, http.StatusAccepted)
		}
	}
	write("olena@example.org", "ru")
	news := arrived(t, sink, "Contact form: Ціна?", 2)
	if diff := cmp.Diff([]string{"office@example.com", "boss@example.com"}, []string{news[0].To, news[1].To},
		cmpopts.SortSlices(strings.Compare)); diff != "" {
		t.Errorf("[]string{news[0].To, news[1].To} (-want +got):\n%s", diff)
	}
	if got := news[0].Header(t, "Reply-To"); got != "<olena@example.org>" {
		t.Errorf(`news[0].Header(t, "Reply-To") = %q, want "<olena@example.org>"`, got)
	}
	if got := news[0].Part(t, "text/plain"); !strings.Contains(got, "<script>alert(1)</script>") {
		t.Errorf(`%q lacks "<script>alert(1)</script>"`, got)
	}
	if got := news[0].Part(t, "text/html"); strings.Contains(got, "<script>") {
		t.Errorf(`%q contains "<script>"`, got)
	}
	answer := arrived(t, sink, "мы получили ваше сообщение", 1)[0]
	if answer.To != "olena@example.org" {
		t.Errorf(`answer.To = %q, want "olena@example.org"`, answer.To)
	}
	if got := answer.Header(t, "Auto-Submitted"); got != "auto-replied" {
		t.Errorf(`answer.Header(t, "Auto-Submitted") = %q, want "auto-replied"`, got)
	}
	if got := answer.Header(t, "Reply-To"); got != "<answers@example.com>" {
		t.Errorf(`answer.Header(t, "Reply-To") = %q, want "<answers@example.com>"`, got)
	}
	if got := answer.Part(t, "text/plain"); strings.Contains(got, "Olena") {
		t.Errorf(`nothing that the sender wrote: %q contains "Olena"`, got)
	}

	a.change(t, http.MethodPatch, "/settings/contact", map[string]any{
		"auto_reply": map[string]any{"subject": "Дякуємо", "body": "До зв’язку"},
		"recipients": []string{"office@example.com"},
	})
	for _, robot := range []string{"Olena@example.org", "MAILER-DAEMON@example.org", "no-reply@example.org",
		"office@example.com", "accounts@example.com", "answers@example.com"} {
		write(robot, "en")
	}
	write("hanna@example.org", "en")
	own := arrived(t, sink, "Дякуємо", 1)[0]
	if own.To != "hanna@example.org" {
		t.Errorf(`the only one that is answered: got %q, want "hanna@example.org"`, own.To)
	}
	if got := own.Part(t, "text/plain"); !strings.Contains(got, "До зв’язку") {
		t.Errorf(`%q lacks "До зв’язку"`, got)
	}
	arrived(t, sink, "Contact form", 9)
	answers := a.call(t, a.admin, http.MethodGet, "/mail/messages?feature=contact_auto_reply", nil)
	if got := answers.items(); len(got) != 2 {
		t.Errorf("answers.items() has %d elements, want 2: %v", len(got), got)
	}

	for i := range 6 {
		last := a.call(t, "", http.MethodPost, "/contact",
			map[string]any{"name": "x", "email": "flood@example.org", "subject": "x", "message": "x"})
		if got := last.status == http.StatusTooManyRequests; got != (i == 5) {
			t.Errorf("%v: got %v, want %v", last, got, (i == 5))
		}
	}
	injected := a.call(t, "", http.MethodPost, "/contact", map[string]any{
		"name": "x\r\nBcc: a@example.org", "email": "x@example.org\r\nBcc: a@example.org",
		"subject": "x\nBcc: a@example.org", "message": "x\x00",
	})
	for _, field := range []string{"name", "email", "subject", "message"} {
		if _, found := injected.wrong()[field]; !found {
			t.Errorf("%v lacks %v", injected.wrong(), field)
		}
	}
	wrong := a.call(t, a.admin, http.MethodPatch, "/settings/contact", map[string]any{
		"recipients": []string{"x"}, "reply_email": "x", "social": map[string]string{"x": "javascript:alert(1)"},
		"auto_reply": map[string]any{"subject": "a\nb", "color": "red"},
	})
	for _, field := range []string{"recipients.0", "reply_email", "social.x", "auto_reply.color"} {
		if _, found := wrong.wrong()[field]; !found {
			t.Errorf("%v: %v lacks %v", wrong, wrong.wrong(), field)
		}
	}
}

// A mail that failed can be seen and tried again; what it said can't be seen.
func TestFailedMailIsSeenAndTriedAgain(t *testing.T) {
	t.Parallel()
	a, sink := newAPI(t), mailtest.NewSink(t)
	_, account := a.mailAccount(t, sink, "accounts@example.com")
	a.change(t, http.MethodPatch, "/settings/site", map[string]any{"default_mail_account_id": account})
	person := a.create(t, "/users", map[string]any{"email": "olena@example.com"})
	sink.Answer(func(mailtest.Message) error { return mailtest.Refusal(550, "unknown mailbox") })
	a.sends(t)
	asked := a.call(t, "", http.MethodPost, "/password-resets", map[string]any{"email": "olena@example.com"})
	if asked.status != http.StatusAccepted {
		t.Fatalf("asked.status = %v, want %v", asked.status, http.StatusAccepted)
	}
	var failed []map[string]any
	pausetest.Until(t, "a failed mail", func() bool {
		failed = a.call(t, a.admin, http.MethodGet, "/mail/messages?state=failed&user_id="+person, nil).items()
		return len(failed) == 1
	})
	if diff := cmp.Diff([]any{"password_reset", "olena@example.com", 1.0},
		[]any{failed[0]["feature"], failed[0]["to"], failed[0]["attempts"]}); diff != "" {
		t.Errorf("got (-want +got):\n%s", diff)
	}
	if got := fmt.Sprint(failed[0]["last_error"]); !strings.Contains(got, "unknown mailbox") {
		t.Errorf(`%q lacks "unknown mailbox"`, got)
	}
	path := "/mail/messages/" + fmt.Sprint(failed[0]["id"])
	var history answered
	pausetest.Until(t, "its history", func() bool { // another read model than that of the list
		history = a.call(t, a.admin, http.MethodGet, path+"/history", nil)
		return len(history.items()) == 3
	})
	if got := string(history.body); strings.Contains(got, "password_reset/") {
		t.Errorf(`%q contains "password_reset/"`, got)
	}

	sink.Answer(nil)
	a.change(t, http.MethodPost, path+"/retry", nil)
	link := linkIn(t, sink.Wait(t, 1)[0])
	pausetest.Until(t, "it is sent", func() bool {
		return a.call(t, a.admin, http.MethodGet, path, nil).text("state") == "sent"
	})
	again := a.call(t, a.admin, http.MethodPost, path+"/retry", nil)
	if got := again.text("code"); got != "already_sent" {
		t.Errorf(`%v: got %q, want "already_sent"`, again, got)
	}
	used := a.call(t, "", http.MethodPost, "/password-resets/"+tokenIn(link),
		map[string]any{"new_password": "a new long pass phrase"})
	if used.status != http.StatusNoContent {
		t.Errorf("%v: got %v, want %v", used, used.status, http.StatusNoContent)
	}
	if got := a.log.String(); strings.Contains(got, tokenIn(link)) {
		t.Errorf("%q contains %q", got, tokenIn(link))
	}
}

// A first-login link is mailed when the cabinet password is right, and signs in.
func TestAFirstLoginLinkIsMailed(t *testing.T) {
	t.Parallel()
	a, sink := newAPI(t), mailtest.NewSink(t)
	_, account := a.mailAccount(t, sink, "accounts@example.com")
	company := a.create(t, "/companies", map[string]any{"name": "Nova"})
	a.change(t, http.MethodPut, "/companies/"+company+"/cabinet-password",
		map[string]any{"password": "the cabinet of nova"})
	a.change(t, http.MethodPut, "/mail/routes/first_login",
		map[string]any{"mail_account_id": account, "company_id": company})
	a.create(t, "/users", map[string]any{"email": "olena@example.com", "company_id": company})
	a.sends(t)
	for _, password := range []string{"the cabinet of another", "the cabinet of nova"} {
		asked := a.call(t, "", http.MethodPost, "/first-logins",
			map[string]any{"email": "olena@example.com", "cabinet_password": password})
		if asked.status != http.StatusAccepted {
			t.Fatalf("%v: got %v, want %v", asked, asked.status, http.StatusAccepted)
		}
	}
	link := linkIn(t, sink.Wait(t, 1)[0])
	if !strings.HasPrefix(link, "/first_login/") {
		t.Errorf("%s", link)
	}
	signedIn := a.call(t, "", http.MethodPost, "/first-logins/"+tokenIn(link), nil)
	if signedIn.status != http.StatusCreated {
		t.Errorf("%v: got %v, want %v", signedIn, signedIn.status, http.StatusCreated)
	}
	if got := a.call(t, a.admin, http.MethodGet, "/mail/messages", nil).items(); len(got) != 1 {
		t.Errorf("the list has %d elements, want 1: %v", len(got), got)
	}
}

// From the question to the new password through a real mail server, with TLS and a login.
func TestAResetLinkArrivesThroughARealMailServer(t *testing.T) {
	t.Parallel()
	exim := mtatest.Start(t)
	a := newAPI(t, func(o *Options) { o.MailTransport.RootCAs = exim.RootCAs })
	server := a.create(t, "/mail/servers",
		map[string]any{"name": "Exim", "host": exim.Host, "port": exim.Port, "security": "starttls"})
	account := a.create(t, "/mail/accounts", map[string]any{
		"server_id": server, "address": "accounts@" + mtatest.Domain, "display_name": "Нова: кабінет",
		"username": exim.Username, "password": exim.Password,
	})
	a.change(t, http.MethodPut, "/mail/routes/password_reset", map[string]any{"mail_account_id": account})
	a.sends(t)
	a.create(t, "/users", map[string]any{"email": "olena@" + mtatest.Domain, "first_name": "Олена, \"К.\""})
	asked := a.call(t, "", http.MethodPost, "/password-resets", map[string]any{"email": "Olena@" + mtatest.Domain},
		with{"Accept-Language", "uk"})
	if asked.status != http.StatusAccepted {
		t.Fatalf("%v: got %v, want %v", asked, asked.status, http.StatusAccepted)
	}
	mail := exim.Await(t, 1)[0]
	if mail.To != "olena@"+mtatest.Domain {
		t.Errorf("mail.To = %q, want %q", mail.To, "olena@"+mtatest.Domain)
	}
	if mail.Subject != "SecBoard: встановлення нового пароля" {
		t.Errorf("mail.Subject = %q, want %q", mail.Subject, "SecBoard: встановлення нового пароля")
	}
	if got := mail.Header.Get("Auto-Submitted"); got != "auto-generated" {
		t.Errorf(`mail.Header.Get("Auto-Submitted") = %q, want "auto-generated"`, got)
	}
	link := firstLink(mail.Body)
	if link == "" {
		t.Fatalf("%s: got %q, want something", mail.Body, link)
	}
	for _, want := range []int{http.StatusNoContent, http.StatusUnprocessableEntity} { // it works once
		used := a.call(t, "", http.MethodPost, "/password-resets/"+tokenIn(link),
			map[string]any{"new_password": "a new long pass phrase"})
		if used.status != want {
			t.Errorf("%v: got %v, want %v", used, used.status, want)
		}
	}
	signedIn := a.call(t, "", http.MethodPost, "/sessions",
		map[string]any{"email": "olena@" + mtatest.Domain, "password": "a new long pass phrase"})
	if signedIn.status != http.StatusCreated {
		t.Errorf("%v: got %v, want %v", signedIn, signedIn.status, http.StatusCreated)
	}
}

// linkIn is the path of the link in a mail.
func linkIn(t *testing.T, m mailtest.Message) string {
	t.Helper()
	link := firstLink(m.Part(t, "text/plain"))
	if link == "" {
		t.Fatalf("%s: got %q, want something", m.Raw, link)
	}
	return link
}

func firstLink(text string) string {
	for field := range strings.FieldsSeq(text) {
		if _, path, found := strings.Cut(field, "://"); found {
			_, path, _ = strings.Cut(path, "/")
			return "/" + path
		}
	}
	return ""
}

func tokenIn(link string) string {
	_, token, _ := strings.Cut(strings.TrimPrefix(link, "/"), "/")
	token, _, _ = strings.Cut(token, "?")
	return token
}
