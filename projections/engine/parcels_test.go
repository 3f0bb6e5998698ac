package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/feed"
	"github.com/secboard/secboard/eventstore/nodetest"
	"github.com/secboard/secboard/migrations"
	"github.com/secboard/secboard/postgres/pgtest"
)

// The read models of these tests: parcels that are posted, sent elsewhere and stored in depots. The engine has nothing
// from SecBoard's aggregates in it.
type (
	posted struct {
		To     string `json:"to"`
		Weight int    `json:"weight"`
	}
	readdressed struct {
		To domain.Changed[string] `json:"to"`
	}
	stored struct {
		DepotID   uuid.UUID `json:"depot_id"`
		DepotName string    `json:"depot_name"`
	}
	fetched struct {
		DepotID uuid.UUID `json:"depot_id"`
	}
	labelled struct {
		Label string `json:"label"`
	}
	opened struct {
		Name string `json:"name"`
	}
)

func (posted) EventType() string      { return "parcel.posted" }
func (readdressed) EventType() string { return "parcel.readdressed" }
func (stored) EventType() string      { return "parcel.stored" }
func (fetched) EventType() string     { return "parcel.fetched" }
func (labelled) EventType() string    { return "parcel.labelled" }
func (opened) EventType() string      { return "depot.opened" }

func (posted) Summary() string      { return "posted" }
func (readdressed) Summary() string { return "sent elsewhere" }
func (stored) Summary() string      { return "stored in a depot" }
func (fetched) Summary() string     { return "fetched from a depot" }
func (labelled) Summary() string    { return "labelled" }
func (opened) Summary() string      { return "opened" }

func init() { eventstore.Register(posted{}, readdressed{}, stored{}, fetched{}, labelled{}, opened{}) }

// parcel is a parcel as the table parcels shows it, and where it was to go from when on.
type parcel struct {
	id       uuid.UUID
	to       string
	weight   int
	revision eventstore.Revision
	exists   bool
	Succession[string]
}

func (p *parcel) Exists() bool { return p.exists }

func (p *parcel) Apply(e *eventstore.Envelope) error {
	switch event := e.Event.(type) {
	case posted:
		p.to, p.weight, p.exists = event.To, event.Weight, true
	case readdressed:
		p.to = event.To.To
	}
	if !p.exists {
		return errors.New("it was never posted")
	}
	before, _ := p.Current()
	p.revision = e.Revision
	p.Follow(e, p.to, p.to == before)
	return nil
}

var parcels = Aggregate[uuid.UUID, *parcel]{
	Kind: "parcel", Parse: uuid.Parse, Fresh: func(id uuid.UUID) *parcel { return &parcel{id: id} },
	ByIDs: "SELECT id, destination, weight, revision FROM parcels WHERE id = ANY($1)",
	Scan: func(row pgx.Row, place ...any) (*parcel, error) {
		p := &parcel{exists: true}
		return p, row.Scan(append([]any{&p.id, &p.to, &p.weight, &p.revision}, place...)...)
	},
	ID: func(p *parcel) uuid.UUID { return p.id },
}

var writeParcels = NewUpsert("parcels",
	Col("id", "uuid", func(p *parcel) [16]byte { return p.id }),
	Col("destination", "text", func(p *parcel) string { return p.to }),
	Col("weight", "int", func(p *parcel) int { return p.weight }),
	Col("revision", "bigint", func(p *parcel) int64 { return int64(p.revision) }),
)

// routed is parcels as the table routes holds them.
var routed = func() Aggregate[uuid.UUID, *parcel] {
	of := parcels
	of.ByIDs = "SELECT parcel_id, destination FROM routes WHERE parcel_id = ANY($1) AND to_at IS NULL"
	of.Scan = func(row pgx.Row, _ ...any) (*parcel, error) {
		p := &parcel{exists: true}
		err := row.Scan(&p.id, &p.to)
		p.Succession = Continued(p.to)
		return p, err
	}
	return of
}()

var routes = Versions[string, *parcel]{
	Of: routed, Succession: func(p *parcel) *Succession[string] { return &p.Succession },
	State: []Column[string]{Col("destination", "text", func(to string) string { return to })},
}

