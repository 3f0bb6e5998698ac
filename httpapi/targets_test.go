package httpapi

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/secboard/secboard/ldapclient"
	"github.com/secboard/secboard/mailing"
	"github.com/secboard/secboard/targets"
)

// silentServer accepts connections, and counts them.
func silentServer(t *testing.T) (address string, accepted *atomic.Int64) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() }) //nolint:errcheck // the test is over
	accepted = &atomic.Int64{}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			conn.Close() //nolint:errcheck // that it came is all that counts
		}
	}()
	return listener.Addr().String(), accepted
}

// Whoever may set directories and mail servers up learns nothing of what only this machine or a cloud's machines reach:
// not by a test, a check, a sign-in or a mail.
func TestSettingsLeadToNoSpecialAddress(t *testing.T) {
	t.Parallel()
	strict := targets.Policy{Setting: "TARGETS"}
	a := newAPI(t, func(o *Options) {
		o.Commands.Directory = ldapclient.Client{Targets: strict}
		o.MailTransport = mailing.Transport{Targets: strict}
	})
	open, accepted := silentServer(t)
	_, openPort, _ := strings.Cut(open, ":")

	answers := map[string][]string{}
	note := func(what, detail, address, port string) {
		answers[what] = append(answers[what], strings.NewReplacer(address, "ADDRESS", ":"+port, ":PORT",
			"port "+port, "port PORT").Replace(detail))
	}
	for i, c := range [][2]string{
		{"127.0.0.1", openPort}, {"127.0.0.1", "1"}, {"169.254.169.254", "80"}, {"localhost", openPort},
		{"0.0.0.0", openPort},
	} {
		host, port := c[0], c[1]
		id := a.connect(t, fmt.Sprint("AD ", i), map[string]any{"urls": []string{"ldaps://" + host + ":" + port},
			"timeout_s": 5})
		test := a.call(t, a.admin, http.MethodPost, "/directories/"+id+"/test",
			map[string]any{"email": annasEmail, "password": "a password"})
		last := lastStep(t, test)
		if last["step"] != "connect" || last["ok"] != false ||
			!strings.Contains(fmt.Sprint(last["fix"]), "(TARGETS)") {
			t.Errorf("the test of %s says %v", host, last)
		}
		note("directory", fmt.Sprint(last["detail"]), host, port)
		if check := a.call(t, a.admin, http.MethodGet, "/directories/"+id+"/check", nil); check.status < 400 {
			t.Errorf("the check of %s answers %s", host, check)
		}

		server := a.create(t, "/mail/servers", map[string]any{"name": fmt.Sprint("Mail ", i), "host": host,
			"port": portNumber(t, port), "security": "none"})
		account := a.create(t, "/mail/accounts", map[string]any{"server_id": server,
			"address": fmt.Sprintf("a%d@example.com", i)})
		sent := a.call(t, a.admin, http.MethodPost, "/mail/accounts/"+account+"/test", map[string]any{"to": annasEmail})
		last = lastStep(t, sent)
		if last["step"] != "connect" || last["ok"] != false ||
			!strings.Contains(fmt.Sprint(last["fix"]), "(TARGETS)") {
			t.Errorf("the test mail through %s says %v", host, last)
		}
		note("mail", fmt.Sprint(last["detail"]), host, port)
	}
	for what, said := range answers {
		if said[0] != said[1] {
			t.Errorf("%s: an open port is told from a closed one: %q", what, said[:2])
		}
		if !slices.ContainsFunc(said, func(text string) bool { return strings.Contains(text, "link-local") }) {
			t.Errorf("%s: it says %q", what, said)
		}
	}

	// Not in earnest either.
	if in := a.signInAs(t, "somebody@example.com", "a password"); in.status < 400 {
		t.Errorf("signing in answers %s", in)
	}
	if got := accepted.Load(); got != 0 {
		t.Errorf("%d connections arrived", got)
	}
}

