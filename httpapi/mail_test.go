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

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/secboard/secboard/domain/mailmessage"
	"github.com/secboard/secboard/mailing/mailtest"
	"github.com/secboard/secboard/processes"
	"github.com/secboard/secboard/smtpclient/mtatest"
)

// sends begins to deliver mail, with links to the API's own address.
func (a *api) sends(t *testing.T) {
	t.Helper()
	mail := &processes.Mail{
		Pool: a.pool, Commands: a.Commands, Due: a.ReadModels.DueMail, Logger: slog.New(slog.DiscardHandler), Transport: a.MailTransport,
		BaseURL: func(context.Context) (string, error) { return a.url, nil },
	}
	require.NoError(t, mail.Begin(t.Context()))
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() { assert.NoError(t, mail.Run(ctx)) })
	t.Cleanup(func() {
		cancel()
		ended.Wait()
	})
}

// mailAccount makes a mail account at a server in the test's process, and gives the ids of both.
func (a *api) mailAccount(t *testing.T, sink *mailtest.Sink, address string) (server, account string) {
	t.Helper()
	server = a.create(t, "/mail/servers", map[string]any{"name": "Sink", "host": sink.Host, "port": sink.Port, "security": "none"})
	return server, a.create(t, "/mail/accounts", map[string]any{"server_id": server, "address": address, "display_name": "SecBoard"})
}

func (a *api) change(t *testing.T, method, path string, body any) answered {
	t.Helper()
	changed := a.call(t, a.admin, method, path, body)
	require.Less(t, changed.status, 300, "%s %s: %s", method, path, changed)
	return changed
}

// arrived waits until mails of a subject were sent, and gives them.
func arrived(t *testing.T, sink *mailtest.Sink, subject string, n int) []mailtest.Message {
	t.Helper()
	var found []mailtest.Message
	require.Eventually(t, func() bool {
		found = nil
		for _, m := range sink.Taken() {
			if strings.Contains(m.Header(t, "Subject"), subject) {
				found = append(found, m)
			}
		}
		return len(found) >= n
	}, patience, 20*time.Millisecond, "%d mails %q", n, subject)
	return found
}

