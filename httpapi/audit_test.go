package httpapi

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/export"
)

func summaries(answer answered) (said []string) {
	for _, item := range answer.items() {
		said = append(said, item["summary"].(string))
	}
	return said
}

func TestTheWholeLogIsRead(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	company := a.create(t, "/companies", map[string]any{"name": "Nova"})
	person := a.create(t, "/users",
		map[string]any{"email": "olena@example.com", "first_name": "Olena", "company_id": company})
	other := a.create(t, "/users", map[string]any{"email": "other@example.com"})
	left := a.call(t, a.admin, http.MethodPatch, "/users/"+person, map[string]any{"company_id": nil})
	if left.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", left, left.status, http.StatusOK)
	}
	read := func(query string) answered {
		answer := a.call(t, a.admin, http.MethodGet, "/audit/events"+query, nil)
		if answer.status != http.StatusOK {
			t.Fatalf("%v: got %v, want %v", answer, answer.status, http.StatusOK)
		}
		return answer
	}
	of := read("?subject_id=" + person)
	if diff := cmp.Diff([]string{"moved to another company", "account olena@example.com registered"},
		summaries(of)); diff != "" {
		t.Errorf("summaries(of) (-want +got):\n%s", diff)
	}
	entry := of.items()[0]
	if diff := cmp.Diff(map[string]any{"kind": "user", "id": person, "name": "Olena"}, entry["subject"]); diff != "" {
		t.Errorf("subject (-want +got):\n%s", diff)
	}
	if got := entry["actor"].(map[string]any)["name"]; got != adminEmail {
		t.Errorf(`actor.(map[string]any)["name"] = %q, want %q`, got, adminEmail)
	}
	if got := entry["changes"].([]any)[0].(map[string]any)["from_name"]; got != "Nova" {
		t.Errorf(`changes.([]any)[0].(map[string]any)["from_name"] = %q, want "Nova"`, got)
	}

	if diff := cmp.Diff([]string{"moved to another company", "account olena@example.com registered", "company Nova " +
		"created"}, summaries(read("?company_id="+company))); diff != "" {
		t.Errorf("summaries(read(\"?company_id=\"+company)) (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"account other@example.com registered"},
		summaries(read("?type=user.registered&from=2020-01-01&subject_id="+other))); diff != "" {
		t.Errorf("got (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"company Nova created"},
		summaries(read("?type=company&actor_id="+a.adminID.String()))); diff != "" {
		t.Errorf("got (-want +got):\n%s", diff)
	}
	if got := read("?type=company&ip=203.0.113.9").items(); len(got) != 0 {
		t.Errorf(`read("?type=company&ip=203.0.113.9").items() = %v, want nothing`, got)
	}
	if got := read("?to=2020-01-01").items(); len(got) != 0 {
		t.Errorf(`read("?to=2020-01-01").items() = %v, want nothing`, got)
	}
	if got := read("?ip=::ffff:127.0.0.1&type=user").items(); len(got) != 3 {
		t.Errorf("the one of the command line has no address: got has %d elements, want 3: %v", len(got), got)
	}
	if diff := cmp.Diff(map[string]string{"ip": "ip"},
		a.call(t, a.admin, http.MethodGet, "/audit/events?ip=home", nil).wrong()); diff != "" {
		t.Errorf("got (-want +got):\n%s", diff)
	}

	t.Log("pages in both directions")
	first := read("?type=user.registered&limit=2")
	if got := first.items(); len(got) != 2 {
		t.Fatalf("first.items() has %d elements, want 2: %v", len(got), got)
	}
	older := read("?type=user.registered&limit=2&cursor=" + first.text("next_cursor"))
	if diff := cmp.Diff([]string{"account " + adminEmail + " registered"}, summaries(older)); diff != "" {
		t.Errorf("summaries(older) (-want +got):\n%s", diff)
	}
	if older.json["next_cursor"] != nil {
		t.Errorf("next_cursor = %v, want nil", older.json["next_cursor"])
	}
	back := read("?type=user.registered&limit=2&cursor=" + older.text("previous_cursor"))
	if diff := cmp.Diff(first.items(), back.items()); diff != "" {
		t.Errorf("back.items() (-want +got):\n%s", diff)
	}
	newer := read("?type=user.registered&cursor=" + first.text("previous_cursor"))
	if got := newer.items(); len(got) != 0 {
		t.Errorf("newer.items() = %v, want nothing", got)
	}
	a.create(t, "/users", map[string]any{"email": "third@example.com"})
	newer = read("?type=user.registered&cursor=" + newer.text("previous_cursor"))
	if diff := cmp.Diff([]string{"account third@example.com registered"}, summaries(newer)); diff != "" {
		t.Errorf("summaries(newer) (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(summaries(first),
		summaries(read("?type=user.registered&limit=2&cursor="+newer.text("next_cursor")))); diff != "" {
		t.Errorf("got (-want +got):\n%s", diff)
	}
	nothing := read("?type=role")
	if got := nothing.items(); len(got) != 0 {
		t.Errorf("nothing.items() = %v, want nothing", got)
	}
	a.create(t, "/roles", map[string]any{"name": "Owner"})
	if got := read("?type=role&cursor=" + nothing.text("previous_cursor")).items(); len(got) != 1 {
		t.Errorf("the list has %d elements, want 1: %v", len(got), got)
	}
}

// Reading leaves a trace: one event for a query with all its pages. Cursors can't be used to read without one.
func TestReadingTheAuditIsRecorded(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	id, auditor := a.person(t, "auditor@example.com", domain.Permissions{"audit": {View: true, Export: true}})
	readings := func() (found []map[string]any) {
		a.catchUp(t, a.head(t))
		return a.call(t, a.admin, http.MethodGet, "/audit/events?type=audit.&actor_id="+id.String(), nil).items()
	}
	first := a.call(t, auditor, http.MethodGet, "/audit/events?limit=1&type=user&from=2026-01-01", nil)
	if first.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", first, first.status, http.StatusOK)
	}
	if got := readings(); len(got) != 1 {
		t.Fatalf("readings() has %d elements, want 1: %v", len(got), got)
	}
	if got := readings()[0]["type"]; got != "audit.events_read" {
		t.Errorf(`readings()[0]["type"] = %q, want "audit.events_read"`, got)
	}
	changes := []any{
		map[string]any{"field": "type", "from": nil, "to": "user"},
		map[string]any{"field": "from", "from": nil, "to": "2026-01-01T00:00:00Z"},
	}
	if diff := cmp.Diff(changes, readings()[0]["changes"]); diff != "" {
		t.Errorf("what was asked for (-want +got):\n%s", diff)
	}
	for _, direction := range []string{"next_cursor", "previous_cursor"} {
		t.Run(direction, func(t *testing.T) {
			page := a.call(t, auditor, http.MethodGet, "/audit/events?limit=1&type=user&from=2026-01-01&cursor="+
				first.text(direction), nil)
			if page.status != http.StatusOK {
				t.Fatalf("%v: got %v, want %v", page, page.status, http.StatusOK)
			}
		})
	}
	if got := readings(); len(got) != 1 {
		t.Errorf("pages are not recorded: got has %d elements, want 1: %v", len(got), got)
	}
	for name, c := range map[string]struct{ token, kind string }{
		"the cursor of another query": {auditor, "company"}, "the cursor of another person": {a.admin, "user"},
	} {
		t.Run(name, func(t *testing.T) {
			stolen := a.call(t, c.token, http.MethodGet, "/audit/events?limit=1&type="+c.kind+
				"&from=2026-01-01&cursor="+first.text("next_cursor"), nil)
			if diff := cmp.Diff(map[string]string{"cursor": "cursor"}, stolen.wrong()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", stolen, diff)
			}
		})
	}

	who := a.call(t, auditor, http.MethodGet, "/audit/access?limit=1&module=audit", nil)
	if who.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", who, who.status, http.StatusOK)
	}
	more := a.call(t, auditor, http.MethodGet, "/audit/access?limit=1&module=audit&cursor="+who.text("next_cursor"),
		nil)
	if more.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", more, more.status, http.StatusOK)
	}
	if got := readings(); len(got) != 2 {
		t.Fatalf("readings() has %d elements, want 2: %v", len(got), got)
	}
	if got := readings()[0]["type"]; got != "audit.access_read" {
		t.Errorf(`readings()[0]["type"] = %q, want "audit.access_read"`, got)
	}
	if got := a.call(t, auditor, http.MethodGet, "/audit/access?limit=1&cursor="+who.text("next_cursor"),
		nil).status; got != http.StatusUnprocessableEntity {
		t.Errorf("got %v, want %v", got, http.StatusUnprocessableEntity)
	}

	exported := a.call(t, auditor, http.MethodGet, "/audit/export?format=csv&to=2020-01-01", nil)
	if exported.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", exported, exported.status, http.StatusOK)
	}
	if got := readings(); len(got) != 3 {
		t.Fatalf("readings() has %d elements, want 3: %v", len(got), got)
	}
	if got := readings()[0]["summary"]; got != "exported the audit log as csv" {
		t.Errorf(`readings()[0]["summary"] = %q, want "exported the audit log as csv"`, got)
	}

	before := a.Commands.Log
	a.Commands.Log = readOnlyLog{before}
	for _, path := range []string{"/audit/events", "/audit/access", "/audit/export"} {
		t.Run(path, func(t *testing.T) {
			unrecorded := a.call(t, auditor, http.MethodGet, path, nil)
			if unrecorded.status != http.StatusServiceUnavailable {
				t.Errorf("%v: got %v, want %v", unrecorded, unrecorded.status, http.StatusServiceUnavailable)
			}
			if got := string(unrecorded.body); strings.Contains(got, "auditor@") {
				t.Errorf(`%q contains "auditor@"`, got)
			}
		})
	}
	a.Commands.Log = before
	_, viewer := a.person(t, "viewer@example.com", without("audit", domain.Export))
	refused := a.call(t, viewer, http.MethodGet, "/audit/export", nil)
	if refused.status != http.StatusForbidden {
		t.Errorf("refused.status = %v, want %v", refused.status, http.StatusForbidden)
	}
	if got := refused.text("detail"); !strings.Contains(got, "audit.export") {
		t.Errorf(`%q lacks "audit.export"`, got)
	}
	if got := readings(); len(got) != 3 {
		t.Fatalf("who is refused reads nothing: got has %d elements, want 3: %v", len(got), got)
	}
}

