package projections

import (
	"context"
	"crypto/md5"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"pgregory.net/rapid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/postgres"
	"github.com/secboard/secboard/postgres/pgtest"
)

// Whatever the filter and the size of pages, forwards and backwards: what is found is what the log has, in its order.
func TestTheLogIsSearchedAsItWasWritten(t *testing.T) {
	t.Parallel()
	pool := pgtest.NewDatabase(t)
	models := NewReadModels(pool)
	rapid.Check(t, func(rt *rapid.T) {
		emptyReadModels(t, pool)
		s := newStory(rt)
		for range rapid.IntRange(10, 60).Draw(rt, "steps") {
			s.step()
		}
		play(t, pool, 0, s.log, 9)
		if len(s.log) == 0 {
			return
		}
		companies := map[string]uuid.UUID{}
		for range 6 {
			some := &s.log[rapid.IntRange(0, len(s.log)-1).Draw(rt, "event")]
			_, subjectID := domain.SplitStream(some.Stream)
			var filter AuditFilter
			for _, part := range rapid.SliceOfNDistinct(rapid.SampledFrom(strings.Fields("actor subject type prefix "+
				"company from to ip correlation")), 0, 2, rapid.ID).Draw(rt, "filter") {
				switch part {
				case "actor":
					filter.ActorID = some.Meta.Actor.ID
				case "subject":
					filter.SubjectID = subjectID
				case "type":
					filter.Type = some.Type
				case "prefix":
					filter.Type, _, _ = strings.Cut(some.Type, ".")
				case "company":
					if in, any := known(s, s.companies); any {
						filter.CompanyID = &in
					}
				case "from":
					filter.From = &some.Meta.At
				case "to":
					filter.To = &some.Meta.At
				case "ip":
					filter.IP = "192.0.2.1"
				case "correlation":
					filter.CorrelationID = &some.Meta.CorrelationID
				}
			}
			var want []eventstore.Position
			clear(companies)
			for i := range s.log {
				if holds(&s.log[i], filter, companies) {
					want = append(want, s.log[i].Position)
				}
			}
			slices.Reverse(want)
			limit := rapid.SampledFrom([]int{1, 2, 5, 200}).Draw(rt, "limit")
			older, newer := allOlder(rt, models, filter, limit), allNewer(rt, models, filter, limit)
			if !slices.Equal(older, want) || !slices.Equal(newer, want) {
				rt.Fatalf("%s\nthe log has %v\nbackwards    %v\nforwards     %v", show(t, filter), want, older, newer)
			}
		}
	})
}

// holds says whether an event fits, from the log alone. companies is the company of each subject so far.
func holds(e *eventstore.Envelope, filter AuditFilter, companies map[string]uuid.UUID) bool {
	kind, subjectID := domain.SplitStream(e.Stream)
	belongs := []uuid.UUID{}
	switch event := e.Event.(type) {
	case user.Registered:
		companies[e.Stream] = event.CompanyID
	case user.CompanyChanged:
		companies[e.Stream] = event.CompanyID.To
		belongs = append(belongs, event.CompanyID.From)
	case group.Created:
		companies[e.Stream] = event.CompanyID
	case group.MadeGlobal:
		companies[e.Stream] = uuid.Nil
		belongs = append(belongs, event.CompanyID.From)
	}
	belongs = append(belongs, companies[e.Stream])
	if kind == company.Kind {
		belongs = append(belongs, uuid.MustParse(subjectID))
	}
	m := e.Meta
	return (filter.ActorID == "" || m.Actor.ID == filter.ActorID) &&
		(filter.SubjectID == "" || subjectID == filter.SubjectID) &&
		strings.HasPrefix(e.Type, filter.Type) &&
		(filter.CompanyID == nil || slices.Contains(belongs, *filter.CompanyID)) &&
		(filter.From == nil || !m.At.Before(*filter.From)) && (filter.To == nil || !m.At.After(*filter.To)) &&
		(filter.IP == "" || m.IP == filter.IP) &&
		(filter.CorrelationID == nil || m.CorrelationID == *filter.CorrelationID)
}

func allOlder(t *rapid.T, models *ReadModels, filter AuditFilter, limit int) (found []eventstore.Position) {
	page := AuditPage{Limit: limit}
	for {
		events, more, err := models.AuditEvents(t.Context(), filter, page)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			found = append(found, e.Position)
		}
		if !more {
			return found
		}
		page.Before = &found[len(found)-1]
	}
}

