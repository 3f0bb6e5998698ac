package projections

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/mailserver"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections/engine"
)

type mailServerRow struct {
	lifetime
	id    uuid.UUID
	state mailserver.State
}

var mailServerRows = engine.Aggregate[uuid.UUID, *mailServerRow]{
	Kind: mailserver.Kind, Parse: uuid.Parse, Fresh: func(id uuid.UUID) *mailServerRow {
		return &mailServerRow{id: id}
	},
	ByIDs: "SELECT " + mailServerColumns + " FROM mail_servers s WHERE s.id = ANY($1)", Scan: scanMailServer,
	ID: func(s *mailServerRow) uuid.UUID { return s.id },
}

func (s *mailServerRow) Apply(e *eventstore.Envelope) error {
	s.state.Evolve(e.Event)
	return s.applied(e, s.state.Exists)
}

// SubjectName is what people call it.
func (s *mailServerRow) SubjectName() string { return s.state.SubjectName() }

var writeMailServers = engine.NewUpsert("mail_servers",
	engine.Col("id", "uuid", func(s *mailServerRow) rawUUID { return rawUUID(s.id) }),
	engine.Col("name", "text", func(s *mailServerRow) string { return s.state.Details.Name }),
	engine.Col("host", "text", func(s *mailServerRow) string { return s.state.Details.Host }),
	engine.Col("port", "int", func(s *mailServerRow) int { return s.state.Details.Port }),
	engine.Col("security", "text", func(s *mailServerRow) string { return s.state.Details.Security }),
	engine.Col("timeout_s", "int", func(s *mailServerRow) int { return s.state.Details.TimeoutS }),
	engine.Col("retired", "boolean", func(s *mailServerRow) bool { return s.state.Retired }),
	engine.Col("created_at", "timestamptz", func(s *mailServerRow) time.Time { return s.createdAt }),
	engine.Col("updated_at", "timestamptz", func(s *mailServerRow) time.Time { return s.updatedAt }),
	engine.Col("revision", "bigint", func(s *mailServerRow) int64 { return int64(s.revision) }),
	engine.Col("name_key", "bytea", func(s *mailServerRow) []byte { return nameKey(s.state.Details.Name) }),
	engine.Col("search", "text", func(s *mailServerRow) string {
		return searchText(s.state.Details.Name, s.state.Details.Host)
	}),
)

const mailServerColumns = `s.id, s.name, s.host, s.port, s.security, s.timeout_s, s.retired, s.created_at,
	s.updated_at, s.revision`

func scanMailServer(row pgx.Row, place ...any) (*mailServerRow, error) {
	s := &mailServerRow{state: mailserver.State{Lifecycle: domain.Lifecycle{Exists: true}}}
	d := &s.state.Details
	err := row.Scan(append([]any{&s.id, &d.Name, &d.Host, &d.Port, &d.Security, &d.TimeoutS, &s.state.Retired,
		&s.createdAt, &s.updatedAt, &s.revision}, place...)...)
	return s, err
}

// MailServer is a mail server as the HTTP API shows it.
type MailServer struct {
	ID        uuid.UUID           `json:"id"`
	Name      string              `json:"name"`
	Host      string              `json:"host"`
	Port      int                 `json:"port"`
	Security  string              `json:"security"`
	TimeoutS  int                 `json:"timeout_s"`
	Retired   bool                `json:"retired"`
	CreatedAt time.Time           `json:"created_at"`
	UpdatedAt time.Time           `json:"updated_at"`
	Revision  eventstore.Revision `json:"revision"`
}

func (s *mailServerRow) show() MailServer {
	d := s.state.Details
	return MailServer{
		ID: s.id, Name: d.Name, Host: d.Host, Port: d.Port, Security: d.Security, TimeoutS: d.TimeoutS,
		Retired:   s.state.Retired,
		CreatedAt: s.createdAt.UTC(), UpdatedAt: s.updatedAt.UTC(), Revision: s.revision,
	}
}

// MailServerFilter chooses mail servers; the zero value chooses all.
type MailServerFilter struct {
	Query   string // part of the name or host, in any case
	Retired *bool
}

// MailServer gives one mail server.
func (r *ReadModels) MailServer(ctx context.Context, id uuid.UUID) (MailServer, error) {
	s, err := scanMailServer(r.pool.QueryRow(ctx, "SELECT "+mailServerColumns+" FROM mail_servers s WHERE s.id = $1",
		id))
	return orNotFound(s.show(), err)
}

// MailServerAsOf gives one mail server as it was at a time.
func (r *ReadModels) MailServerAsOf(ctx context.Context, id uuid.UUID, at time.Time) (MailServer, error) {
	s, err := mailServerRows.OneAsOf(ctx, r.pool, id, at)
	if err != nil {
		return MailServer{}, err
	}
	return s.show(), nil
}

// MailServers lists mail servers, sorted by name or created_at.
func (r *ReadModels) MailServers(ctx context.Context, filter MailServerFilter,
	page PageRequest) (List[MailServer], error) {
	q := query{columns: mailServerColumns, from: "mail_servers s", id: "s.id", byDefault: "name",
		orders: map[string]order{
			"name": {"s.name_key", newBytes}, "created_at": {"s.created_at", newTime},
		}}
	q.containing("s.search", filter.Query)
	if filter.Retired != nil {
		q.whether("s.retired", *filter.Retired)
	}
	return list(ctx, r.pool, q, page, func(rows pgx.Rows, place ...any) (MailServer, error) {
		s, err := scanMailServer(rows, place...)
		return s.show(), err
	})
}
