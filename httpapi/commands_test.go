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

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

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
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
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
		if answer.status != http.StatusConflict {
			t.Errorf("%v: got %v, want %v", answer, answer.status, http.StatusConflict)
		}
		if got := answer.text("code"); got != "email_taken" {
			t.Errorf(`code = %q, want "email_taken"`, got)
		}
	}
	if created != 1 {
		t.Errorf("created = %v, want 1", created)
	}
	found := a.call(t, a.admin, http.MethodGet, "/users?query=anna.kovalenko", nil)
	if got := found.items(); len(got) != 1 {
		t.Errorf("found.items() has %d elements, want 1: %v", len(got), got)
	}
}

func TestIfMatchKeepsFromOverwritingUnseenChanges(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	path := "/companies/" + a.create(t, "/companies", map[string]any{"name": "Nova"})
	rename := func(name, ifMatch string) answered {
		return a.call(t, a.admin, http.MethodPatch, path, map[string]any{"name": name}, with{"If-Match", ifMatch})
	}
	first := a.call(t, a.admin, http.MethodGet, path, nil).header.Get("ETag")
	if first != `"0"` {
		t.Errorf("first = %q, want %q", first, `"0"`)
	}
	second := rename("Nova 2", first)
	if second.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", second, second.status, http.StatusOK)
	}
	if got := second.header.Get("ETag"); got != `"1"` {
		t.Errorf("ETag = %q, want %q", got, `"1"`)
	}
	for name, stale := range map[string]string{
		"the former": first, "none yet": `"77"`, "no number": `"x"`, "without quotes": `1`, "several": `"0", "1"`,
		"negative": `"-1"`,
	} {
		t.Run(name, func(t *testing.T) {
			refused := rename("Nova 3", stale)
			if refused.status != http.StatusPreconditionFailed {
				t.Errorf("got %v, want %v", refused.status, http.StatusPreconditionFailed)
			}
			if got := refused.text("code"); got != "revision_mismatch" {
				t.Errorf(`code = %q, want "revision_mismatch"`, got)
			}
		})
	}
	if got := rename("Nova 3", `W/"1"`).status; got != http.StatusOK {
		t.Errorf("rename(\"Nova 3\", `W/\"1\"`).status = %v, want %v", got, http.StatusOK)
	}
	if got := rename("Nova 4", `*`).status; got != http.StatusOK {
		t.Errorf("rename(\"Nova 4\", `*`).status = %v, want %v", got, http.StatusOK)
	}
}

func TestReadYourWrites(t *testing.T) {
	t.Parallel()
	a := newAPI(t)

	async := a.call(t, a.admin, http.MethodPost, "/users", map[string]any{"email": "anna@example.com"},
		with{"Prefer", "return=minimal, respond-async; wait=1"})
	if async.status != http.StatusAccepted {
		t.Fatalf("%v: got %v, want %v", async, async.status, http.StatusAccepted)
	}
	if got := async.header.Get("Preference-Applied"); got != "respond-async" {
		t.Errorf(`Preference-Applied = %q, want "respond-async"`, got)
	}
	path := "/users/" + async.text("id")
	if got := async.header.Get("Location"); got != basePath+path {
		t.Errorf("Location = %q, want %q", got, basePath+path)
	}
	if got := async.text("position"); got != async.header.Get("Secboard-Position") {
		t.Errorf("position = %q, want %q", got, async.header.Get("Secboard-Position"))
	}
	if async.json["revision"] != float64(0) {
		t.Errorf("revision = %v, want %v", async.json["revision"], float64(0))
	}
	read := a.call(t, a.admin, http.MethodGet, path, nil, with{"Secboard-Min-Position", async.text("position")})
	if read.status != http.StatusOK {
		t.Errorf("a query that names the position sees the change: got %v, want %v", read.status, http.StatusOK)
	}

	a.stopRunner()
	a.patience = 50 * time.Millisecond
	late := a.call(t, a.admin, http.MethodPatch, path, map[string]any{"first_name": "Anna"},
		with{"Idempotency-Key", "late"})
	if late.status != http.StatusAccepted {
		t.Errorf("recorded, though the read models don't follow: got %v, want %v", late.status, http.StatusAccepted)
	}
	if got := late.header.Get("ETag"); got != `"1"` {
		t.Errorf("ETag = %q, want %q", got, `"1"`)
	}
	behind := a.call(t, a.admin, http.MethodGet, path, nil, with{"Secboard-Min-Position", late.text("position")})
	if behind.status != http.StatusServiceUnavailable {
		t.Errorf("behind.status = %v, want %v", behind.status, http.StatusServiceUnavailable)
	}
	if got := behind.text("code"); got != "behind" {
		t.Errorf(`code = %q, want "behind"`, got)
	}
	if got := behind.header.Get("Retry-After"); got == "" {
		t.Errorf("Retry-After = %q, want something", got)
	}
	again := a.call(t, a.admin, http.MethodPatch, path, map[string]any{"first_name": "Anna"},
		with{"Idempotency-Key", "late"})
	if diff := cmp.Diff(late.body, again.body); diff != "" {
		t.Errorf("again.body (-want +got):\n%s", diff)
	}
	if again.status != late.status {
		t.Errorf("again.status = %v, want %v", again.status, late.status)
	}
}