// From a sign-in to what was done in its session, and back.
func TestASignInLeadsToWhatWasDoneInItsSession(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.givePassword(t)
	token := a.signInAs(t, adminEmail, adminPassword).text("token")
	for _, name := range []string{"Nova", "Orion"} {
		created := a.call(t, token, http.MethodPost, "/companies", map[string]any{"name": name},
			with{"X-Request-ID", uuid.NewString()})
		if created.status != http.StatusCreated {
			t.Fatalf("%v: got %v, want %v", created, created.status, http.StatusCreated)
		}
	}
	a.create(t, "/companies", map[string]any{"name": "of another session"})
	chain := func(id any) []string {
		return summaries(a.call(t, a.admin, http.MethodGet, "/audit/events?correlation_id="+id.(string), nil))
	}
	signIn := a.call(t, a.admin, http.MethodGet, "/audit/events?type=signin.succeeded", nil).items()[0]
	led := chain(signIn["id"])
	if got := led[len(led)-1]; got != "signed in (password)" {
		t.Errorf(`its own correlation is its id: got %q, want "signed in (password)"`, got)
	}
	if !slices.Contains(led, "company Nova created") {
		t.Errorf("%v lacks company Nova created", led)
	}
	if !slices.Contains(led, "company Orion created") {
		t.Errorf("%v lacks company Orion created", led)
	}
	if slices.Contains(led, "company of another session created") {
		t.Errorf("%v contains company of another session created", led)
	}
	created := a.call(t, a.admin, http.MethodGet, "/audit/events?type=company.created", nil).items()[1]
	if diff := cmp.Diff(signIn["id"], created["causation_id"]); diff != "" {
		t.Errorf("causation_id (-want +got):\n%s", diff)
	}
	if got := chain(created["correlation_id"]); !slices.Contains(got, "company Orion created") {
		t.Errorf("its own request: %v lacks company Orion created", got)
	}
	if got := chain(created["correlation_id"]); slices.Contains(got, "company Nova created") {
		t.Errorf("%v contains company Nova created", got)
	}
	if got := a.call(t, token, http.MethodDelete, "/sessions/current", nil).status; got != http.StatusNoContent {
		t.Errorf("got %v, want %v", got, http.StatusNoContent)
	}
	a.catchUp(t, a.head(t))
	if got := chain(signIn["id"])[0]; got != "signed out" {
		t.Errorf(`chain(id)[0] = %q, want "signed out"`, got)
	}
}

