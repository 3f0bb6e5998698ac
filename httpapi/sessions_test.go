package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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
	require.Equal(t, http.StatusCreated, in.status, "right after the password was set: %s", in)
	token := in.text("token")
	assert.Len(t, token, 43, "32 random bytes")
	expires, err := time.Parse(time.RFC3339, in.text("expires_at"))
	require.NoError(t, err)
	assert.WithinRange(t, expires, time.Now().Add(11*time.Hour), time.Now().Add(13*time.Hour))
	assert.Equal(t, adminEmail, in.json["user"].(map[string]any)["email"])
	assert.Zero(t, a.count(t, `SELECT count(*) FROM sessions s WHERE s::text LIKE '%' || $1 || '%'`, token), "only the token's hash is stored")

	current := a.call(t, token, http.MethodGet, "/sessions/current", nil)
	require.Equal(t, http.StatusOK, current.status, current)
	assert.Equal(t, adminEmail, current.json["user"].(map[string]any)["email"])
	assert.NotContains(t, string(current.body), token)

	out := a.call(t, token, http.MethodDelete, "/sessions/current", nil)
	assert.Equal(t, http.StatusNoContent, out.status)
	assert.Empty(t, out.body)
	assert.Equal(t, http.StatusUnauthorized, a.call(t, token, http.MethodGet, "/sessions/current", nil).status)
	assert.Equal(t, http.StatusOK, a.call(t, a.admin, http.MethodGet, "/sessions/current", nil).status, "other sessions go on")
}

// Whatever is wrong, the answer is the same.
func TestSigningInTellsNothingAboutAccounts(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.givePassword(t)
	a.create(t, "/users", map[string]any{"email": "nopassword@example.com"})
	for email, change := range map[string]map[string]any{
		"inactive@example.com": {"active": false}, "notyet@example.com": {"start_date": "2090-01-01"}, "over@example.com": {"end_date": "2020-01-01"},
	} {
		result, err := a.Commands.CreateSuperuser(t.Context(), commands.Operator(), email, adminPassword)
		require.NoError(t, err)
		changed := a.call(t, a.admin, http.MethodPatch, "/users/"+result.ID, change)
		require.Equal(t, http.StatusOK, changed.status, changed)
	}
	var first answered
	for _, email := range []string{adminEmail, "nobody@example.com", "nopassword@example.com", "inactive@example.com", "notyet@example.com", "over@example.com", "not an address", "nul\x00"} {
		password := adminPassword
		if email == adminEmail {
			password = "wrong " + adminPassword
		}
		refused := a.signInAs(t, email, password)
		assert.Equal(t, http.StatusUnauthorized, refused.status, "%s: %s", email, refused)
		assert.Equal(t, "invalid_credentials", refused.text("code"))
		delete(refused.json, "instance")
		if first.json == nil {
			first = refused
		}
		assert.Equal(t, first.json, refused.json, email)
	}
	missing := a.call(t, "", http.MethodPost, "/sessions", map[string]any{"email": adminEmail})
	assert.Equal(t, map[string]string{"password": "required"}, missing.wrong())
	assert.NotContains(t, a.log.String(), adminPassword)
}

func TestDeactivatingEndsSessionsAtOnce(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for name, deactivate := range map[string]func(id string) answered{
		"deactivate": func(id string) answered {
			return a.call(t, a.admin, http.MethodPost, "/users/"+id+"/deactivate", map[string]any{"reason": "left"}, with{"Prefer", "respond-async"})
		},
		"patch": func(id string) answered {
			return a.call(t, a.admin, http.MethodPatch, "/users/"+id, map[string]any{"active": false}, with{"Prefer", "respond-async"})
		},
	} {
		id, token := a.person(t, name+"@example.com", everything())
		require.Equal(t, http.StatusOK, a.call(t, token, http.MethodGet, "/users", nil).status)
		gone := deactivate(id.String())
		require.Equal(t, http.StatusAccepted, gone.status, gone)
		assert.Equal(t, http.StatusUnauthorized, a.call(t, token, http.MethodGet, "/users", nil).status, name)
		assert.Zero(t, a.count(t, `SELECT count(*) FROM sessions WHERE user_id = $1`, id))
		back := a.call(t, a.admin, http.MethodPost, "/users/"+id.String()+"/activate", nil)
		assert.Equal(t, "active", back.text("state"), back)
		assert.Equal(t, http.StatusUnauthorized, a.call(t, token, http.MethodGet, "/users", nil).status, "the old session does not come back")
	}
	own := a.call(t, a.admin, http.MethodPost, "/users/"+a.adminID.String()+"/deactivate", nil)
	assert.Equal(t, "own_account", own.text("code"))
}

