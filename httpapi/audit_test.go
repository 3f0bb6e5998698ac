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
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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
	person := a.create(t, "/users", map[string]any{"email": "olena@example.com", "first_name": "Olena", "company_id": company})
	other := a.create(t, "/users", map[string]any{"email": "other@example.com"})
	left := a.call(t, a.admin, http.MethodPatch, "/users/"+person, map[string]any{"company_id": nil})
	require.Equal(t, http.StatusOK, left.status, left)
	read := func(query string) answered {
		answer := a.call(t, a.admin, http.MethodGet, "/audit/events"+query, nil)
		require.Equal(t, http.StatusOK, answer.status, answer)
		return answer
	}
	of := read("?subject_id=" + person)
	assert.Equal(t, []string{"moved to another company", "account olena@example.com registered"}, summaries(of))
	entry := of.items()[0]
	assert.Equal(t, map[string]any{"kind": "user", "id": person, "name": "Olena"}, entry["subject"])
	assert.Equal(t, adminEmail, entry["actor"].(map[string]any)["name"])
	assert.Equal(t, "Nova", entry["changes"].([]any)[0].(map[string]any)["from_name"])

	assert.Equal(t, []string{"moved to another company", "account olena@example.com registered", "company Nova created"}, summaries(read("?company_id="+company)))
	assert.Equal(t, []string{"account other@example.com registered"}, summaries(read("?type=user.registered&from=2020-01-01&subject_id="+other)))
	assert.Equal(t, []string{"company Nova created"}, summaries(read("?type=company&actor_id="+a.adminID.String())))
	assert.Empty(t, read("?type=company&ip=203.0.113.9").items())
	assert.Empty(t, read("?to=2020-01-01").items())
	assert.Len(t, read("?ip=::ffff:127.0.0.1&type=user").items(), 3, "the one of the command line has no address")
	assert.Equal(t, map[string]string{"ip": "ip"}, a.call(t, a.admin, http.MethodGet, "/audit/events?ip=home", nil).wrong())

	t.Log("pages in both directions")
	first := read("?type=user.registered&limit=2")
	require.Len(t, first.items(), 2)
	older := read("?type=user.registered&limit=2&cursor=" + first.text("next_cursor"))
	assert.Equal(t, []string{"account " + adminEmail + " registered"}, summaries(older))
	assert.Nil(t, older.json["next_cursor"])
	back := read("?type=user.registered&limit=2&cursor=" + older.text("previous_cursor"))
	assert.Equal(t, first.items(), back.items())
	newer := read("?type=user.registered&cursor=" + first.text("previous_cursor"))
	assert.Empty(t, newer.items())
	a.create(t, "/users", map[string]any{"email": "third@example.com"})
	newer = read("?type=user.registered&cursor=" + newer.text("previous_cursor"))
	assert.Equal(t, []string{"account third@example.com registered"}, summaries(newer))
	assert.Equal(t, summaries(first), summaries(read("?type=user.registered&limit=2&cursor="+newer.text("next_cursor"))))
	nothing := read("?type=role")
	assert.Empty(t, nothing.items())
	a.create(t, "/roles", map[string]any{"name": "Owner"})
	assert.Len(t, read("?type=role&cursor="+nothing.text("previous_cursor")).items(), 1)
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
	require.Equal(t, http.StatusOK, first.status, first)
	require.Len(t, readings(), 1)
	assert.Equal(t, "audit.events_read", readings()[0]["type"])
	changes, _ := json.Marshal(readings()[0]["changes"])
	assert.JSONEq(t, `[{"field":"type","from":null,"to":"user"},{"field":"from","from":null,"to":"2026-01-01T00:00:00Z"}]`, string(changes))
	for _, direction := range []string{"next_cursor", "previous_cursor"} {
		page := a.call(t, auditor, http.MethodGet, "/audit/events?limit=1&type=user&from=2026-01-01&cursor="+first.text(direction), nil)
		require.Equal(t, http.StatusOK, page.status, page)
	}
	assert.Len(t, readings(), 1, "pages are not recorded")
	for token, query := range map[string]string{
		auditor: "?limit=1&type=company&from=2026-01-01", a.admin: "?limit=1&type=user&from=2026-01-01",
	} {
		stolen := a.call(t, token, http.MethodGet, "/audit/events"+query+"&cursor="+first.text("next_cursor"), nil)
		assert.Equal(t, map[string]string{"cursor": "cursor"}, stolen.wrong(), "another query or person: %s", stolen)
	}

	who := a.call(t, auditor, http.MethodGet, "/audit/access?limit=1&module=audit", nil)
	require.Equal(t, http.StatusOK, who.status, who)
	more := a.call(t, auditor, http.MethodGet, "/audit/access?limit=1&module=audit&cursor="+who.text("next_cursor"), nil)
	require.Equal(t, http.StatusOK, more.status, more)
	require.Len(t, readings(), 2)
	assert.Equal(t, "audit.access_read", readings()[0]["type"])
	assert.Equal(t, http.StatusUnprocessableEntity, a.call(t, auditor, http.MethodGet, "/audit/access?limit=1&cursor="+who.text("next_cursor"), nil).status)

	exported := a.call(t, auditor, http.MethodGet, "/audit/export?format=csv&to=2020-01-01", nil)
	require.Equal(t, http.StatusOK, exported.status, exported)
	require.Len(t, readings(), 3)
	assert.Equal(t, "exported the audit log as csv", readings()[0]["summary"])

	before := a.Commands.Log
	a.Commands.Log = readOnlyLog{before}
	for _, path := range []string{"/audit/events", "/audit/access", "/audit/export"} {
		unrecorded := a.call(t, auditor, http.MethodGet, path, nil)
		assert.Equal(t, http.StatusServiceUnavailable, unrecorded.status, unrecorded)
		assert.NotContains(t, string(unrecorded.body), "auditor@")
	}
	a.Commands.Log = before
	_, viewer := a.person(t, "viewer@example.com", without("audit", domain.Export))
	refused := a.call(t, viewer, http.MethodGet, "/audit/export", nil)
	assert.Equal(t, http.StatusForbidden, refused.status)
	assert.Contains(t, refused.text("detail"), "audit.export")
	require.Len(t, readings(), 3, "who is refused reads nothing")
}