// What somebody sends as X-Request-ID finds their own request, and puts nothing among what another's led to.
func TestNobodyChoosesTheCorrelationOfAnother(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	_, other := a.person(t, "other@example.com", everything())
	found := func(id any) []string {
		return summaries(a.call(t, a.admin, http.MethodGet, "/audit/events?type=company&correlation_id="+id.(string),
			nil))
	}
	create := func(t *testing.T, token, name string, id any) answered {
		t.Helper()
		created := a.call(t, token, http.MethodPost, "/companies", map[string]any{"name": name},
			with{"X-Request-ID", id.(string)})
		if created.status != http.StatusCreated {
			t.Fatalf("%v: got %v, want %v", created, created.status, http.StatusCreated)
		}
		return created
	}
	mine := uuid.NewString()
	first := create(t, a.admin, "Nova", mine)
	recorded := a.call(t, a.admin, http.MethodGet, "/companies/"+first.text("id")+"/history", nil).items()[0]
	if recorded["correlation_id"] != first.header.Get("X-Request-ID") {
		t.Errorf("correlation_id = %q, want %q", recorded["correlation_id"], first.header.Get("X-Request-ID"))
	}
	for of, id := range map[string]any{
		"request": mine, "event": recorded["id"], "correlation": recorded["correlation_id"],
		"cause": recorded["causation_id"],
	} {
		t.Run("somebody else sends the id of the "+of, func(t *testing.T) {
			theirs := create(t, other, of, id)
			if diff := cmp.Diff([]string{"company " + of + " created"},
				found(theirs.header.Get("X-Request-ID"))); diff != "" {
				t.Errorf("found(X-Request-ID) (-want +got):\n%s", diff)
			}
		})
	}
	for _, field := range []string{"correlation_id", "causation_id"} {
		t.Run("the event is found by "+field, func(t *testing.T) {
			if diff := cmp.Diff([]string{"company Nova created"}, found(recorded[field])); diff != "" {
				t.Errorf("found(id) (-want +got):\n%s", diff)
			}
		})
	}
	if got := found(recorded["id"]); len(got) != 0 {
		t.Errorf("found(id) = %v, want nothing", got)
	}
	create(t, a.admin, "Orion", mine)
	if diff := cmp.Diff([]string{"company Orion created", "company Nova created"},
		found(first.header.Get("X-Request-ID"))); diff != "" {
		t.Errorf("one's own go together (-want +got):\n%s", diff)
	}
}

