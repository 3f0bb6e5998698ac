package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
)

// together runs n calls at once and gives their answers.
func together(t *testing.T, n int, call func(i int) (answered, error)) []answered {
	t.Helper()
	answers, errs := make([]answered, n), make([]error, n)
	start := make(chan struct{})
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() {
			<-start
			answers[i], errs[i] = call(i)
		})
	}
	close(start)
	running.Wait()
	require.NoError(t, errors.Join(errs...))
	return answers
}

func TestSixteenClientsWantTheSameAddress(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	answers := together(t, 16, func(i int) (answered, error) {
		email := "anna.kovalenko@example.com"
		email = email[:i] + strings.ToUpper(email[i:])
		return a.send(t.Context(), a.admin, http.MethodPost, basePath+"/users", map[string]any{"email": email})
	})
	created := 0
	for _, answer := range answers {
		if answer.status == http.StatusCreated {
			created++
			continue
		}
		assert.Equal(t, http.StatusConflict, answer.status, answer)
		assert.Equal(t, "email_taken", answer.text("code"))
	}
	assert.Equal(t, 1, created)
	found := a.call(t, a.admin, http.MethodGet, "/users?query=anna.kovalenko", nil)
	assert.Len(t, found.items(), 1)
}

func TestIfMatchKeepsFromOverwritingUnseenChanges(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	path := "/companies/" + a.create(t, "/companies", map[string]any{"name": "Nova"})
	rename := func(name, ifMatch string) answered {
		return a.call(t, a.admin, http.MethodPatch, path, map[string]any{"name": name}, with{"If-Match", ifMatch})
	}
	first := a.call(t, a.admin, http.MethodGet, path, nil).header.Get("ETag")
	assert.Equal(t, `"0"`, first)
	second := rename("Nova 2", first)
	require.Equal(t, http.StatusOK, second.status, second)
	assert.Equal(t, `"1"`, second.header.Get("ETag"))
	for _, stale := range []string{first, `"77"`, `"x"`, `1`, `"0", "1"`, `"-1"`} {
		refused := rename("Nova 3", stale)
		assert.Equal(t, http.StatusPreconditionFailed, refused.status, stale)
		assert.Equal(t, "revision_mismatch", refused.text("code"))
	}
	assert.Equal(t, http.StatusOK, rename("Nova 3", `W/"1"`).status)
	assert.Equal(t, http.StatusOK, rename("Nova 4", `*`).status)
}

func TestReadYourWrites(t *testing.T) {
	t.Parallel()
	a := newAPI(t)

	async := a.call(t, a.admin, http.MethodPost, "/users", map[string]any{"email": "anna@example.com"}, with{"Prefer", "return=minimal, respond-async; wait=1"})
	require.Equal(t, http.StatusAccepted, async.status, async)
	assert.Equal(t, "respond-async", async.header.Get("Preference-Applied"))
	path := "/users/" + async.text("id")
	assert.Equal(t, basePath+path, async.header.Get("Location"))
	assert.Equal(t, async.header.Get("Secboard-Position"), async.text("position"))
	assert.Equal(t, float64(0), async.json["revision"])
	read := a.call(t, a.admin, http.MethodGet, path, nil, with{"Secboard-Min-Position", async.text("position")})
	assert.Equal(t, http.StatusOK, read.status, "a query that names the position sees the change")

	a.stopRunner()
	a.patience = 50 * time.Millisecond
	late := a.call(t, a.admin, http.MethodPatch, path, map[string]any{"first_name": "Anna"}, with{"Idempotency-Key", "late"})
	assert.Equal(t, http.StatusAccepted, late.status, "recorded, though the read models don't follow")
	assert.Equal(t, `"1"`, late.header.Get("ETag"))
	behind := a.call(t, a.admin, http.MethodGet, path, nil, with{"Secboard-Min-Position", late.text("position")})
	assert.Equal(t, http.StatusServiceUnavailable, behind.status)
	assert.Equal(t, "behind", behind.text("code"))
	assert.NotEmpty(t, behind.header.Get("Retry-After"))
	again := a.call(t, a.admin, http.MethodPatch, path, map[string]any{"first_name": "Anna"}, with{"Idempotency-Key", "late"})
	assert.Equal(t, late.body, again.body)
	assert.Equal(t, late.status, again.status)
}