// From a sign-in to what was done in its session, and back.
func TestASignInLeadsToWhatWasDoneInItsSession(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.givePassword(t)
	token := a.signInAs(t, adminEmail, adminPassword).text("token")
	for _, name := range []string{"Nova", "Orion"} {
		created := a.call(t, token, http.MethodPost, "/companies", map[string]any{"name": name}, with{"X-Request-ID", uuid.NewString()})
		require.Equal(t, http.StatusCreated, created.status, created)
	}
	a.create(t, "/companies", map[string]any{"name": "of another session"})
	chain := func(id any) []string {
		return summaries(a.call(t, a.admin, http.MethodGet, "/audit/events?correlation_id="+id.(string), nil))
	}
	signIn := a.call(t, a.admin, http.MethodGet, "/audit/events?type=signin.succeeded", nil).items()[0]
	led := chain(signIn["id"])
	assert.Equal(t, "signed in (password)", led[len(led)-1], "its own correlation is its id")
	assert.Contains(t, led, "company Nova created")
	assert.Contains(t, led, "company Orion created")
	assert.NotContains(t, led, "company of another session created")
	created := a.call(t, a.admin, http.MethodGet, "/audit/events?type=company.created", nil).items()[1]
	assert.Equal(t, signIn["id"], created["causation_id"])
	assert.Contains(t, chain(created["correlation_id"]), "company Orion created", "its own request")
	assert.NotContains(t, chain(created["correlation_id"]), "company Nova created")
	assert.Equal(t, http.StatusNoContent, a.call(t, token, http.MethodDelete, "/sessions/current", nil).status)
	a.catchUp(t, a.head(t))
	assert.Equal(t, "signed out", chain(signIn["id"])[0])
}

// What somebody sends as X-Request-ID finds their own request, and puts nothing among what another's led to.
func TestNobodyChoosesTheCorrelationOfAnother(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	_, other := a.person(t, "other@example.com", everything())
	found := func(id any) []string {
		return summaries(a.call(t, a.admin, http.MethodGet, "/audit/events?type=company&correlation_id="+id.(string), nil))
	}
	create := func(token, name string, id any) answered {
		created := a.call(t, token, http.MethodPost, "/companies", map[string]any{"name": name}, with{"X-Request-ID", id.(string)})
		require.Equal(t, http.StatusCreated, created.status, created)
		return created
	}
	mine := uuid.NewString()
	first := create(a.admin, "Nova", mine)
	recorded := a.call(t, a.admin, http.MethodGet, "/companies/"+first.text("id")+"/history", nil).items()[0]
	assert.Equal(t, first.header.Get("X-Request-ID"), recorded["correlation_id"])
	for name, id := range map[string]any{"A": mine, "B": recorded["id"], "C": recorded["correlation_id"], "D": recorded["causation_id"]} {
		theirs := create(other, name, id)
		assert.Equal(t, []string{"company " + name + " created"}, found(theirs.header.Get("X-Request-ID")))
	}
	for _, id := range []any{recorded["correlation_id"], recorded["causation_id"]} {
		assert.Equal(t, []string{"company Nova created"}, found(id))
	}
	assert.Empty(t, found(recorded["id"]))
	create(a.admin, "Orion", mine)
	assert.Equal(t, []string{"company Orion created", "company Nova created"}, found(first.header.Get("X-Request-ID")), "one's own go together")
}

type readOnlyLog struct{ eventstore.Log }