type readOnlyLog struct{ eventstore.Log }

func (readOnlyLog) Append(context.Context, string, eventstore.Revision,
	[]eventstore.Proposed) (eventstore.Appended, error) {
	return eventstore.Appended{}, eventstore.ErrUnavailable
}

type exported struct {
	ID       uuid.UUID           `json:"id"`
	Position eventstore.Position `json:"position"`
	Stream   string              `json:"stream"`
	Revision eventstore.Revision `json:"revision"`
	Type     string              `json:"type"`
	At       time.Time           `json:"at"`
	Metadata map[string]any      `json:"metadata"`
	Data     map[string]any      `json:"data"`
}

// A copy is the log, without gaps and secrets; a resumed one is the same as one without a break.
func TestTheLogIsExported(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.givePassword(t)
	company := a.create(t, "/companies", map[string]any{"name": "=HYPERLINK(\"http://evil\")"})
	a.create(t, "/users", map[string]any{"email": "olena@example.com", "first_name": "=1+1\t", "company_id": company})
	var log []eventstore.Recorded
	for recorded, err := range a.Commands.Log.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		log = append(log, recorded)
	}
	copyOf := func(t *testing.T, query string) answered {
		t.Helper()
		answer := a.call(t, a.admin, http.MethodGet, "/audit/export"+query, nil)
		if answer.status != http.StatusOK {
			t.Fatalf("%v: got %v, want %v", answer, answer.status, http.StatusOK)
		}
		return answer
	}
	whole := copyOf(t, "")
	if got := whole.header.Get("Content-Type"); got != "application/x-ndjson" {
		t.Errorf(`Content-Type = %q, want "application/x-ndjson"`, got)
	}
	if got := whole.header.Get("Content-Disposition"); !strings.Contains(got, "secboard-events.ndjson") {
		t.Errorf(`%q lacks "secboard-events.ndjson"`, got)
	}
	if got := string(whole.body); strings.Contains(got, "argon2id") {
		t.Errorf(`%q contains "argon2id"`, got)
	}
	lines := strings.SplitAfter(strings.TrimSuffix(string(whole.body), "\n"), "\n")
	if len(lines) != len(log) {
		t.Fatalf("everything up to the export, and not its own record: got has %d elements, want %d: %v", len(lines),
			len(log), lines)
	}
	passwords := 0
	for i, text := range lines {
		var line exported
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatal(err)
		}
		r := log[i]
		if diff := cmp.Diff([]any{r.ID, r.Position, r.Stream, r.Revision, r.Type},
			[]any{line.ID, line.Position, line.Stream, line.Revision, line.Type}); diff != "" {
			t.Errorf("got (-want +got):\n%s", diff)
		}
		if line.Metadata["actor"] == nil {
			t.Errorf("line %d names no actor", i)
		}
		if line.At.IsZero() {
			t.Error("line.At.IsZero()")
		}
		if line.Data == nil {
			t.Errorf("line.Data = %v, want something", line.Data)
		}
		if line.Type == "user.password_set" {
			passwords++
			if line.Data["hash"] != nil {
				t.Errorf("line.hash = %v, want nil", line.Data["hash"])
			}
		}
	}
	if passwords != 1 {
		t.Errorf("passwords = %v, want 1", passwords)
	}

	for _, format := range []string{"ndjson", "csv"} {
		t.Run(format, func(t *testing.T) {
			inOneGo := copyOf(t, "?format="+format).body
			cut := inOneGo[:len(inOneGo)*2/3]
			last, size, err := export.Last(bytes.NewReader(cut), format)
			if err != nil {
				t.Fatal(err)
			}
			rest := copyOf(t, "?format="+format+"&after="+positionText(last)).body
			if got := string(cut[:size]) + string(rest)[:len(inOneGo)-int(size)]; got != string(inOneGo) {
				t.Errorf("got %q, want %q", got, string(inOneGo))
			}
		})
	}

	table, err := csv.NewReader(bytes.NewReader(copyOf(t, "?format=csv").body)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(export.Columns, table[0]); diff != "" {
		t.Errorf("table[0] (-want +got):\n%s", diff)
	}
	created := 0
	for _, row := range table[1:] {
		for _, cell := range row {
			if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r") {
				t.Errorf("%s", cell)
			}
		}
		if row[4] == "company.created" {
			created++
			if row[11] != `{"name":"=HYPERLINK(\"http://evil\")"}` {
				t.Errorf("row[11] = %q, want %q", row[11], `{"name":"=HYPERLINK(\"http://evil\")"}`)
			}
		}
	}
	if created != 1 {
		t.Errorf("created = %v, want 1", created)
	}

	at := url.QueryEscape(time.Now().UTC().Format(time.RFC3339Nano))
	a.create(t, "/roles", map[string]any{"name": "Owner"})
	if got := string(copyOf(t, "?to="+at).body); strings.Contains(got, "role.created") {
		t.Errorf(`%q contains "role.created"`, got)
	}
	since := string(copyOf(t, "?from="+at).body)
	if !strings.Contains(since, "role.created") {
		t.Errorf(`%q lacks "role.created"`, since)
	}
	if strings.Contains(since, "company.created") {
		t.Errorf(`%q contains "company.created"`, since)
	}
	if got := copyOf(t, "?to=2020-01-01").body; len(got) != 0 {
		t.Errorf("before the first event there is %q", got)
	}
	if diff := cmp.Diff(map[string]string{"format": "enum"},
		a.call(t, a.admin, http.MethodGet, "/audit/export?format=xls", nil).wrong()); diff != "" {
		t.Errorf("got (-want +got):\n%s", diff)
	}
}

