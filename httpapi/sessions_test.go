package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/settings"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
)

func (a *api) signInAs(t *testing.T, email, password string) answered {
	t.Helper()
	return a.call(t, "", http.MethodPost, "/sessions", map[string]any{"email": email, "password": password})
}

func TestSigningInAndOut(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.givePassword(t)
	in := a.signInAs(t, " ADMIN@example.com", adminPassword)
	if in.status != http.StatusCreated {
		t.Fatalf("right after the password was set: %s: got %v, want %v", in, in.status, http.StatusCreated)
	}
	token := in.text("token")
	if len(token) != 43 {
		t.Errorf("32 random bytes: got has %d elements, want 43: %v", len(token), token)
	}
	expires, err := time.Parse(time.RFC3339, in.text("expires_at"))
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(expires); left < 11*time.Hour || left > 13*time.Hour {
		t.Errorf("the session lasts for %v, want about 12 hours", left)
	}
	if got := in.json["user"].(map[string]any)["email"]; got != adminEmail {
		t.Errorf(`user.(map[string]any)["email"] = %q, want %q`, got, adminEmail)
	}
	if got := a.count(t, `SELECT count(*) FROM sessions s WHERE s::text LIKE '%' || $1 || '%'`, token); got != 0 {
		t.Errorf("only the token's hash is stored: got %v, want nothing", got)
	}

	current := a.call(t, token, http.MethodGet, "/sessions/current", nil)
	if current.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", current, current.status, http.StatusOK)
	}
	if got := current.json["user"].(map[string]any)["email"]; got != adminEmail {
		t.Errorf(`user.(map[string]any)["email"] = %q, want %q`, got, adminEmail)
	}
	if got := string(current.body); strings.Contains(got, token) {
		t.Errorf("%q contains %q", got, token)
	}

	out := a.call(t, token, http.MethodDelete, "/sessions/current", nil)
	if out.status != http.StatusNoContent {
		t.Errorf("out.status = %v, want %v", out.status, http.StatusNoContent)
	}
	if len(out.body) != 0 {
		t.Errorf("out.body = %v, want nothing", out.body)
	}
	if got := a.call(t, token, http.MethodGet, "/sessions/current", nil).status; got != http.StatusUnauthorized {
		t.Errorf("got %v, want %v", got, http.StatusUnauthorized)
	}
	if got := a.call(t, a.admin, http.MethodGet, "/sessions/current", nil).status; got != http.StatusOK {
		t.Errorf("other sessions continue: got %v, want %v", got, http.StatusOK)
	}
}