// Mail servers and accounts are kept with their history, and never show a password.
func TestMailServersAndAccounts(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	server := a.create(t, "/mail/servers", map[string]any{"name": "Office", "host": "SMTP.example.com", "port": 587})
	shown := a.call(t, a.admin, http.MethodGet, "/mail/servers/"+server, nil)
	assert.Equal(t, []any{"smtp.example.com", 587.0, "starttls", 30.0}, []any{shown.json["host"], shown.json["port"], shown.json["security"], shown.json["timeout_s"]})
	between := time.Now().UTC().Format(time.RFC3339Nano)
	changed := a.change(t, http.MethodPatch, "/mail/servers/"+server, map[string]any{"port": 465, "security": "tls", "name": "Head office"})
	assert.Equal(t, 465.0, changed.json["port"])
	then := a.call(t, a.admin, http.MethodGet, "/mail/servers/"+server+"?as_of="+between, nil)
	assert.Equal(t, 587.0, then.json["port"])
	assert.Len(t, a.call(t, a.admin, http.MethodGet, "/mail/servers/"+server+"/history", nil).items(), 3)
	for body, wrong := range map[string]string{
		`{"name":"x","host":"smtp.example.com:25","port":25}`:            "host",
		`{"name":"x","host":"a b","port":25}`:                            "host",
		`{"name":"x","host":"a","port":70000}`:                           "port",
		`{"name":"x","host":"a","port":25,"security":"ssl"}`:             "security",
		`{"name":"x\r\nX: y","host":"a","port":25}`:                      "name",
		`{"name":"x","host":"a","port":25,"timeout_s":121}`:              "timeout_s",
		`{"name":"x","host":"a","port":25,"password":"not of a server"}`: "password",
	} {
		refused := a.call(t, a.admin, http.MethodPost, "/mail/servers", body)
		assert.Equal(t, http.StatusUnprocessableEntity, refused.status, body)
		assert.Contains(t, refused.wrong(), wrong, body)
	}

	done := func() any {
		for _, item := range a.call(t, a.admin, http.MethodGet, "/setup", nil).items() {
			if item["code"] == "mail_account" {
				return item["done"]
			}
		}
		return nil
	}
	assert.Equal(t, false, done())
	const password = "the password at the server"
	account := a.create(t, "/mail/accounts", map[string]any{
		"server_id": server, "address": "accounts@example.com", "display_name": "Нова", "username": "accounts", "password": password,
	})
	assert.Equal(t, true, done())
	path := "/mail/accounts/" + account
	got := a.call(t, a.admin, http.MethodGet, path, nil)
	assert.Equal(t, true, got.json["has_password"])
	for _, patch := range []map[string]any{
		{"password": "another password"}, {"display_name": "Nova"}, {"address": "mail@example.com"}, {"username": nil}, {"password": nil},
	} {
		got = a.change(t, http.MethodPatch, path, patch)
	}
	assert.Equal(t, false, got.json["has_password"])
	assert.Nil(t, got.json["username"])
	assert.Contains(t, got.json, "username")
	history := a.call(t, a.admin, http.MethodGet, path+"/history", nil)
	assert.Len(t, history.items(), 7)
	for _, answer := range []answered{got, history, a.call(t, a.admin, http.MethodGet, path+"?as_of="+time.Now().UTC().Format(time.RFC3339Nano), nil)} {
		assert.NotContains(t, string(answer.body), "password at")
		assert.NotContains(t, string(answer.body), "another password")
	}
	for recorded, err := range a.Commands.Log.ReadAll(t.Context(), 0) {
		require.NoError(t, err)
		assert.NotContains(t, string(recorded.Data), password)
	}
	assert.NotContains(t, a.log.String(), password)
	injected := a.call(t, a.admin, http.MethodPost, "/mail/accounts", map[string]any{
		"server_id": server, "address": "a@example.com", "display_name": "x\r\nBcc: all@example.com", "password": "a\nb",
	})
	assert.Equal(t, map[string]string{"display_name": "control_character", "password": "password"}, injected.wrong(), injected)
	unknown := a.call(t, a.admin, http.MethodPatch, path, map[string]any{"server_id": account})
	assert.Equal(t, map[string]string{"server_id": "unknown_mail_server"}, unknown.wrong(), unknown)
	for _, kept := range []string{"/mail/servers/" + server, path} {
		refused := a.call(t, a.admin, http.MethodDelete, kept, nil)
		assert.Equal(t, http.StatusMethodNotAllowed, refused.status)
		assert.Equal(t, "history_is_kept", refused.text("code"))
		assert.Contains(t, refused.text("detail"), kept+"/retire")
	}
}