// An export goes on only as long as whoever asked for it may have it.
func TestAnExportEndsWithItsRight(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(a *api, id uuid.UUID) (commands.Result, error){
		"the account is closed": func(a *api, id uuid.UUID) (commands.Result, error) {
			return a.Commands.DeactivateUser(context.Background(), commands.Operator(), id, "")
		},
		"the groups are left": func(a *api, id uuid.UUID) (commands.Result, error) {
			return a.Commands.ChangeUser(context.Background(), commands.Operator(), id,
				commands.ChangeUser{GroupIDs: &[]uuid.UUID{}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			id, token := a.person(t, "auditor@example.com", domain.Permissions{"audit": {View: true, Export: true}})
			log := a.Commands.Log
			a.Commands.Log = stallingLog{log, func() error {
				lost, err := lose(a, id)
				if err == nil {
					err = a.Runner.WaitFor(context.Background(), lost.Position)
				}
				return err
			}}
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.url+basePath+"/audit/export", nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Authorization", "Bearer "+token)
			response, err := http.DefaultClient.Do(request)
			if errors.Is(err, io.EOF) {
				return // broken off before its first byte
			}
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close() //nolint:errcheck // it has been read
			if got, err := io.ReadAll(response.Body); err == nil {
				t.Errorf("got all of it: %d bytes", len(got))
			}
		})
	}
}

// stallingLog reads half, then waits, and then continues or fails.
type stallingLog struct {
	eventstore.Log
	stall func() error
}

func (l stallingLog) ReadAll(ctx context.Context, after eventstore.Position) iter.Seq2[eventstore.Recorded, error] {
	return func(yield func(eventstore.Recorded, error) bool) {
		n := 0
		for recorded, err := range l.Log.ReadAll(ctx, after) {
			if n++; n == 3 {
				if stalled := l.stall(); stalled != nil {
					yield(eventstore.Recorded{}, stalled)
					return
				}
			}
			if err == nil {
				err = ctx.Err()
			}
			if !yield(recorded, err) {
				return
			}
		}
	}
}

// An export may take longer than the server lets a request take. One that fails does not look complete.
func TestALongExportAndOneThatBreaksOff(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.create(t, "/companies", map[string]any{"name": "Nova"})
	download := func(limit time.Duration) ([]byte, error) {
		listening := httptest.NewUnstartedServer(a.engine)
		listening.Config.ReadTimeout, listening.Config.WriteTimeout = limit, limit
		listening.Start()
		defer listening.Close()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, listening.URL+basePath+"/audit/export",
			nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+a.admin)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return nil, err
		}
		defer func() {
			if err := response.Body.Close(); err != nil {
				t.Fatal(err)
			}
		}()
		return io.ReadAll(response.Body)
	}
	log := a.Commands.Log
	var whole []byte
	var err error
	// a busy machine may need longer to read the request
	for limit := 100 * time.Millisecond; limit < patience; limit *= 8 {
		a.Commands.Log = stallingLog{log, func() error {
			<-time.After(3 * limit) // longer than the server lets other requests take
			return nil
		}}
		if whole, err = download(limit); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := string(whole); !strings.Contains(got, "company.created") {
		t.Errorf(`%q lacks "company.created"`, got)
	}

	a.Commands.Log = stallingLog{log, func() error { return eventstore.ErrUnavailable }}
	_, err = download(patience)
	if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}