func (readOnlyLog) Append(context.Context, string, eventstore.Revision, []eventstore.Proposed) (eventstore.Appended, error) {
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

// A copy is the log, without gaps and secrets; one that was gone on with is the same as one in one go.
func TestTheLogIsExported(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.givePassword(t)
	company := a.create(t, "/companies", map[string]any{"name": "=HYPERLINK(\"http://evil\")"})
	a.create(t, "/users", map[string]any{"email": "olena@example.com", "first_name": "=1+1\t", "company_id": company})
	var log []eventstore.Recorded
	for recorded, err := range a.Commands.Log.ReadAll(t.Context(), 0) {
		require.NoError(t, err)
		log = append(log, recorded)
	}
	copyOf := func(query string) answered {
		answer := a.call(t, a.admin, http.MethodGet, "/audit/export"+query, nil)
		require.Equal(t, http.StatusOK, answer.status, answer)
		return answer
	}
	whole := copyOf("")
	assert.Equal(t, "application/x-ndjson", whole.header.Get("Content-Type"))
	assert.Contains(t, whole.header.Get("Content-Disposition"), "secboard-events.ndjson")
	assert.NotContains(t, string(whole.body), "argon2id")
	lines := strings.SplitAfter(strings.TrimSuffix(string(whole.body), "\n"), "\n")
	require.Len(t, lines, len(log), "everything up to the export, and not its own record")
	passwords := 0
	for i, text := range lines {
		var line exported
		require.NoError(t, json.Unmarshal([]byte(text), &line))
		r := log[i]
		assert.Equal(t, []any{r.ID, r.Position, r.Stream, r.Revision, r.Type}, []any{line.ID, line.Position, line.Stream, line.Revision, line.Type})
		assert.NotEmpty(t, line.Metadata["actor"])
		assert.False(t, line.At.IsZero())
		assert.NotNil(t, line.Data)
		if line.Type == "user.password_set" {
			passwords++
			assert.Nil(t, line.Data["hash"])
		}
	}
	assert.Equal(t, 1, passwords)

	for _, format := range []string{"ndjson", "csv"} {
		inOneGo := copyOf("?format=" + format).body
		cut := inOneGo[:len(inOneGo)*2/3]
		last, size, err := export.Last(bytes.NewReader(cut), format)
		require.NoError(t, err)
		rest := copyOf("?format=" + format + "&after=" + positionText(last)).body
		assert.Equal(t, string(inOneGo), string(cut[:size])+string(rest)[:len(inOneGo)-int(size)], format)
	}

	table, err := csv.NewReader(bytes.NewReader(copyOf("?format=csv").body)).ReadAll()
	require.NoError(t, err)
	assert.Equal(t, export.Columns, table[0])
	created := 0
	for _, row := range table[1:] {
		for _, cell := range row {
			assert.False(t, cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r"), cell)
		}
		if row[4] == "company.created" {
			created++
			assert.Equal(t, `{"name":"=HYPERLINK(\"http://evil\")"}`, row[11])
		}
	}
	assert.Equal(t, 1, created)

	at := url.QueryEscape(time.Now().UTC().Format(time.RFC3339Nano))
	a.create(t, "/roles", map[string]any{"name": "Owner"})
	assert.NotContains(t, string(copyOf("?to="+at).body), "role.created")
	since := string(copyOf("?from=" + at).body)
	assert.Contains(t, since, "role.created")
	assert.NotContains(t, since, "company.created")
	assert.Empty(t, copyOf("?to=2020-01-01").body)
	assert.Equal(t, map[string]string{"format": "enum"}, a.call(t, a.admin, http.MethodGet, "/audit/export?format=xls", nil).wrong())
}

// stallingLog reads half, then waits, and then goes on or breaks off.
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

// An export may take longer than the server lets a request take. One that breaks off does not look whole.
func TestALongExportAndOneThatBreaksOff(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.create(t, "/companies", map[string]any{"name": "Nova"})
	download := func(limit time.Duration) ([]byte, error) {
		listening := httptest.NewUnstartedServer(a.engine)
		listening.Config.ReadTimeout, listening.Config.WriteTimeout = limit, limit
		listening.Start()
		defer listening.Close()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, listening.URL+basePath+"/audit/export", nil)
		require.NoError(t, err)
		request.Header.Set("Authorization", "Bearer "+a.admin)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return nil, err
		}
		defer func() { require.NoError(t, response.Body.Close()) }()
		return io.ReadAll(response.Body)
	}
	log := a.Commands.Log
	var whole []byte
	var err error
	for limit := 100 * time.Millisecond; limit < patience; limit *= 8 { // a busy machine may need longer to read the request
		a.Commands.Log = stallingLog{log, func() error {
			<-time.After(3 * limit) // longer than the server lets other requests take
			return nil
		}}
		if whole, err = download(limit); err == nil {
			break
		}
	}
	require.NoError(t, err)
	assert.Contains(t, string(whole), "company.created")

	a.Commands.Log = stallingLog{log, func() error { return eventstore.ErrUnavailable }}
	_, err = download(patience)
	assert.True(t, errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF), err)
}