func TestAnIdempotencyKeyGivesTheFirstAnswerAgain(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	key := with{"Idempotency-Key", "create anna"}
	body := map[string]any{"email": "anna@example.com"}
	first := a.call(t, a.admin, http.MethodPost, "/users", body, key)
	require.Equal(t, http.StatusCreated, first.status, first)
	const accountEvents = `SELECT count(*) FROM history WHERE kind = 'user'` // its e-mail is confirmed behind the answer's position
	events := a.count(t, accountEvents)

	again := a.call(t, a.admin, http.MethodPost, "/users", body, key)
	assert.Equal(t, first.status, again.status)
	assert.Equal(t, first.body, again.body)
	assert.Equal(t, "true", again.header.Get("Idempotency-Replayed"))
	for _, name := range []string{"ETag", "Location", "Secboard-Position", "Content-Type"} {
		assert.Equal(t, first.header.Get(name), again.header.Get(name), name)
		assert.NotEmpty(t, again.header.Get(name), name)
	}
	assert.Equal(t, events, a.count(t, accountEvents))

	for _, other := range []answered{
		a.call(t, a.admin, http.MethodPost, "/users", map[string]any{"email": "boris@example.com"}, key),
		a.call(t, a.admin, http.MethodPost, "/companies", body, key),
	} {
		assert.Equal(t, http.StatusUnprocessableEntity, other.status)
		assert.Equal(t, "idempotency_key_reused", other.text("code"))
	}

	t.Log("a refusal is an answer too")
	taken := a.call(t, a.admin, http.MethodPost, "/users", body, with{"Idempotency-Key", "again"})
	assert.Equal(t, "email_taken", taken.text("code"))
	replayed := a.call(t, a.admin, http.MethodPost, "/users", body, with{"Idempotency-Key", "again"})
	assert.Equal(t, taken.body, replayed.body)
	assert.Equal(t, "application/problem+json", replayed.header.Get("Content-Type"))

	t.Log("the key of somebody else is another key")
	_, clerk := a.person(t, "clerk@example.com", domain.Permissions{"users": {Add: true}})
	assert.Equal(t, "email_taken", a.call(t, clerk, http.MethodPost, "/users", body, key).text("code"))

	t.Log("after a day the key is forgotten")
	_, err := a.pool.Exec(t.Context(), `UPDATE app.idempotency_keys SET created_at = created_at - interval '25 hours'`)
	require.NoError(t, err)
	fresh := a.call(t, a.admin, http.MethodPost, "/users", map[string]any{"email": "boris@example.com"}, key)
	assert.Equal(t, http.StatusCreated, fresh.status, fresh)

	odd := a.call(t, a.admin, http.MethodPost, "/users", body, with{"Idempotency-Key", strings.Repeat("k", 256)})
	assert.Equal(t, map[string]string{"Idempotency-Key": "pattern"}, odd.wrong())
}

func TestTheSameKeyAtTheSameTimeIsOneCommand(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	answers := together(t, 8, func(int) (answered, error) {
		return a.send(t.Context(), a.admin, http.MethodPost, basePath+"/users", map[string]any{"email": "anna@example.com"}, with{"Idempotency-Key", "k"})
	})
	for _, answer := range answers {
		assert.Equal(t, http.StatusCreated, answer.status, answer)
		assert.Equal(t, answers[0].body, answer.body)
	}

	t.Log("a request that does not end is not waited for")
	a.patience = 50 * time.Millisecond
	id := uuid.Must(uuid.NewV7())
	a.leave(t, "stuck", `{"email":"boris@example.com"}`, id, "10 seconds")
	busy := a.call(t, a.admin, http.MethodPost, "/users", `{"email":"boris@example.com"}`, with{"Idempotency-Key", "stuck"})
	assert.Equal(t, http.StatusConflict, busy.status, busy)
	assert.Equal(t, "in_progress", busy.text("code"))
	assert.NotEmpty(t, busy.header.Get("Retry-After"))
}

// leave makes the row that a process leaves behind which was killed while it carried out POST /users.
func (a *api) leave(t *testing.T, key, body string, command uuid.UUID, lockedFor string) {
	t.Helper()
	fingerprint, err := a.Commands.Keys.Name("idempotency", strings.Join([]string{http.MethodPost, basePath + "/users", "", "application/json", body}, "\x00"))
	require.NoError(t, err)
	_, err = a.pool.Exec(t.Context(), `INSERT INTO app.idempotency_keys (actor_id, key, request_hash, command_id, created_at, locked_until)
		VALUES ($1, $2, $3, $4, now(), now() + $5::interval)`, a.adminID, key, []byte(fingerprint), command, lockedFor)
	require.NoError(t, err)
}