// What is in use can't be retired; what chooses it is named.
func TestMailThatIsInUseIsNotRetired(t *testing.T) {
	t.Parallel()
	a, sink := newAPI(t), mailtest.NewSink(t)
	server, account := a.mailAccount(t, sink, "accounts@example.com")
	company := a.create(t, "/companies", map[string]any{"name": "Nova"})
	refused := a.call(t, a.admin, http.MethodPost, "/mail/servers/"+server+"/retire", nil)
	assert.Equal(t, http.StatusConflict, refused.status, refused)
	assert.Contains(t, refused.text("detail"), "accounts@example.com")
	for _, use := range []struct {
		method, path, field string
		outer               string
		named               string
	}{
		{http.MethodPut, "/mail/routes/password_reset", "mail_account_id", "", "the route of password_reset"},
		{http.MethodPut, "/companies/" + company + "/default-mail-account", "mail_account_id", "", "the default of the company Nova"},
		{http.MethodPatch, "/settings/site", "default_mail_account_id", "", "the default of the site"},
		{http.MethodPatch, "/settings/contact", "mail_account_id", "auto_reply", "the auto-reply"},
	} {
		set := func(value any) {
			body := map[string]any{use.field: value}
			if use.outer != "" {
				body = map[string]any{use.outer: body}
			}
			a.change(t, use.method, use.path, body)
		}
		set(account)
		refused := a.call(t, a.admin, http.MethodPost, "/mail/accounts/"+account+"/retire", nil)
		assert.Equal(t, http.StatusConflict, refused.status, refused)
		assert.Equal(t, "in_use", refused.text("code"))
		assert.Contains(t, refused.text("detail"), use.named)
		set(nil)
	}
	a.change(t, http.MethodPost, "/mail/accounts/"+account+"/retire", map[string]any{"reason": "not needed"})
	a.change(t, http.MethodPost, "/mail/servers/"+server+"/retire", nil)
	unusable := a.call(t, a.admin, http.MethodPut, "/mail/routes/password_reset", map[string]any{"mail_account_id": account})
	assert.Equal(t, map[string]string{"mail_account_id": "unknown_mail_account"}, unusable.wrong(), unusable)
	gone := a.call(t, a.admin, http.MethodPost, "/mail/accounts/"+account+"/test", map[string]any{"to": "me@example.com"})
	assert.Equal(t, http.StatusConflict, gone.status, gone)
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
		account[name] = a.create(t, "/mail/accounts", map[string]any{"server_id": server, "address": name + "@example.com"})
	}
	a.create(t, "/users", map[string]any{"email": "olena@example.com", "company_id": company})
	a.sends(t)
	const feature = "/mail/routes/password_reset"
	for n, set := range []func(){
		func() {
			a.change(t, http.MethodPatch, "/settings/site", map[string]any{"default_mail_account_id": account["site"]})
		},
		func() {
			a.change(t, http.MethodPut, "/companies/"+company+"/default-mail-account", map[string]any{"mail_account_id": account["company"]})
		},
		func() { a.change(t, http.MethodPut, feature, map[string]any{"mail_account_id": account["all"]}) },
		func() {
			answer := a.change(t, http.MethodPut, feature, map[string]any{"mail_account_id": account["route"], "company_id": company})
			assert.Len(t, answer.json["routes"], 2)
		},
	} {
		set()
		asked := a.call(t, "", http.MethodPost, "/password-resets", map[string]any{"email": "olena@example.com"})
		require.Equal(t, http.StatusAccepted, asked.status, asked)
		mails := sink.Wait(t, n+1)
		assert.Equal(t, []string{"site", "company", "all", "route"}[n]+"@example.com", mails[n].From)
	}
	assert.Len(t, a.call(t, a.admin, http.MethodGet, "/mail/routes/history", nil).items(), 2)
	assert.Equal(t, http.StatusNotFound, a.call(t, a.admin, http.MethodPut, "/mail/routes/newsletter", map[string]any{"mail_account_id": nil}).status)
	assert.Len(t, a.call(t, a.admin, http.MethodGet, "/mail/features", nil).items(), len(mailmessage.Features))
}

// A test mail goes the way of every mail and tells each step.
func TestATestMailTellsEachStep(t *testing.T) {
	t.Parallel()
	a, sink := newAPI(t), mailtest.NewSink(t)
	server, account := a.mailAccount(t, sink, "accounts@example.com")
	tested := func() ([]string, map[string]any) {
		t.Helper()
		answer := a.call(t, a.admin, http.MethodPost, "/mail/accounts/"+account+"/test", map[string]any{"to": "me@example.com"})
		require.Equal(t, http.StatusOK, answer.status, answer)
		var names []string
		var last map[string]any
		for _, step := range answer.json["steps"].([]any) {
			last = step.(map[string]any)
			names = append(names, fmt.Sprint(last["step"]))
			assert.NotEmpty(t, last["detail"])
		}
		assert.Equal(t, answer.json["ok"], last["ok"])
		return names, last
	}
	steps, last := tested()
	assert.Equal(t, []string{"resolve", "connect", "tls", "login", "send"}, steps)
	assert.Equal(t, true, last["ok"])
	assert.Nil(t, last["fix"])
	assert.Equal(t, "me@example.com", sink.Wait(t, 1)[0].To)
	sink.Answer(func(mailtest.Message) error { return mailtest.Refusal(550, "we don't want it") })
	_, last = tested()
	assert.Equal(t, false, last["ok"])
	assert.Contains(t, last["detail"], "we don't want it")
	a.change(t, http.MethodPatch, "/mail/servers/"+server, map[string]any{"security": "starttls"})
	steps, last = tested()
	assert.Equal(t, "tls", steps[len(steps)-1])
	assert.NotEmpty(t, last["fix"])
	wrong := a.call(t, a.admin, http.MethodPost, "/mail/accounts/"+account+"/test", map[string]any{"to": "me\r\nRCPT TO:<x@example.com>"})
	assert.Equal(t, http.StatusUnprocessableEntity, wrong.status, wrong)
}