var storage = MembershipTable{
	Name: "storage", Member: "parcel_id", In: "depot_id", InName: "depot_name", Began: "stored", Ended: "fetched",
	Note: func(m *Memberships, parcelID uuid.UUID, e *eventstore.Envelope) {
		switch event := e.Event.(type) {
		case stored:
			m.Begin(parcelID, event.DepotID, event.DepotName, e)
		case fetched:
			m.End(parcelID, event.DepotID, e)
		}
	},
}

type depot struct {
	id     uuid.UUID
	name   string
	exists bool
}

func (d *depot) Exists() bool { return d.exists }

func (d *depot) Apply(e *eventstore.Envelope) error {
	if event, ok := e.Event.(opened); ok {
		d.name, d.exists = event.Name, true
	}
	return nil
}

var depots = Aggregate[uuid.UUID, *depot]{
	Kind: "depot", Parse: uuid.Parse, Fresh: func(id uuid.UUID) *depot { return &depot{id: id} },
	ByIDs: "SELECT id, name FROM depots WHERE id = ANY($1)",
	Scan: func(row pgx.Row, _ ...any) (*depot, error) {
		d := &depot{exists: true}
		return d, row.Scan(&d.id, &d.name)
	},
	ID: func(d *depot) uuid.UUID { return d.id },
}

var writeDepots = NewUpsert("depots",
	Col("id", "uuid", func(d *depot) [16]byte { return d.id }),
	Col("name", "text", func(d *depot) string { return d.name }),
)

// labels is a table that a rebuild fills page by page.
var labels = Table{Name: "parcel_labels", Apply: applyLabels}

func applyLabels(ctx context.Context, tx pgx.Tx, events []*eventstore.Envelope) error {
	for _, e := range events {
		_, id := domain.SplitStream(e.Stream)
		if event, ok := e.Event.(labelled); ok {
			const put = "INSERT INTO parcel_labels VALUES ($1, $2) ON CONFLICT (parcel_id) DO UPDATE SET label = " +
				"EXCLUDED.label"
			if _, err := tx.Exec(ctx, put, id, event.Label); err != nil {
				return err
			}
		}
	}
	return nil
}

// journal is a streamed table of all events.
var journal = Table{
	Name: "journal", Columns: []string{"position", "type"}, Streamed: true,
	Apply: func(ctx context.Context, tx pgx.Tx, events []*eventstore.Envelope) error {
		var rows CopyRows
		for _, e := range events {
			noteInJournal(&rows, e)
		}
		return rows.Write(ctx, tx.Conn().PgConn(), "journal", []string{"position", "type"})
	},
	Fold: func() Fold { return new(wholeJournal) },
}

func noteInJournal(to *CopyRows, e *eventstore.Envelope) {
	to.Row(2)
	to.Bigint(int64(e.Position))
	to.Text(e.Type)
}

type wholeJournal []*eventstore.Envelope

func (w *wholeJournal) Add(e *eventstore.Envelope) error {
	*w = append(*w, e)
	return nil
}

func (w *wholeJournal) Rows(to *CopyRows, yield func() error) error {
	for _, e := range *w {
		noteInJournal(to, e)
		if err := yield(); err != nil {
			return err
		}
	}
	*w = (*w)[:0]
	return nil
}

const parcelTables = `
	CREATE TABLE IF NOT EXISTS parcels (id uuid PRIMARY KEY, destination text NOT NULL, weight int NOT NULL,
	revision bigint NOT NULL);
	CREATE INDEX IF NOT EXISTS parcels_by_destination ON parcels (destination, id);
	CREATE TABLE IF NOT EXISTS parcel_labels (parcel_id uuid PRIMARY KEY, label text NOT NULL);
	CREATE TABLE IF NOT EXISTS storage (parcel_id uuid NOT NULL, depot_id uuid NOT NULL, depot_name text NOT NULL,
		stored_at timestamptz NOT NULL, stored_by_kind text NOT NULL, stored_by_id text, stored_event uuid NOT NULL,
		stored_position bigint NOT NULL,
		fetched_at timestamptz, fetched_by_kind text, fetched_by_id text, fetched_event uuid, PRIMARY KEY (parcel_id,
		depot_id, stored_position));
	CREATE TABLE IF NOT EXISTS depots (id uuid PRIMARY KEY, name text NOT NULL);
	CREATE TABLE IF NOT EXISTS routes (parcel_id uuid NOT NULL, position bigint NOT NULL, from_at timestamptz NOT NULL,
	to_at timestamptz,
		event_id uuid NOT NULL, actor_kind text NOT NULL, actor_id text, destination text NOT NULL,
		PRIMARY KEY (parcel_id, position));
	CREATE TABLE IF NOT EXISTS journal (position bigint PRIMARY KEY, type text NOT NULL);`