// Whatever is wrong, the answer is the same.
func TestSigningInTellsNothingAboutAccounts(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.givePassword(t)
	a.create(t, "/users", map[string]any{"email": "nopassword@example.com"})
	for email, change := range map[string]map[string]any{
		"inactive@example.com": {"active": false}, "notyet@example.com": {"start_date": "2090-01-01"},
		"over@example.com": {"end_date": "2020-01-01"},
	} {
		result, err := a.Commands.CreateSuperuser(t.Context(), commands.Operator(), email, adminPassword)
		if err != nil {
			t.Fatal(err)
		}
		changed := a.call(t, a.admin, http.MethodPatch, "/users/"+result.ID, change)
		if changed.status != http.StatusOK {
			t.Fatalf("%v: got %v, want %v", changed, changed.status, http.StatusOK)
		}
	}
	var first answered
	for _, email := range []string{adminEmail, "nobody@example.com", "nopassword@example.com", "inactive@example.com",
		"notyet@example.com", "over@example.com", "not an address", "nul\x00"} {
		t.Run(email, func(t *testing.T) {
			password := adminPassword
			if email == adminEmail {
				password = "wrong " + adminPassword
			}
			refused := a.signInAs(t, email, password)
			if refused.status != http.StatusUnauthorized {
				t.Errorf("%s: got %v, want %v", refused, refused.status, http.StatusUnauthorized)
			}
			if got := refused.text("code"); got != "invalid_credentials" {
				t.Errorf(`code = %q, want "invalid_credentials"`, got)
			}
			delete(refused.json, "instance")
			if first.json == nil {
				first = refused
			}
			if diff := cmp.Diff(first.json, refused.json); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
	missing := a.call(t, "", http.MethodPost, "/sessions", map[string]any{"email": adminEmail})
	if diff := cmp.Diff(map[string]string{"password": "required"}, missing.wrong()); diff != "" {
		t.Errorf("missing.wrong() (-want +got):\n%s", diff)
	}
	if got := a.log.String(); strings.Contains(got, adminPassword) {
		t.Errorf("%q contains %q", got, adminPassword)
	}
}

func TestDeactivatingEndsSessionsAtOnce(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for name, deactivate := range map[string]func(id string) answered{
		"deactivate": func(id string) answered {
			return a.call(t, a.admin, http.MethodPost, "/users/"+id+"/deactivate", map[string]any{"reason": "left"},
				with{"Prefer", "respond-async"})
		},
		"patch": func(id string) answered {
			return a.call(t, a.admin, http.MethodPatch, "/users/"+id, map[string]any{"active": false},
				with{"Prefer", "respond-async"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			id, token := a.person(t, name+"@example.com", everything())
			if got := a.call(t, token, http.MethodGet, "/users", nil).status; got != http.StatusOK {
				t.Fatalf(`a.call(t, token, http.MethodGet, "/users", nil).status = %v, want %v`, got, http.StatusOK)
			}
			gone := deactivate(id.String())
			if gone.status != http.StatusAccepted {
				t.Fatalf("%v: got %v, want %v", gone, gone.status, http.StatusAccepted)
			}
			if got := a.call(t, token, http.MethodGet, "/users", nil).status; got != http.StatusUnauthorized {
				t.Errorf("got %v, want %v", got, http.StatusUnauthorized)
			}
			if got := a.count(t, `SELECT count(*) FROM sessions WHERE user_id = $1`, id); got != 0 {
				t.Errorf("got %v, want nothing", got)
			}
			back := a.call(t, a.admin, http.MethodPost, "/users/"+id.String()+"/activate", nil)
			if got := back.text("state"); got != "active" {
				t.Errorf(`%v: got %q, want "active"`, back, got)
			}
			if got := a.call(t, token, http.MethodGet, "/users", nil).status; got != http.StatusUnauthorized {
				t.Errorf("the old session does not come back: got %v, want %v", got, http.StatusUnauthorized)
			}
		})
	}
	own := a.call(t, a.admin, http.MethodPost, "/users/"+a.adminID.String()+"/deactivate", nil)
	if got := own.text("code"); got != "own_account" {
		t.Errorf(`code = %q, want "own_account"`, got)
	}
}

func TestASuperuserAlwaysRemains(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	result, err := a.Commands.CreateSuperuser(t.Context(), commands.Operator(), "temporary@example.com", adminPassword)
	if err != nil {
		t.Fatal(err)
	}
	temporary, admin := "/users/"+result.ID, "/users/"+a.adminID.String()
	token := a.signInAs(t, "temporary@example.com", adminPassword).text("token")
	for field, value := range map[string]any{
		"end_date": "2090-01-01", "start_date": "2090-01-01", "superuser": false, "active": false,
	} {
		t.Run("your own "+field, func(t *testing.T) {
			own := a.call(t, a.admin, http.MethodPatch, admin, map[string]any{field: value})
			if own.status != http.StatusConflict {
				t.Errorf("%v: got %v, want %v", own, own.status, http.StatusConflict)
			}
			if got := own.text("code"); got != "own_account" {
				t.Errorf(`code = %q, want "own_account"`, got)
			}
		})
	}
	changed := a.call(t, a.admin, http.MethodPatch, temporary, map[string]any{"end_date": "2090-01-01"})
	if changed.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", changed, changed.status, http.StatusOK)
	}
	refused := a.call(t, token, http.MethodPatch, admin, map[string]any{"superuser": false})
	if refused.status != http.StatusForbidden {
		t.Errorf("%v: got %v, want %v", refused, refused.status, http.StatusForbidden)
	}
	if got := refused.text("detail"); !strings.Contains(got, "no end date") {
		t.Errorf(`%q lacks "no end date"`, got)
	}
	if got := a.call(t, a.admin, http.MethodGet, admin, nil).json["superuser"]; got != true {
		t.Errorf("got %v, want true", got)
	}
	if got := strings.Count(string(a.call(t, a.admin, http.MethodGet, temporary+"/history", nil).body),
		"user.superuser_exercised"); got != 0 {
		t.Errorf("got %v, want nothing", got)
	}
	if got := strings.Count(string(a.call(t, a.admin, http.MethodGet, admin+"/history", nil).body),
		"user.superuser_exercised"); got != 1 {
		t.Errorf("got %v, want 1", got)
	}
}

// The account is deactivated between the check of the password and the start of the session.
func TestADeactivationWinsAgainstASignInUnderWay(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	id := a.create(t, "/users", map[string]any{"email": "anna@example.com"})
	account := uuid.MustParse(id)
	token, session, err := a.startSession(t.Context(), account, a.Now())
	if err != nil {
		t.Fatal(err)
	}
	result, err := a.Commands.DeactivateUser(t.Context(), commands.Operator(), account, "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.confirmSession(t.Context(), token, commands.SignedIn{UserID: account, Position: result.Position})
	if err == nil || !strings.Contains(err.Error(), "invalid_credentials") {
		t.Fatalf(`%v does not say "invalid_credentials"`, err)
	}
	if errNow := a.discardSession(t.Context(), session.ID, err); errNow == nil {
		t.Fatal("no error")
	}
	if got := a.count(t, `SELECT count(*) FROM sessions WHERE user_id = $1`, id); got != 0 {
		t.Errorf("got %v, want nothing", got)
	}
}

// Whoever wrote the event that ends sessions may have crashed before their rows were removed: they end all the same.
func TestSessionsEndWithTheirEventAlone(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	id := a.account(t, annasEmail, annasPassword)
	alive := func(token string) int { return a.call(t, token, http.MethodGet, "/me", nil).status }
	record := func(result commands.Result, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		a.catchUp(t, result.Position)
	}
	first, session, err := a.startSession(t.Context(), id, a.Now())
	if err != nil {
		t.Fatal(err)
	}
	second, _, err := a.startSession(t.Context(), id, a.Now())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{200, 200}, []int{alive(first), alive(second)}); diff != "" {
		t.Fatalf("[]int{alive(first), alive(second)} (-want +got):\n%s", diff)
	}

	own := commands.Caller{Actor: eventstore.Actor{Kind: eventstore.ActorUser, ID: id.String()},
		Session: session.ID.String(), CommandID: uuid.New()}
	record(a.Commands.ChangeOwnPassword(t.Context(), own, id, annasPassword, "the second pass phrase of anna"))
	if diff := cmp.Diff([]int{200, 401}, []int{alive(first), alive(second)}); diff != "" {
		t.Errorf("the session continues in which the password was changed (-want +got):\n%s", diff)
	}
	if got := a.call(t, first, http.MethodGet, "/users/"+id.String()+"/sessions", nil).items(); len(got) != 1 {
		t.Errorf("the list has %d elements, want 1: %v", len(got), got)
	}

	record(a.Commands.EndSessions(t.Context(), commands.Operator(), id))
	if got := alive(first); got != http.StatusUnauthorized {
		t.Errorf("alive(first) = %v, want %v", got, http.StatusUnauthorized)
	}
	third, _, err := a.startSession(t.Context(), id, a.Now())
	if err != nil {
		t.Fatal(err)
	}
	if got := alive(third); got != http.StatusOK {
		t.Errorf("one that began afterwards: got %v, want %v", got, http.StatusOK)
	}
	if got := a.count(t, `SELECT count(*) FROM sessions WHERE user_id = $1`, id); got != 3 {
		t.Errorf("no row was removed: got %v, want 3", got)
	}
}

func TestSessionsEndUnusedAndInTheEnd(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	_, token := a.person(t, "anna@example.com", everything())
	_, idle := a.person(t, "boris@example.com", everything())
	use := func(token string) int { return a.call(t, token, http.MethodGet, "/companies", nil).status }
	for range 4 {
		a.ahead.Add(int64(20 * time.Minute))
		if got := use(token); got != http.StatusOK {
			t.Errorf("in use: got %v, want %v", got, http.StatusOK)
		}
	}
	if got := use(idle); got != http.StatusUnauthorized {
		t.Errorf("unused for more than 30 minutes: got %v, want %v", got, http.StatusUnauthorized)
	}
	for range 34 {
		a.ahead.Add(int64(20 * time.Minute))
		use(token)
	}
	if got := use(token); got != http.StatusUnauthorized {
		t.Errorf("12 hours are over, used or not: got %v, want %v", got, http.StatusUnauthorized)
	}
	seen := a.count(t, `SELECT count(DISTINCT last_seen_at) FROM sessions`)
	if seen == 0 {
		t.Errorf("seen = %v, want something", seen)
	}
}

// The last day of access ends a session at midnight, without any event.
func TestTheEndOfAccessEndsASession(t *testing.T) {
	t.Parallel()
	a := newAPI(t, func(o *Options) {
		o.Security = func(context.Context) (settings.Security, error) {
			return settings.Security{SessionIdle: 6000, SessionLength: 6000}, nil
		}
	})
	id, token := a.person(t, "anna@example.com", everything())
	today := domain.DateOf(a.Now()).String()
	changed := a.call(t, a.admin, http.MethodPatch, "/users/"+id.String(), map[string]any{"end_date": today})
	if changed.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", changed, changed.status, http.StatusOK)
	}
	if got := a.call(t, token, http.MethodGet, "/users", nil).status; got != http.StatusOK {
		t.Errorf(`a.call(t, token, http.MethodGet, "/users", nil).status = %v, want %v`, got, http.StatusOK)
	}
	a.ahead.Add(int64(24 * time.Hour))
	if got := a.call(t, token, http.MethodGet, "/users", nil).status; got != http.StatusUnauthorized {
		t.Errorf(`a.call(t, token, http.MethodGet, "/users", nil).status = %v, want %v`, got, http.StatusUnauthorized)
	}
}

func TestGuessingPasswordsIsSlowedDown(t *testing.T) {
	t.Parallel()
	a := newAPI(t, trusting("127.0.0.0/8"))
	guess := func(i int) answered {
		return a.call(t, "", http.MethodPost, "/sessions", map[string]any{"email": "Anna@example.com", "password": "x"},
			with{"X-Forwarded-For", "203.0.113." + strconv.Itoa(i)})
	}
	a.givePassword(t)
	if got := guess(1).status; got != http.StatusUnauthorized {
		t.Fatalf("guess(1).status = %v, want %v", got, http.StatusUnauthorized)
	}
	_, err := a.pool.Exec(t.Context(), `UPDATE app.rate_limits SET count = $1
		WHERE key LIKE 'email-%'`, signInsPerAccount-1)
	if err != nil {
		t.Fatal(err)
	}
	if got := guess(1).status; got != http.StatusUnauthorized {
		t.Fatalf("the last one: got %v, want %v", got, http.StatusUnauthorized)
	}
	limited := guess(1)
	if limited.status != http.StatusTooManyRequests {
		t.Errorf("%v: got %v, want %v", limited, limited.status, http.StatusTooManyRequests)
	}
	if got := limited.text("code"); got != "rate_limited" {
		t.Errorf(`code = %q, want "rate_limited"`, got)
	}
	if got := limited.header.Get("Retry-After"); got == "" {
		t.Errorf("Retry-After = %q, want something", got)
	}
	if got := guess(2).status; got != http.StatusUnauthorized {
		t.Errorf("other networks are free: got %v, want %v", got, http.StatusUnauthorized)
	}
	if got := a.signInAs(t, adminEmail, adminPassword).status; got != http.StatusCreated {
		t.Errorf("other accounts are free: got %v, want %v", got, http.StatusCreated)
	}
	if got := a.count(t, `SELECT count(*) FROM rate_limits WHERE key ILIKE '%anna%' OR key LIKE '%203.0%'`); got != 0 {
		t.Errorf("no address in clear: got %v, want nothing", got)
	}
	a.ahead.Add(int64(rateWindow))
	if got := guess(0).status; got != http.StatusUnauthorized {
		t.Errorf("after a minute it continues: got %v, want %v", got, http.StatusUnauthorized)
	}

	_, err = a.pool.Exec(t.Context(), `UPDATE app.rate_limits SET count = $1 WHERE key LIKE 'address-%'`,
		signInsFromAddress)
	if err != nil {
		t.Fatal(err)
	}
	if got := guess(0).status; got != http.StatusTooManyRequests {
		t.Errorf("from one address for many accounts: got %v, want %v", got, http.StatusTooManyRequests)
	}
	a.ahead.Add(-int64(time.Hour))
	if got := guess(0).status; got != http.StatusUnauthorized {
		t.Errorf("the clock was an hour ahead, and nobody waits for that hour: got %v, want %v", got,
			http.StatusUnauthorized)
	}
}

func TestWhoWhenAndFromWhereStandsInTheHistory(t *testing.T) {
	t.Parallel()
	a := newAPI(t, trusting("127.0.0.0/8"))
	trace := uuid.New()
	agent := strings.Repeat("agent ü ", 100)
	created := a.call(t, a.admin, http.MethodPost, "/companies", map[string]any{"name": "Nova"},
		with{"X-Forwarded-For", "203.0.113.9"}, with{"User-Agent", agent},
		with{"Traceparent", "00-" + strings.ReplaceAll(trace.String(), "-", "") + "-00f067aa0ba902b7-01"})
	if created.status != http.StatusCreated {
		t.Fatalf("%v: got %v, want %v", created, created.status, http.StatusCreated)
	}
	entry := a.call(t, a.admin, http.MethodGet, "/companies/"+created.text("id")+"/history", nil).items()[0]
	if entry["ip"] != "203.0.113.9" {
		t.Errorf(`ip = %q, want "203.0.113.9"`, entry["ip"])
	}
	if entry["correlation_id"] != created.header.Get("X-Request-ID") {
		t.Errorf("correlation_id = %q, want %q", entry["correlation_id"], created.header.Get("X-Request-ID"))
	}
	if entry["correlation_id"] != uuid.NewSHA1(a.adminID, trace[:]).String() {
		t.Errorf("correlation_id = %q, want %q", entry["correlation_id"], uuid.NewSHA1(a.adminID, trace[:]).String())
	}
	session := a.call(t, a.admin, http.MethodGet, "/users/"+a.adminID.String()+"/sessions", nil).items()[0]
	if diff := cmp.Diff(session["id"], entry["causation_id"]); diff != "" {
		t.Errorf("what is done in a session goes back to its sign-in (-want +got):\n%s", diff)
	}
	if entry["user_agent"] != string([]rune(agent)[:256]) {
		t.Errorf("user_agent = %q, want %q", entry["user_agent"], string([]rune(agent)[:256]))
	}
	if got := printable("a\x00\x1b\u0085b\xff", 9); got != "ab" {
		t.Errorf("printable(\"a\\x00\\x1b\\u0085b\\xff\", 9) = %q, want \"ab\"", got)
	}
}

// The reader of the log that decides about a sign-in is out of order: the answer is a 503 and no session is left.
func TestSigningInDuringAnOutage(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.givePassword(t)
	a.Commands.Log = unreadableLog{a.Commands.Log}
	down := a.signInAs(t, adminEmail, adminPassword)
	if down.status != http.StatusServiceUnavailable {
		t.Errorf("%v: got %v, want %v", down, down.status, http.StatusServiceUnavailable)
	}
	if got := down.text("code"); got != "unavailable" {
		t.Errorf(`code = %q, want "unavailable"`, got)
	}
	if got := a.count(t, `SELECT count(*) FROM sessions`); got != 2 {
		t.Errorf("a.count(t, `SELECT count(*) FROM sessions`) = %v, want 2", got)
	}
	if got := a.call(t, a.admin, http.MethodGet, "/users", nil).status; got != http.StatusOK {
		t.Errorf("queries are answered: got %v, want %v", got, http.StatusOK)
	}
}

// unreadableLog fails to read the streams of accounts, and only those.
type unreadableLog struct{ eventstore.Log }

func (l unreadableLog) ReadStream(ctx context.Context, stream string) ([]eventstore.Recorded, error) {
	if kind, _ := domain.SplitStream(stream); kind == user.Kind {
		return nil, eventstore.ErrUnavailable
	}
	return l.Log.ReadStream(ctx, stream)
}