func TestAnIdempotencyKeyGivesTheFirstAnswerAgain(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	key := with{"Idempotency-Key", "create anna"}
	body := map[string]any{"email": "anna@example.com"}
	first := a.call(t, a.admin, http.MethodPost, "/users", body, key)
	if first.status != http.StatusCreated {
		t.Fatalf("%v: got %v, want %v", first, first.status, http.StatusCreated)
	}
	// its e-mail is confirmed behind the answer's position
	const accountEvents = `SELECT count(*) FROM history WHERE kind = 'user'`
	events := a.count(t, accountEvents)

	again := a.call(t, a.admin, http.MethodPost, "/users", body, key)
	if again.status != first.status {
		t.Errorf("again.status = %v, want %v", again.status, first.status)
	}
	if diff := cmp.Diff(first.body, again.body); diff != "" {
		t.Errorf("again.body (-want +got):\n%s", diff)
	}
	if got := again.header.Get("Idempotency-Replayed"); got != "true" {
		t.Errorf(`Idempotency-Replayed = %q, want "true"`, got)
	}
	for _, name := range []string{"ETag", "Location", "Secboard-Position", "Content-Type"} {
		if got := again.header.Get(name); got != first.header.Get(name) {
			t.Errorf("%s: got %q, want %q", name, got, first.header.Get(name))
		}
		if got := again.header.Get(name); got == "" {
			t.Errorf("%s: got %q, want something", name, got)
		}
	}
	if got := a.count(t, accountEvents); got != events {
		t.Errorf("a.count(t, accountEvents) = %v, want %v", got, events)
	}

	for name, c := range map[string]struct {
		path string
		body map[string]any
	}{
		"another body": {"/users", map[string]any{"email": "boris@example.com"}}, "another path": {"/companies", body},
	} {
		t.Run(name, func(t *testing.T) {
			other := a.call(t, a.admin, http.MethodPost, c.path, c.body, key)
			if other.status != http.StatusUnprocessableEntity {
				t.Errorf("other.status = %v, want %v", other.status, http.StatusUnprocessableEntity)
			}
			if got := other.text("code"); got != "idempotency_key_reused" {
				t.Errorf(`code = %q, want "idempotency_key_reused"`, got)
			}
		})
	}

	t.Log("a refusal is an answer too")
	taken := a.call(t, a.admin, http.MethodPost, "/users", body, with{"Idempotency-Key", "again"})
	if got := taken.text("code"); got != "email_taken" {
		t.Errorf(`code = %q, want "email_taken"`, got)
	}
	replayed := a.call(t, a.admin, http.MethodPost, "/users", body, with{"Idempotency-Key", "again"})
	if diff := cmp.Diff(taken.body, replayed.body); diff != "" {
		t.Errorf("replayed.body (-want +got):\n%s", diff)
	}
	if got := replayed.header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf(`Content-Type = %q, want "application/problem+json"`, got)
	}

	t.Log("the key of somebody else is another key")
	_, clerk := a.person(t, "clerk@example.com", domain.Permissions{"users": {Add: true}})
	if got := a.call(t, clerk, http.MethodPost, "/users", body, key).text("code"); got != "email_taken" {
		t.Errorf(`got %q, want "email_taken"`, got)
	}

	t.Log("after a day the key is forgotten")
	_, err := a.pool.Exec(t.Context(), `UPDATE app.idempotency_keys SET created_at = created_at - interval '25 hours'`)
	if err != nil {
		t.Fatal(err)
	}
	fresh := a.call(t, a.admin, http.MethodPost, "/users", map[string]any{"email": "boris@example.com"}, key)
	if fresh.status != http.StatusCreated {
		t.Errorf("%v: got %v, want %v", fresh, fresh.status, http.StatusCreated)
	}

	odd := a.call(t, a.admin, http.MethodPost, "/users", body, with{"Idempotency-Key", strings.Repeat("k", 256)})
	if diff := cmp.Diff(map[string]string{"Idempotency-Key": "pattern"}, odd.wrong()); diff != "" {
		t.Errorf("odd.wrong() (-want +got):\n%s", diff)
	}
}