// parcelSet is the Set of these tests. Its tables stand beside those of SecBoard, of which it uses checkpoints alone:
// none may have the name of a read model's.
func parcelSet() Set {
	return Set{
		Projections: []Projection{
			{Name: "parcels", Kind: "parcel", Tables: []Table{parcels.Table(writeParcels), storage.Table(), labels}},
			{Name: "depots", Kind: "depot", Tables: []Table{depots.Table(writeDepots)}},
			{Name: "routes", Kind: "parcel", Tables: []Table{routes.Table("routes", "parcel_id")}},
			{Name: "journal", Tables: []Table{journal}},
		},
		Migrate: func(ctx context.Context, pool *pgxpool.Pool, schema string) error {
			if err := migrations.ReadModels(ctx, pool, schema); err != nil {
				return err
			}
			_, err := pool.Exec(ctx, "BEGIN; SET LOCAL search_path = "+schema+";"+parcelTables+"COMMIT")
			return err
		},
	}
}

// world is an event store, a database with the tables of parcelSet, and a runner between them.
type world struct {
	log    eventstore.Log
	pool   *pgxpool.Pool
	runner *Runner

	mu        sync.Mutex
	revisions map[string]eventstore.Revision
}

// newStoppedWorld is a world without a runner.
func newStoppedWorld(t testing.TB) *world {
	t.Helper()
	return &world{log: nodetest.Connect(t), pool: newDatabase(t), revisions: map[string]eventstore.Revision{}}
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := newStoppedWorld(t)
	w.runner = startRunner(t, w.pool, w.log)
	return w
}

// newDatabase opens a database with the tables of parcelSet, without rows.
func newDatabase(t testing.TB) *pgxpool.Pool {
	t.Helper()
	pool := pgtest.NewDatabase(t)
	if err := parcelSet().Migrate(t.Context(), pool, migrations.ReadModelsSchema); err != nil {
		t.Fatal(err)
	}
	return pool
}

func startRunner(t testing.TB, pool *pgxpool.Pool, log eventstore.Log) *Runner {
	t.Helper()
	runner, _ := startStoppable(t, pool, log, nil)
	return runner
}

// startStoppable runs a Runner until stop is called, or the test ends.
func startStoppable(t testing.TB, pool *pgxpool.Pool, log eventstore.Log,
	registry prometheus.Registerer) (_ *Runner, stop func()) {
	t.Helper()
	runner := NewRunner(parcelSet(), pool, log, slog.New(slog.DiscardHandler), registry)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- runner.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return runner, stop
}

// write appends events to the stream of an aggregate and gives the position of the last.
func (w *world) write(t testing.TB, kind string, id uuid.UUID, events ...domain.Event) eventstore.Position {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	stream := domain.StreamName(kind, id)
	expected, met := w.revisions[stream]
	if !met {
		expected = eventstore.NoStream
	}
	command := uuid.New()
	proposed, err := eventstore.Encode(stream, expected, events, eventstore.Metadata{
		At: time.Now(), Actor: eventstore.Actor{Kind: eventstore.ActorOperator}, CommandID: command,
		CorrelationID: command, CausationID: command,
	})
	if err != nil {
		t.Fatal(err)
	}
	appended, err := w.log.Append(t.Context(), stream, expected, proposed)
	if err != nil {
		t.Fatal(err)
	}
	w.revisions[stream] = expected + eventstore.Revision(len(events))
	return appended.Position
}