func TestASuperuserAlwaysRemains(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	result, err := a.Commands.CreateSuperuser(t.Context(), commands.Operator(), "temporary@example.com", adminPassword)
	require.NoError(t, err)
	temporary, admin := "/users/"+result.ID, "/users/"+a.adminID.String()
	token := a.signInAs(t, "temporary@example.com", adminPassword).text("token")
	for _, change := range []map[string]any{{"end_date": "2090-01-01"}, {"start_date": "2090-01-01"}, {"superuser": false}, {"active": false}} {
		own := a.call(t, a.admin, http.MethodPatch, admin, change)
		assert.Equal(t, http.StatusConflict, own.status, own)
		assert.Equal(t, "own_account", own.text("code"))
	}
	changed := a.call(t, a.admin, http.MethodPatch, temporary, map[string]any{"end_date": "2090-01-01"})
	require.Equal(t, http.StatusOK, changed.status, changed)
	refused := a.call(t, token, http.MethodPatch, admin, map[string]any{"superuser": false})
	assert.Equal(t, http.StatusForbidden, refused.status, refused)
	assert.Contains(t, refused.text("detail"), "no end date")
	assert.Equal(t, true, a.call(t, a.admin, http.MethodGet, admin, nil).json["superuser"])
	assert.Zero(t, strings.Count(string(a.call(t, a.admin, http.MethodGet, temporary+"/history", nil).body), "user.superuser_exercised"))
	assert.Equal(t, 1, strings.Count(string(a.call(t, a.admin, http.MethodGet, admin+"/history", nil).body), "user.superuser_exercised"))
}

// The account is deactivated between the check of the password and the start of the session.
func TestADeactivationWinsAgainstASignInUnderWay(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	id := a.create(t, "/users", map[string]any{"email": "anna@example.com"})
	account := uuid.MustParse(id)
	token, session, err := a.startSession(t.Context(), account, a.Now())
	require.NoError(t, err)
	result, err := a.Commands.DeactivateUser(t.Context(), commands.Operator(), account, "")
	require.NoError(t, err)
	_, err = a.confirmSession(t.Context(), token, commands.SignedIn{UserID: account, Position: result.Position})
	require.ErrorContains(t, err, "invalid_credentials")
	require.Error(t, a.takeBack(t.Context(), session.ID, err))
	assert.Zero(t, a.count(t, `SELECT count(*) FROM sessions WHERE user_id = $1`, id))
}

// Whoever wrote the event that ends sessions may have crashed before their rows were removed: they end all the same.
func TestSessionsEndWithTheirEventAlone(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	id := a.account(t, annasEmail, annasPassword)
	alive := func(token string) int { return a.call(t, token, http.MethodGet, "/me", nil).status }
	record := func(result commands.Result, err error) {
		t.Helper()
		require.NoError(t, err)
		a.catchUp(t, result.Position)
	}
	first, session, err := a.startSession(t.Context(), id, a.Now())
	require.NoError(t, err)
	second, _, err := a.startSession(t.Context(), id, a.Now())
	require.NoError(t, err)
	require.Equal(t, []int{200, 200}, []int{alive(first), alive(second)})

	own := commands.Caller{Actor: eventstore.Actor{Kind: eventstore.ActorUser, ID: id.String()}, Session: session.ID.String(), CommandID: uuid.New()}
	record(a.Commands.ChangeOwnPassword(t.Context(), own, id, annasPassword, "the second pass phrase of anna"))
	assert.Equal(t, []int{200, 401}, []int{alive(first), alive(second)}, "the session goes on in which the password was changed")
	assert.Len(t, a.call(t, first, http.MethodGet, "/users/"+id.String()+"/sessions", nil).items(), 1)

	record(a.Commands.EndSessions(t.Context(), commands.Operator(), id))
	assert.Equal(t, http.StatusUnauthorized, alive(first))
	third, _, err := a.startSession(t.Context(), id, a.Now())
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, alive(third), "one that began afterwards")
	assert.Equal(t, 3, a.count(t, `SELECT count(*) FROM sessions WHERE user_id = $1`, id), "no row was removed")
}

func TestSessionsEndUnusedAndInTheEnd(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	_, token := a.person(t, "anna@example.com", everything())
	_, idle := a.person(t, "boris@example.com", everything())
	use := func(token string) int { return a.call(t, token, http.MethodGet, "/companies", nil).status }
	for range 4 {
		a.ahead.Add(int64(20 * time.Minute))
		assert.Equal(t, http.StatusOK, use(token), "in use")
	}
	assert.Equal(t, http.StatusUnauthorized, use(idle), "unused for more than 30 minutes")
	for range 34 {
		a.ahead.Add(int64(20 * time.Minute))
		use(token)
	}
	assert.Equal(t, http.StatusUnauthorized, use(token), "12 hours are over, used or not")
	seen := a.count(t, `SELECT count(DISTINCT last_seen_at) FROM sessions`)
	assert.NotZero(t, seen)
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
	require.Equal(t, http.StatusOK, changed.status, changed)
	assert.Equal(t, http.StatusOK, a.call(t, token, http.MethodGet, "/users", nil).status)
	a.ahead.Add(int64(24 * time.Hour))
	assert.Equal(t, http.StatusUnauthorized, a.call(t, token, http.MethodGet, "/users", nil).status)
}