func TestTheSameKeyAtTheSameTimeIsOneCommand(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	answers := together(t, 8, func(int) (answered, error) {
		return a.send(t.Context(), a.admin, http.MethodPost, basePath+"/users",
			map[string]any{"email": "anna@example.com"}, with{"Idempotency-Key", "k"})
	})
	for _, answer := range answers {
		if answer.status != http.StatusCreated {
			t.Errorf("%v: got %v, want %v", answer, answer.status, http.StatusCreated)
		}
		if diff := cmp.Diff(answers[0].body, answer.body); diff != "" {
			t.Errorf("answer.body (-want +got):\n%s", diff)
		}
	}

	t.Log("a request that does not end is not waited for")
	a.patience = 50 * time.Millisecond
	id := uuid.Must(uuid.NewV7())
	a.leave(t, "stuck", `{"email":"boris@example.com"}`, id, "10 seconds")
	busy := a.call(t, a.admin, http.MethodPost, "/users", `{"email":"boris@example.com"}`,
		with{"Idempotency-Key", "stuck"})
	if busy.status != http.StatusConflict {
		t.Errorf("%v: got %v, want %v", busy, busy.status, http.StatusConflict)
	}
	if got := busy.text("code"); got != "in_progress" {
		t.Errorf(`code = %q, want "in_progress"`, got)
	}
	if got := busy.header.Get("Retry-After"); got == "" {
		t.Errorf("Retry-After = %q, want something", got)
	}
}