// People are told of what concerns their security, in their language, wherever it comes from.
func TestSecurityNotices(t *testing.T) {
	t.Parallel()
	a, sink := newAPI(t), mailtest.NewSink(t)
	_, account := a.mailAccount(t, sink, "accounts@example.com")
	a.change(t, http.MethodPatch, "/settings/site", map[string]any{"default_mail_account_id": account, "name": "Nova", "default_language": "uk"})
	a.givePassword(t)
	a.sends(t)
	a.change(t, http.MethodPut, "/me/password", map[string]any{"current_password": adminPassword, "new_password": "another long pass phrase"})
	changed := arrived(t, sink, "Nova: ваш пароль змінено", 1)[0]
	text := changed.Part(t, "text/plain")
	assert.Contains(t, text, "127.0.0.1")
	assert.Contains(t, text, time.Now().UTC().Format("2006-01-02"))
	assert.NotContains(t, text, "another long")

	person := a.create(t, "/users", map[string]any{"email": "olena@example.com", "first_name": "Олена"})
	a.change(t, http.MethodPatch, "/users/"+person, map[string]any{"email": "hanna@example.com"})
	both := arrived(t, sink, "адресу електронної пошти змінено", 2)
	assert.ElementsMatch(t, []string{"olena@example.com", "hanna@example.com"}, []string{both[0].To, both[1].To})
	assert.Contains(t, both[0].Part(t, "text/html"), "Олена")
	assert.NotContains(t, both[0].Raw+both[1].Raw, "password_reset")

	for range 6 {
		a.call(t, "", http.MethodPost, "/sessions", map[string]any{"email": "hanna@example.com", "password": "a wrong guess of somebody"})
	}
	// Without a password nothing can be guessed; of a superuser, and of one that doesn't exist, neither is told more than once.
	for range 12 {
		a.call(t, "", http.MethodPost, "/sessions", map[string]any{"email": adminEmail, "password": "a wrong guess of somebody"})
		a.call(t, "", http.MethodPost, "/sessions", map[string]any{"email": "nobody@example.com", "password": "a wrong guess of somebody"})
	}
	locked := arrived(t, sink, "забагато спроб входу", 1)
	assert.Equal(t, adminEmail, locked[0].To)
	messages := a.call(t, a.admin, http.MethodGet, "/mail/messages?feature=security_notice&query=спроб", nil)
	assert.Len(t, messages.items(), 1)
	assert.Equal(t, "locked_out", messages.items()[0]["notice"])
}