func portNumber(t *testing.T, port string) (number int) {
	t.Helper()
	if _, err := fmt.Sscan(port, &number); err != nil {
		t.Fatal(err)
	}
	return number
}

// lastStep is where a test ended.
func lastStep(t *testing.T, test answered) map[string]any {
	t.Helper()
	steps, _ := test.json["steps"].([]any)
	if test.status != http.StatusOK || len(steps) == 0 {
		t.Fatalf("the test answers %s", test)
	}
	return steps[len(steps)-1].(map[string]any)
}

// Who had something connected to is in the history of the directory or mail account, and nobody looks around for long.
func TestTestsAreSeenAndLimited(t *testing.T) {
	t.Parallel()
	strict := targets.Policy{}
	a := newAPI(t, func(o *Options) {
		o.Commands.Directory = ldapclient.Client{Targets: strict}
		o.MailTransport = mailing.Transport{Targets: strict}
	})
	id := a.connect(t, "AD", map[string]any{"urls": []string{"ldaps://127.0.0.1:1"}, "bind_dn": "CN=reader",
		"bind_password": "the bind password"})
	server := a.create(t, "/mail/servers",
		map[string]any{"name": "Mail", "host": "127.0.0.1", "port": 1, "security": "none"})
	account := a.create(t, "/mail/accounts", map[string]any{"server_id": server, "address": "a@example.com"})
	calls := []struct {
		method, path string
		body         any
	}{
		{http.MethodPost, "/directories/" + id + "/test", map[string]any{"email": annasEmail, "password": "guessed"}},
		{http.MethodGet, "/directories/" + id + "/check", nil},
		{http.MethodPost, "/directories/" + id + "/check", map[string]any{}},
		{http.MethodPost, "/mail/accounts/" + account + "/test", map[string]any{"to": annasEmail}},
	}
	revision := a.call(t, a.admin, http.MethodGet, "/directories/"+id, nil).header.Get("ETag")
	for i := range tests {
		c := calls[i%len(calls)]
		if answer := a.call(t, a.admin, c.method, c.path, c.body); answer.status == http.StatusTooManyRequests {
			t.Fatalf("refused after %d tests: %s", i, answer)
		}
	}
	for _, c := range calls {
		answer := a.call(t, a.admin, c.method, c.path, c.body)
		if answer.status != http.StatusTooManyRequests || answer.text("code") != "rate_limited" ||
			answer.header.Get("Retry-After") == "" {
			t.Errorf("%s %s once more: %s", c.method, c.path, answer)
		}
	}

	a.catchUp(t, a.head(t))
	for path, want := range map[string]map[string]int{
		"/directories/" + id:        {"directorytest.tested": 8, "directorytest.checked": 15},
		"/mail/accounts/" + account: {"mailtest.sent": 7},
	} {
		history := a.call(t, a.admin, http.MethodGet, path+"/history?limit=100", nil)
		got := map[string]int{}
		for _, entry := range history.items() {
			if kind := fmt.Sprint(entry["type"]); want[kind] > 0 {
				got[kind]++
				if actor := entry["actor"].(map[string]any); actor["id"] != a.adminID.String() {
					t.Errorf("%s: it was %v", kind, actor)
				}
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s shows %v, want %v", path, got, want)
		}
		if text := string(history.body); strings.Contains(text, "guessed") || strings.Contains(text, "bind password") {
			t.Errorf("it shows a password: %s", text)
		}
	}
	if got := a.call(t, a.admin, http.MethodGet, "/directories/"+id, nil).header.Get("ETag"); got != revision {
		t.Errorf("tests moved the revision from %s to %s", revision, got)
	}
	found := a.call(t, a.admin, http.MethodGet, "/audit/events?type=directorytest", nil).items()
	if len(found) != 23 || found[0]["subject"].(map[string]any)["name"] != "AD" {
		t.Errorf("the audit shows %d tests: %v", len(found), found)
	}
}