func TestGuessingPasswordsIsSlowedDown(t *testing.T) {
	t.Parallel()
	a := newAPI(t, trusting("127.0.0.0/8"))
	guess := func(i int) answered {
		return a.call(t, "", http.MethodPost, "/sessions", map[string]any{"email": "Anna@example.com", "password": "x"},
			with{"X-Forwarded-For", "203.0.113." + strconv.Itoa(i)})
	}
	a.givePassword(t)
	require.Equal(t, http.StatusUnauthorized, guess(1).status)
	_, err := a.pool.Exec(t.Context(), `UPDATE app.rate_limits SET count = $1 WHERE key LIKE 'email-%'`, signInsPerAccount-1)
	require.NoError(t, err)
	require.Equal(t, http.StatusUnauthorized, guess(2).status, "the last one")
	limited := guess(3)
	assert.Equal(t, http.StatusTooManyRequests, limited.status, limited)
	assert.Equal(t, "rate_limited", limited.text("code"))
	assert.NotEmpty(t, limited.header.Get("Retry-After"))
	assert.Equal(t, http.StatusCreated, a.signInAs(t, adminEmail, adminPassword).status, "other accounts are free")
	assert.Zero(t, a.count(t, `SELECT count(*) FROM rate_limits WHERE key ILIKE '%anna%' OR key LIKE '%203.0%'`), "no address in clear")
	a.ahead.Add(int64(rateWindow))
	assert.Equal(t, http.StatusUnauthorized, guess(0).status, "after a minute it goes on")

	_, err = a.pool.Exec(t.Context(), `UPDATE app.rate_limits SET count = $1 WHERE key LIKE 'address-%'`, signInsFromAddress)
	require.NoError(t, err)
	assert.Equal(t, http.StatusTooManyRequests, guess(0).status, "from one address for many accounts")
	a.ahead.Add(-int64(time.Hour))
	assert.Equal(t, http.StatusUnauthorized, guess(0).status, "the clock was an hour ahead, and nobody waits for that hour")
}

func TestWhoWhenAndFromWhereStandsInTheHistory(t *testing.T) {
	t.Parallel()
	a := newAPI(t, trusting("127.0.0.0/8"))
	trace := uuid.New()
	agent := strings.Repeat("agent ü ", 100)
	created := a.call(t, a.admin, http.MethodPost, "/companies", map[string]any{"name": "Nova"},
		with{"X-Forwarded-For", "203.0.113.9"}, with{"User-Agent", agent},
		with{"Traceparent", "00-" + strings.ReplaceAll(trace.String(), "-", "") + "-00f067aa0ba902b7-01"})
	require.Equal(t, http.StatusCreated, created.status, created)
	entry := a.call(t, a.admin, http.MethodGet, "/companies/"+created.text("id")+"/history", nil).items()[0]
	assert.Equal(t, "203.0.113.9", entry["ip"])
	assert.Equal(t, created.header.Get("X-Request-ID"), entry["correlation_id"])
	assert.Equal(t, uuid.NewSHA1(a.adminID, trace[:]).String(), entry["correlation_id"])
	session := a.call(t, a.admin, http.MethodGet, "/users/"+a.adminID.String()+"/sessions", nil).items()[0]
	assert.Equal(t, session["id"], entry["causation_id"], "what is done in a session goes back to its sign-in")
	assert.Equal(t, string([]rune(agent)[:256]), entry["user_agent"])
	assert.Equal(t, "ab", printable("a\x00\x1b\u0085b\xff", 9))
}

// The reader of the log that decides about a sign-in is out of order: the answer is a 503 and no session is left.
func TestSigningInDuringAnOutage(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.givePassword(t)
	a.Commands.Log = unreadableLog{a.Commands.Log}
	down := a.signInAs(t, adminEmail, adminPassword)
	assert.Equal(t, http.StatusServiceUnavailable, down.status, down)
	assert.Equal(t, "unavailable", down.text("code"))
	assert.Equal(t, 2, a.count(t, `SELECT count(*) FROM sessions`))
	assert.Equal(t, http.StatusOK, a.call(t, a.admin, http.MethodGet, "/users", nil).status, "queries go on")
}

// unreadableLog fails to read the streams of accounts, and only those.
type unreadableLog struct{ eventstore.Log }

func (l unreadableLog) ReadStream(ctx context.Context, stream string) ([]eventstore.Recorded, error) {
	if kind, _ := domain.SplitStream(stream); kind == user.Kind {
		return nil, eventstore.ErrUnavailable
	}
	return l.Log.ReadStream(ctx, stream)
}