// leave makes the row that a process leaves behind which was killed while it carried out POST /users.
func (a *api) leave(t *testing.T, key, body string, command uuid.UUID, lockedFor string) {
	t.Helper()
	fingerprint, err := a.Commands.Keys.Name("idempotency",
		strings.Join([]string{http.MethodPost, basePath + "/users", "", "application/json", body}, "\x00"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.pool.Exec(t.Context(), `INSERT INTO app.idempotency_keys (actor_id, key, request_hash, command_id,
		created_at, locked_until)
		VALUES ($1, $2, $3, $4, now(), now() + $5::interval)`, a.adminID, key, []byte(fingerprint), command, lockedFor)
	if err != nil {
		t.Fatal(err)
	}
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
	recorded, err := a.Commands.RegisterUser(t.Context(), caller,
		commands.RegisterUser{Details: user.Details{Email: "anna@example.com"}})
	if err != nil {
		t.Fatal(err)
	}

	answer := a.call(t, a.admin, http.MethodPost, "/users", body, with{"Idempotency-Key", "k"})
	if answer.status != http.StatusCreated {
		t.Fatalf("%v: got %v, want %v", answer, answer.status, http.StatusCreated)
	}
	if got := answer.text("id"); got != recorded.ID {
		t.Errorf("id = %q, want %q", got, recorded.ID)
	}
	if got := a.count(t, `SELECT count(*) FROM history WHERE subject_id = $1`, recorded.ID); got != 1 {
		t.Errorf("got %v, want 1", got)
	}
	if diff := cmp.Diff(answer.body,
		a.call(t, a.admin, http.MethodPost, "/users", body, with{"Idempotency-Key", "k"}).body); diff != "" {
		t.Errorf("got (-want +got):\n%s", diff)
	}

	t.Log("and when it was killed before it recorded anything, it is recorded now, under the id that was meant")
	second := uuid.Must(uuid.NewV7())
	a.leave(t, "k2", `{"email":"boris@example.com"}`, second, "-1 second")
	answer = a.call(t, a.admin, http.MethodPost, "/users", `{"email":"boris@example.com"}`,
		with{"Idempotency-Key", "k2"})
	if answer.status != http.StatusCreated {
		t.Errorf("%v: got %v, want %v", answer, answer.status, http.StatusCreated)
	}
	if got := answer.text("id"); got != second.String() {
		t.Errorf("id = %q, want %q", got, second.String())
	}

	t.Log("and when its clock was an hour ahead, nobody waits for that hour")
	third := uuid.Must(uuid.NewV7())
	a.leave(t, "k3", `{"email":"vira@example.com"}`, third, "1 hour")
	answer = a.call(t, a.admin, http.MethodPost, "/users", `{"email":"vira@example.com"}`,
		with{"Idempotency-Key", "k3"})
	if answer.status != http.StatusCreated {
		t.Errorf("%v: got %v, want %v", answer, answer.status, http.StatusCreated)
	}
	if got := answer.text("id"); got != third.String() {
		t.Errorf("id = %q, want %q", got, third.String())
	}
}

// A 5xx says nothing about the outcome, so it is not kept, and the next try is the same command.
func TestAnOutageIsNotRememberedAsAnswer(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	working := a.Commands.Log
	a.Commands.Log = brokenLog{working, eventstore.ErrUnavailable}
	key, body := with{"Idempotency-Key", "k"}, map[string]any{"name": "Nova"}
	down := a.call(t, a.admin, http.MethodPost, "/companies", body, key)
	if down.status != http.StatusServiceUnavailable {
		t.Errorf("%v: got %v, want %v", down, down.status, http.StatusServiceUnavailable)
	}
	if got := down.text("code"); got != "unavailable" {
		t.Errorf(`code = %q, want "unavailable"`, got)
	}
	if got := down.header.Get("Retry-After"); got == "" {
		t.Errorf("Retry-After = %q, want something", got)
	}
	var command uuid.UUID
	if err := a.pool.QueryRow(t.Context(), `SELECT command_id FROM idempotency_keys
		WHERE key = 'k'`).Scan(&command); err != nil {
		t.Fatal(err)
	}

	a.Commands.Log = working
	up := a.call(t, a.admin, http.MethodPost, "/companies", body, key)
	if up.status != http.StatusCreated {
		t.Fatalf("%v: got %v, want %v", up, up.status, http.StatusCreated)
	}
	if got := up.text("id"); got != command.String() {
		t.Errorf("id = %q, want %q", got, command.String())
	}
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
	if busy.status != http.StatusServiceUnavailable {
		t.Errorf("%v: got %v, want %v", busy, busy.status, http.StatusServiceUnavailable)
	}
	if got := busy.text("code"); got != "unavailable" {
		t.Errorf(`code = %q, want "unavailable"`, got)
	}
	if got := busy.text("detail"); !strings.Contains(got, "try again") {
		t.Errorf(`%q lacks "try again"`, got)
	}
	if got := busy.header.Get("Retry-After"); got != "1" {
		t.Errorf(`Retry-After = %q, want "1"`, got)
	}

	a.Commands.Log = working
	done := a.call(t, a.admin, http.MethodPatch, "/users/"+id, body, key)
	if done.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", done, done.status, http.StatusOK)
	}
	if got := done.text("first_name"); got != "Anna" {
		t.Errorf(`first_name = %q, want "Anna"`, got)
	}
}

// brokenLog reads but can't append.
type brokenLog struct {
	eventstore.Log
	err error
}

func (l brokenLog) Append(context.Context, string, eventstore.Revision,
	[]eventstore.Proposed) (eventstore.Appended, error) {
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
		if page.status != http.StatusOK {
			t.Fatalf("%v: got %v, want %v", page, page.status, http.StatusOK)
		}
		if got := len(page.items()); got > 5 {
			t.Errorf("len(page.items()) = %v, want at most 5", got)
		}
		for _, item := range page.items() {
			email, _ := item["email"].(string)
			if seen[email] {
				t.Errorf("%s stands on two pages", email)
			}
			seen[email] = true
		}
		cursor, more = page.json["next_cursor"].(string)
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("seen (-want +got):\n%s", diff)
	}
	for filter, n := range map[string]int{
		"state=inactive": 6, "state=active": 7, "query=PERSON1": 3, "superuser=true": 1, "superuser=false": 12,
		"source=directory": 0, "two_factor=true": 0,
	} {
		t.Run(filter, func(t *testing.T) {
			found := a.call(t, a.admin, http.MethodGet, "/users?"+filter, nil)
			if got := found.items(); len(got) != n {
				t.Errorf("%s: got has %d elements, want %d: %v", found, len(got), n, got)
			}
			if found.json["items"] == nil {
				t.Errorf("an empty list is [], not null: got %v, want something", found.json["items"])
			}
		})
	}
}