func allNewer(t *rapid.T, models *ReadModels, filter AuditFilter, limit int) (found []eventstore.Position) {
	after := eventstore.Position(0)
	for {
		events, more, err := models.AuditEvents(t.Context(), filter, AuditPage{After: &after, Limit: limit})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range slices.Backward(events) {
			found = append(found, e.Position)
			after = e.Position
		}
		if !more {
			slices.Reverse(found)
			return found
		}
	}
}

// tracer remembers the statements that a pool is asked.
type tracer struct {
	mu    sync.Mutex
	asked []pgx.TraceQueryStartData
}

func (s *tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	if upper := strings.TrimLeft(data.SQL, "( \n\t"); strings.HasPrefix(upper, "SELECT") ||
		strings.HasPrefix(upper, "WITH") {
		s.asked = append(s.asked, data)
	}
	return ctx
}

func (s *tracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// taken gives what was asked since it was asked the last time.
func (s *tracer) taken() []pgx.TraceQueryStartData {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.asked
	s.asked = nil
	return taken
}

// Every filter finds its entries by an index, and no query reads a large table, with the planner left to itself.
func TestAuditQueriesUseTheirIndexes(t *testing.T) {
	t.Parallel()
	trace := &tracer{}
	pool, err := postgres.Open(t.Context(), pgtest.NewDatabaseURL(t), func(c *pgxpool.Config) {
		c.ConnConfig.Tracer = trace
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	large := fillReadModels(t, pool, 3_000, 40_000)
	for _, question := range auditQuestions(NewReadModels(pool), large) {
		t.Run(question.name, func(t *testing.T) {
			trace.taken()
			if err := question.ask(t.Context()); err != nil {
				t.Fatal(err)
			}
			plans := ""
			for _, asked := range trace.taken() {
				plans += asked.SQL + "\n" + plainly(t, pool, asked) + "\n\n"
			}
			for _, table := range []string{"history", "users", "memberships", "account_versions"} {
				if strings.Contains(plans, "Seq Scan on "+table+" ") {
					t.Errorf("it reads all of %s:\n%s", table, plans)
				}
			}
			if !strings.Contains(plans, question.index) {
				t.Errorf("it does without %s:\n%s", question.index, plans)
			}
		})
	}
}

func plainly(t testing.TB, pool *pgxpool.Pool, asked pgx.TraceQueryStartData) string {
	t.Helper()
	rows, err := pool.Query(t.Context(), "EXPLAIN "+asked.SQL, asked.Args...)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(plan, "\n")
}

// filled names what fillReadModels made.
type filled struct {
	accounts, events int
	company          uuid.UUID // of a tenth of the accounts
	middle           time.Time // of the log
}

const (
	filledCompanies = 10
	filledGroups    = 200
)

// numbered is the id of the n-th thing of a sort.
func numbered(sort byte, n int) uuid.UUID {
	return uuid.MustParse(fmt.Sprintf("%02x000000-0000-7000-8000-%012x", sort, n))
}

// fillReadModels makes accounts, groups and a log of some size straight in the tables, as large installations have
// them: half of the groups are of companies, members come and go, every type has its own share of the log, rare ones
// stand at its beginning only.
func fillReadModels(t testing.TB, pool *pgxpool.Pool, accounts, events int) filled {
	t.Helper()
	start := time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC)
	step := 5 * 365 * 24 * time.Hour / time.Duration(events)
	id := func(sort byte, n string) string {
		return fmt.Sprintf("('%02x000000-0000-7000-8000-' || lpad(to_hex(%s), 12, '0'))::uuid", sort, n)
	}
	at := func(n string) string {
		return fmt.Sprintf("('%s'::timestamptz + (%s) * interval '%d microseconds')", start.Format(time.RFC3339), n,
			step.Microseconds())
	}
	fill := []string{
		fmt.Sprintf(`INSERT INTO companies SELECT %s, 'Company ' || n, false, NULL, false, %s, %[2]s, 0, '', ''
			FROM generate_series(0, %d) n`,
			id(0xc0, "n"), at("0"), filledCompanies-1),
		fmt.Sprintf(`INSERT INTO group_versions SELECT %s, n, %s, NULL, gen_random_uuid(), 'system', NULL,
			'Group ' || n,
				CASE WHEN n %% 2 = 0 THEN %s END, false,
				jsonb_build_object('m' || n %% 20,
				'{"view":true,"add":false,"edit":true,"delete":false,"export":false,"show_link":true}'::jsonb)
					|| CASE WHEN n = 7 THEN '{"rare":{"delete":true}}' WHEN n < 40 THEN '{"common":{"view":true}}' ELSE
					'{}' END::jsonb
			FROM generate_series(0, %d) n`, id(0x60, "n"), at("0"), id(0xc0, "n / 2 % 10"), filledGroups-1),
		fmt.Sprintf(`INSERT INTO users SELECT %s, 'person.' || n || '@example.com', 'Person', n::text, '', %s, 'Risk',
			'Analyst', NULL, NULL, true, '',
				n %% 5000 = 0, false, 'local', true, false, 0, '', false, %s, %[3]s, 3, '', 'person.' || n, ''
				FROM generate_series(0, %d) n`,
			id(0xa0, "n"), id(0xc0, "n % 10"), at("n"), accounts-1),
		fmt.Sprintf(`INSERT INTO account_versions SELECT %s, n, %s, CASE WHEN n %% 3 = 0 THEN %s END, gen_random_uuid(),
			'system', NULL, %s, true, '',
				n %% 5000 = 0, NULL, NULL FROM generate_series(0, %d) n`, id(0xa0, "n"), at("n"), at("n * 2 + 1"),
			id(0xc0, "n % 10"), accounts-1),
		fmt.Sprintf(`INSERT INTO account_versions SELECT %s, n + 10000000, %s, NULL, gen_random_uuid(), 'system', NULL,
			%s, n %% 30 <> 0, 'left',
				n %% 5000 = 0, NULL, '2099-12-31' FROM generate_series(0, %d, 3) n`, id(0xa0, "n"), at("n * 2 + 1"),
			id(0xc0, "n % 10"), accounts-1),
		// Group 7, which alone allows rare.delete, has three members; of the others each account is in four.
		fmt.Sprintf(`INSERT INTO memberships SELECT %s, %s, 'Group', %s, 'system', NULL, gen_random_uuid(), n * 10 + k,
				CASE WHEN (n + k) %% 4 = 0 THEN %s END, CASE WHEN (n + k) %% 4 = 0 THEN 'system' END, NULL,
				CASE WHEN (n + k) %% 4 = 0 THEN gen_random_uuid() END
			FROM generate_series(0, %d) n, generate_series(0, 3) k`, id(0xa0, "n"),
			id(0x60, "CASE WHEN k < 2 THEN (n % 10) * 2 + 20 * ((n / 10 + k) % 10) ELSE 9 + 2 * ((n * 7 + k * 13) % "+
				"95) END"),
			at("n + k"), at("n * 2 + k"), accounts-1),
		fmt.Sprintf(`INSERT INTO memberships SELECT %s, %s, 'Rare', %s, 'system', NULL, gen_random_uuid(), n, NULL,
			NULL, NULL, NULL
			FROM generate_series(%d, %d) n`, id(0xa0, "n"), id(0x60, "7"), at("0"), accounts-3, accounts-1),
		fmt.Sprintf(`INSERT INTO history SELECT n * 100, gen_random_uuid(), kind, coalesce(%[1]s::text, ''), n / %[3]d,
			type, %[2]s, %[2]s, 'user',
				(CASE WHEN n < 100 THEN %[5]s ELSE %[6]s END)::text, NULL,
				CASE WHEN n < 100 THEN '198.51.100.7' ELSE '203.0.113.' || n %% 200 END, 'Mozilla',
				gen_random_uuid(), md5('c' || n / 3)::uuid, md5('s' || n / 40)::uuid, 'something happened', '[]',
				CASE WHEN type = 'user.registered' THEN jsonb_build_object('email', 'person.' || n || '@example.com',
				'source', 'local') ELSE '{}' END, '{}',
				%[7]s, CASE WHEN type = 'user.company_changed' THEN %[8]s END
			FROM (SELECT n, CASE WHEN n < %[3]d THEN 'user.registered' WHEN n < %[3]d + 200 THEN 'user.company_changed'
			WHEN n %% 10 < 5 THEN 'signin.succeeded'
					WHEN n %% 10 < 8 THEN 'user.phone_changed' ELSE 'user.group_joined' END AS type,
					CASE WHEN n %% 10 < 5 AND n >= %[3]d + 200 THEN 'signin' ELSE 'user' END AS kind
					FROM generate_series(0, %[4]d) n) e ORDER BY n`,
			id(0xa0, fmt.Sprintf("n %% %d", accounts)), at("n"), accounts, events-1, id(0xa0, "3"),
			id(0xa0, fmt.Sprintf("n / 7 %% %d", accounts)), id(0xc0, "n % 10"), id(0xc0, "(n + 1) % 10")),
		`INSERT INTO history_hours SELECT date_trunc('hour', at, 'UTC'), min(position), max(position) FROM history
			GROUP BY 1`,
		"ANALYZE",
	}
	for _, statement := range fill {
		if _, err := pool.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%v\n%s", err, statement)
		}
	}
	return filled{accounts: accounts, events: events, company: numbered(0xc0, 3),
		middle: start.Add(time.Duration(events/2) * step)}
}

// question is one query that auditors ask, and the index by which it has to be answered.
type question struct {
	name, index string
	ask         func(context.Context) error
}

func auditQuestions(models *ReadModels, large filled) []question {
	search := func(name, index string, filter AuditFilter) question {
		return question{name, index, func(ctx context.Context) error {
			events, _, err := models.AuditEvents(ctx, filter, AuditPage{})
			if err == nil && len(events) == 0 {
				err = fmt.Errorf("%s finds nothing", name)
			}
			return err
		}}
	}
	now := large.middle.AddDate(3, 0, 0)
	access := func(name, index string, filter AccessFilter, at *time.Time) question {
		return question{name, index, func(ctx context.Context) error {
			list, err := models.WhoMay(ctx, filter, PageRequest{}, now, at)
			if err == nil && len(list.Items) == 0 {
				err = fmt.Errorf("%s finds nobody", name)
			}
			return err
		}}
	}
	hour := large.middle.Add(time.Hour)
	long := large.middle.AddDate(1, 0, 0)
	early := large.middle.AddDate(-1, 0, 0)
	trace, signIn := md5ID("c7"), md5ID("s9")
	return []question{
		search("newest", "history_pkey", AuditFilter{}),
		search("actor", "history_actor", AuditFilter{ActorID: numbered(0xa0, 5).String()}),
		search("actor of long ago", "history_actor",
			AuditFilter{ActorID: numbered(0xa0, 3).String(), To: &large.middle}),
		search("subject", "history_subject", AuditFilter{SubjectID: numbered(0xa0, 5).String()}),
		search("common type", "history_type", AuditFilter{Type: "signin.succeeded"}),
		search("type of long ago", "history_type", AuditFilter{Type: "user.registered"}),
		search("rare type", "history_type", AuditFilter{Type: "user.company_changed"}),
		search("types", "history_type", AuditFilter{Type: "user."}),
		search("company", "history_company", AuditFilter{CompanyID: &large.company}),
		search("time", "history_hours_pkey", AuditFilter{From: &early, To: &large.middle}),
		search("until long ago", "history_pkey", AuditFilter{To: &early}),
		search("an hour", "history_pkey", AuditFilter{From: &large.middle, To: &hour}),
		search("address", "history_ip", AuditFilter{IP: "203.0.113.5"}),
		search("address of long ago", "history_ip", AuditFilter{IP: "198.51.100.7"}),
		search("correlation", "history_correlation", AuditFilter{CorrelationID: &trace}),
		search("session", "history_causation", AuditFilter{CorrelationID: &signIn}),
		search("type in a time", "history_", AuditFilter{Type: "user.phone_changed", From: &early, To: &large.middle}),
		access("who may do what", "memberships_members", AccessFilter{}, nil),
		access("common permission", "memberships_members", AccessFilter{Module: "common", Action: domain.View}, nil),
		access("rare permission", "group_versions", AccessFilter{Module: "rare", Action: domain.Delete}, nil),
		access("in a company", "account_versions", AccessFilter{CompanyID: &large.company}, nil),
		access("common permission in a company at a time", "memberships_members",
			AccessFilter{Module: "common", Action: domain.View, CompanyID: &large.company}, &long),
		access("in a company at a time", "history_subject", AccessFilter{CompanyID: &large.company}, &long),
	}
}

// md5ID is md5(text)::uuid of Postgres.
func md5ID(text string) uuid.UUID { return uuid.UUID(md5.Sum([]byte(text))) }