// The contact form notifies its recipients and answers people once a day, never robots and never ourselves.
func TestTheContactForm(t *testing.T) {
	t.Parallel()
	a, sink := newAPI(t), mailtest.NewSink(t)
	_, account := a.mailAccount(t, sink, "accounts@example.com")
	a.change(t, http.MethodPatch, "/settings/site", map[string]any{"default_mail_account_id": account})
	set := a.change(t, http.MethodPatch, "/settings/contact", map[string]any{
		"address": "Kyiv\nKhreshchatyk 1", "phone": "+380 44 1", "social": map[string]string{"linkedin": "https://example.com/nova"},
		"recipients": []string{"office@example.com", "boss@example.com"}, "reply_email": "answers@example.com", "auto_reply": map[string]any{},
	})
	assert.Equal(t, []any{"office@example.com", "boss@example.com"}, set.json["recipients"])
	assert.NotNil(t, set.json["auto_reply"])
	a.sends(t)
	write := func(email, language string) {
		t.Helper()
		received := a.call(t, "", http.MethodPost, "/contact", map[string]any{
			"name": "Olena <b>K</b>", "email": email, "subject": "Ціна?", "message": "Hello\n<script>alert(1)</script>",
		}, with{"Accept-Language", language})
		require.Equal(t, http.StatusAccepted, received.status, received)
	}
	write("olena@example.org", "ru")
	news := arrived(t, sink, "Contact form: Ціна?", 2)
	assert.ElementsMatch(t, []string{"office@example.com", "boss@example.com"}, []string{news[0].To, news[1].To})
	assert.Equal(t, "<olena@example.org>", news[0].Header(t, "Reply-To"))
	assert.Contains(t, news[0].Part(t, "text/plain"), "<script>alert(1)</script>")
	assert.NotContains(t, news[0].Part(t, "text/html"), "<script>")
	answer := arrived(t, sink, "мы получили ваше сообщение", 1)[0]
	assert.Equal(t, "olena@example.org", answer.To)
	assert.Equal(t, "auto-replied", answer.Header(t, "Auto-Submitted"))
	assert.Equal(t, "<answers@example.com>", answer.Header(t, "Reply-To"))
	assert.NotContains(t, answer.Part(t, "text/plain"), "Olena", "nothing that the sender wrote")

	a.change(t, http.MethodPatch, "/settings/contact", map[string]any{"auto_reply": map[string]any{"subject": "Дякуємо", "body": "До зв’язку"}, "recipients": []string{"office@example.com"}})
	for _, robot := range []string{"Olena@example.org", "MAILER-DAEMON@example.org", "no-reply@example.org", "office@example.com", "accounts@example.com", "answers@example.com"} {
		write(robot, "en")
	}
	write("hanna@example.org", "en")
	own := arrived(t, sink, "Дякуємо", 1)[0]
	assert.Equal(t, "hanna@example.org", own.To, "the only one that is answered")
	assert.Contains(t, own.Part(t, "text/plain"), "До зв’язку")
	arrived(t, sink, "Contact form", 9)
	answers := a.call(t, a.admin, http.MethodGet, "/mail/messages?feature=contact_auto_reply", nil)
	assert.Len(t, answers.items(), 2)

	for i := range 6 {
		last := a.call(t, "", http.MethodPost, "/contact", map[string]any{"name": "x", "email": "flood@example.org", "subject": "x", "message": "x"})
		assert.Equal(t, i == 5, last.status == http.StatusTooManyRequests, last)
	}
	injected := a.call(t, "", http.MethodPost, "/contact", map[string]any{
		"name": "x\r\nBcc: a@example.org", "email": "x@example.org\r\nBcc: a@example.org", "subject": "x\nBcc: a@example.org", "message": "x\x00",
	})
	for _, field := range []string{"name", "email", "subject", "message"} {
		assert.Contains(t, injected.wrong(), field)
	}
	wrong := a.call(t, a.admin, http.MethodPatch, "/settings/contact", map[string]any{
		"recipients": []string{"x"}, "reply_email": "x", "social": map[string]string{"x": "javascript:alert(1)"}, "auto_reply": map[string]any{"subject": "a\nb", "color": "red"},
	})
	for _, field := range []string{"recipients.0", "reply_email", "social.x", "auto_reply.color"} {
		assert.Contains(t, wrong.wrong(), field, wrong)
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
	require.Equal(t, http.StatusAccepted, asked.status)
	var failed []map[string]any
	require.Eventually(t, func() bool {
		failed = a.call(t, a.admin, http.MethodGet, "/mail/messages?state=failed&user_id="+person, nil).items()
		return len(failed) == 1
	}, patience, 20*time.Millisecond)
	assert.Equal(t, []any{"password_reset", "olena@example.com", 1.0}, []any{failed[0]["feature"], failed[0]["to"], failed[0]["attempts"]})
	assert.Contains(t, failed[0]["last_error"], "unknown mailbox")
	path := "/mail/messages/" + fmt.Sprint(failed[0]["id"])
	var history answered
	require.Eventually(t, func() bool { // another read model than that of the list
		history = a.call(t, a.admin, http.MethodGet, path+"/history", nil)
		return len(history.items()) == 3
	}, patience, 20*time.Millisecond)
	assert.NotContains(t, string(history.body), "password_reset/")

	sink.Answer(nil)
	a.change(t, http.MethodPost, path+"/retry", nil)
	link := linkIn(t, sink.Wait(t, 1)[0])
	require.Eventually(t, func() bool { return a.call(t, a.admin, http.MethodGet, path, nil).text("state") == "sent" }, patience, 20*time.Millisecond)
	again := a.call(t, a.admin, http.MethodPost, path+"/retry", nil)
	assert.Equal(t, "already_sent", again.text("code"), again)
	page := a.request(t, "", http.MethodGet, link, nil)
	assert.Equal(t, http.StatusOK, page.status)
	used := a.call(t, "", http.MethodPost, "/password-resets/"+tokenIn(link), map[string]any{"new_password": "a new long pass phrase"})
	assert.Equal(t, http.StatusNoContent, used.status, used)
	assert.NotContains(t, a.log.String(), tokenIn(link))
}

// A first-login link is mailed when the cabinet password is right, and signs in.
func TestAFirstLoginLinkIsMailed(t *testing.T) {
	t.Parallel()
	a, sink := newAPI(t), mailtest.NewSink(t)
	_, account := a.mailAccount(t, sink, "accounts@example.com")
	company := a.create(t, "/companies", map[string]any{"name": "Nova"})
	a.change(t, http.MethodPut, "/companies/"+company+"/cabinet-password", map[string]any{"password": "the cabinet of nova"})
	a.change(t, http.MethodPut, "/mail/routes/first_login", map[string]any{"mail_account_id": account, "company_id": company})
	a.create(t, "/users", map[string]any{"email": "olena@example.com", "company_id": company})
	a.sends(t)
	for _, password := range []string{"the cabinet of another", "the cabinet of nova"} {
		asked := a.call(t, "", http.MethodPost, "/first-logins", map[string]any{"email": "olena@example.com", "cabinet_password": password})
		require.Equal(t, http.StatusAccepted, asked.status, asked)
	}
	link := linkIn(t, sink.Wait(t, 1)[0])
	assert.True(t, strings.HasPrefix(link, "/first_login/"), link)
	signedIn := a.call(t, "", http.MethodPost, "/first-logins/"+tokenIn(link), nil)
	assert.Equal(t, http.StatusCreated, signedIn.status, signedIn)
	assert.Len(t, a.call(t, a.admin, http.MethodGet, "/mail/messages", nil).items(), 1)
}

// From the question to the new password through a real mail server, with TLS and a login.
func TestAResetLinkArrivesThroughARealMailServer(t *testing.T) {
	t.Parallel()
	exim := mtatest.Start(t)
	a := newAPI(t, func(o *Options) { o.MailTransport.RootCAs = exim.RootCAs })
	server := a.create(t, "/mail/servers", map[string]any{"name": "Exim", "host": exim.Host, "port": exim.Port, "security": "starttls"})
	account := a.create(t, "/mail/accounts", map[string]any{
		"server_id": server, "address": "accounts@" + mtatest.Domain, "display_name": "Нова: кабінет", "username": exim.Username, "password": exim.Password,
	})
	a.change(t, http.MethodPut, "/mail/routes/password_reset", map[string]any{"mail_account_id": account})
	a.sends(t)
	a.create(t, "/users", map[string]any{"email": "olena@" + mtatest.Domain, "first_name": "Олена, \"К.\""})
	asked := a.call(t, "", http.MethodPost, "/password-resets", map[string]any{"email": "Olena@" + mtatest.Domain}, with{"Accept-Language", "uk"})
	require.Equal(t, http.StatusAccepted, asked.status, asked)
	mail := exim.Await(t, 1)[0]
	assert.Equal(t, "olena@"+mtatest.Domain, mail.To)
	assert.Equal(t, "SecBoard: встановлення нового пароля", mail.Subject)
	assert.Equal(t, "auto-generated", mail.Header.Get("Auto-Submitted"))
	link := firstLink(mail.Body)
	require.NotEmpty(t, link, mail.Body)
	page := a.request(t, "", http.MethodGet, link, nil)
	assert.Equal(t, http.StatusOK, page.status)
	assert.Contains(t, string(page.body), "Встановлення нового пароля")
	for _, want := range []int{http.StatusNoContent, http.StatusUnprocessableEntity} { // it works once
		used := a.call(t, "", http.MethodPost, "/password-resets/"+tokenIn(link), map[string]any{"new_password": "a new long pass phrase"})
		assert.Equal(t, want, used.status, used)
	}
	signedIn := a.call(t, "", http.MethodPost, "/sessions", map[string]any{"email": "olena@" + mtatest.Domain, "password": "a new long pass phrase"})
	assert.Equal(t, http.StatusCreated, signedIn.status, signedIn)
}

// linkIn is the path of the link in a mail.
func linkIn(t *testing.T, m mailtest.Message) string {
	t.Helper()
	link := firstLink(m.Part(t, "text/plain"))
	require.NotEmpty(t, link, m.Raw)
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