// post writes a parcel to a destination.
func (w *world) post(t testing.TB, to string) (uuid.UUID, eventstore.Position) {
	t.Helper()
	id := uuid.New()
	return id, w.write(t, "parcel", id, posted{To: to, Weight: len(to)})
}

// send posts a parcel that something of everything happens to, and gives the position of the last event.
func (w *world) send(t testing.TB, to string) eventstore.Position {
	t.Helper()
	id, here := uuid.New(), uuid.New()
	w.write(t, "depot", here, opened{Name: "Depot of " + to})
	w.write(t, "parcel", id, posted{To: to, Weight: 3}, stored{DepotID: here, DepotName: "Depot of " + to},
		labelled{Label: "glass"})
	return w.write(t, "parcel", id, readdressed{To: domain.Changed[string]{From: to, To: to + " 2"}},
		fetched{DepotID: here},
		stored{DepotID: here, DepotName: "Depot of " + to}, labelled{Label: "broken glass"})
}

// appendRaw appends an event that no encoder made.
func (w *world) appendRaw(t testing.TB, stream, eventType, data string) {
	t.Helper()
	metadata := fmt.Sprintf(
		`{"at":"2026-01-01T00:00:00Z","actor":{"kind":"system"},"command_id":"%s","schema_version":1}`, uuid.New())
	if _, err := w.log.Append(t.Context(), stream, eventstore.NoStream, []eventstore.Proposed{
		{ID: uuid.New(), Type: eventType, Data: []byte(data), Metadata: []byte(metadata)},
	}); err != nil {
		t.Fatal(err)
	}
}

// rebuild carries out a rebuild that has to succeed.
func (w *world) rebuild(t testing.TB, mode string, names ...string) Rebuild {
	t.Helper()
	r, err := RunRebuild(t.Context(), parcelSet(), w.pool, w.log, RebuildRequest{Names: names, Mode: mode}, nil)
	if err != nil || r.State != RebuildDone {
		t.Fatal(show(t, r), err)
	}
	return r
}

// assertReplayed waits until the runner has the whole log, and compares the live tables with those that its pages give
// in an empty database.
func (w *world) assertReplayed(t testing.TB) {
	t.Helper()
	page := feed.Page{}
	for recorded, err := range w.log.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		page.Events = append(page.Events, eventstore.Decode(recorded))
	}
	waitFor(t, w.runner, page.Position())
	replayed, set := newDatabase(t), parcelSet()
	if err := set.makeCheckpoints(t.Context(), replayed); err != nil {
		t.Fatal(err)
	}
	for _, p := range set.Projections {
		conn, err := replayed.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		err = p.ApplyPage(t.Context(), conn, page)
		conn.Release()
		if err != nil {
			t.Fatal(err)
		}
	}
	live, want := contents(t, w.pool), contents(t, replayed)
	for table := range want {
		if live[table] != want[table] {
			t.Errorf("%s, live:\n%s\nreplayed:\n%s", table, live[table], want[table])
		}
	}
}

// contents gives the rows of each table.
func contents(t testing.TB, pool *pgxpool.Pool) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, p := range parcelSet().Projections {
		for _, table := range p.Tables {
			rows, err := pool.Query(t.Context(), "SELECT to_jsonb(r)::text FROM "+table.Name+" r ORDER BY 1")
			if err != nil {
				t.Fatal(err)
			}
			texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				t.Fatal(err)
			}
			found[table.Name] = strings.Join(texts, "\n")
		}
	}
	return found
}

func waitFor(t testing.TB, runner *Runner, position eventstore.Position) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := runner.WaitFor(ctx, position)
	statuses, statusErr := runner.Status(t.Context())
	if err != nil || statusErr != nil {
		t.Fatal(err, show(t, statuses), statusErr)
	}
	for _, s := range statuses {
		if s.State == StateStopped {
			t.Fatal(s.Name, *s.Error)
		}
	}
}

// patience is for what has to happen, however busy the machine is.
const patience = 2 * time.Minute

func show(t testing.TB, value any) string {
	t.Helper()
	text, err := json.MarshalIndent(value, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