// The process was killed after the account was recorded and before it was answered: the same request, sent again, gets
// that account and not a second one.
func TestARequestSentAgainAfterACrashFindsItsAccount(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	command := uuid.Must(uuid.NewV7())
	body := `{"email":"anna@example.com"}`
	a.leave(t, "k", body, command, "-1 second")
	caller := commands.Operator()
	caller.CommandID = command
	recorded, err := a.Commands.RegisterUser(t.Context(), caller, commands.RegisterUser{Details: user.Details{Email: "anna@example.com"}})
	require.NoError(t, err)

	answer := a.call(t, a.admin, http.MethodPost, "/users", body, with{"Idempotency-Key", "k"})
	require.Equal(t, http.StatusCreated, answer.status, answer)
	assert.Equal(t, recorded.ID, answer.text("id"))
	assert.Equal(t, 1, a.count(t, `SELECT count(*) FROM history WHERE subject_id = $1`, recorded.ID))
	assert.Equal(t, answer.body, a.call(t, a.admin, http.MethodPost, "/users", body, with{"Idempotency-Key", "k"}).body)

	t.Log("and when it was killed before it recorded anything, it is recorded now, under the id that was meant")
	second := uuid.Must(uuid.NewV7())
	a.leave(t, "k2", `{"email":"boris@example.com"}`, second, "-1 second")
	answer = a.call(t, a.admin, http.MethodPost, "/users", `{"email":"boris@example.com"}`, with{"Idempotency-Key", "k2"})
	assert.Equal(t, http.StatusCreated, answer.status, answer)
	assert.Equal(t, second.String(), answer.text("id"))

	t.Log("and when its clock was an hour ahead, nobody waits for that hour")
	third := uuid.Must(uuid.NewV7())
	a.leave(t, "k3", `{"email":"vira@example.com"}`, third, "1 hour")
	answer = a.call(t, a.admin, http.MethodPost, "/users", `{"email":"vira@example.com"}`, with{"Idempotency-Key", "k3"})
	assert.Equal(t, http.StatusCreated, answer.status, answer)
	assert.Equal(t, third.String(), answer.text("id"))
}

// A 5xx says nothing about the outcome, so it is not kept, and the next try is the same command.
func TestAnOutageIsNotRememberedAsAnswer(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	working := a.Commands.Log
	a.Commands.Log = brokenLog{working, eventstore.ErrUnavailable}
	key, body := with{"Idempotency-Key", "k"}, map[string]any{"name": "Nova"}
	down := a.call(t, a.admin, http.MethodPost, "/companies", body, key)
	assert.Equal(t, http.StatusServiceUnavailable, down.status, down)
	assert.Equal(t, "unavailable", down.text("code"))
	assert.NotEmpty(t, down.header.Get("Retry-After"))
	var command uuid.UUID
	require.NoError(t, a.pool.QueryRow(t.Context(), `SELECT command_id FROM idempotency_keys WHERE key = 'k'`).Scan(&command))

	a.Commands.Log = working
	up := a.call(t, a.admin, http.MethodPost, "/companies", body, key)
	require.Equal(t, http.StatusCreated, up.status, up)
	assert.Equal(t, command.String(), up.text("id"))
}

// Nor is that others were faster each time: the answer says to try again.
func TestOthersChangesAreNotRememberedAsAnswer(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	id := a.create(t, "/users", map[string]any{"email": "anna@example.com"})
	working := a.Commands.Log
	a.Commands.Log = brokenLog{working, eventstore.ErrConflict}
	key, body := with{"Idempotency-Key", "k"}, map[string]any{"first_name": "Anna"}
	busy := a.call(t, a.admin, http.MethodPatch, "/users/"+id, body, key)
	assert.Equal(t, http.StatusServiceUnavailable, busy.status, busy)
	assert.Equal(t, "unavailable", busy.text("code"))
	assert.Contains(t, busy.text("detail"), "try again")
	assert.Equal(t, "1", busy.header.Get("Retry-After"))

	a.Commands.Log = working
	done := a.call(t, a.admin, http.MethodPatch, "/users/"+id, body, key)
	require.Equal(t, http.StatusOK, done.status, done)
	assert.Equal(t, "Anna", done.text("first_name"))
}

// brokenLog reads but can't append.
type brokenLog struct {
	eventstore.Log
	err error
}

func (l brokenLog) Append(context.Context, string, eventstore.Revision, []eventstore.Proposed) (eventstore.Appended, error) {
	return eventstore.Appended{}, l.err
}

func TestListsArePagedToTheEnd(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	want := map[string]bool{adminEmail: true}
	for i := range 12 {
		email := "person" + strconv.Itoa(i) + "@example.com"
		a.create(t, "/users", map[string]any{"email": email, "active": i%2 == 0})
		want[email] = true
	}
	seen := map[string]bool{}
	for cursor, more := "", true; more; {
		page := a.call(t, a.admin, http.MethodGet, "/users?limit=5&sort=-email&cursor="+cursor, nil)
		require.Equal(t, http.StatusOK, page.status, page)
		assert.LessOrEqual(t, len(page.items()), 5)
		for _, item := range page.items() {
			email, _ := item["email"].(string)
			assert.False(t, seen[email], "%s stands on two pages", email)
			seen[email] = true
		}
		cursor, more = page.json["next_cursor"].(string)
	}
	assert.Equal(t, want, seen)
	for filter, n := range map[string]int{
		"state=inactive": 6, "state=active": 7, "query=PERSON1": 3, "superuser=true": 1, "superuser=false": 12, "source=directory": 0, "two_factor=true": 0,
	} {
		found := a.call(t, a.admin, http.MethodGet, "/users?"+filter, nil)
		assert.Len(t, found.items(), n, "%s: %s", filter, found)
		assert.NotNil(t, found.json["items"], "an empty list is [], not null")
	}
}
