package projections

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/domain/mailserver"
	"github.com/secboard/secboard/eventstore"
)

type mailServerRow struct {
	lifetime
	id    uuid.UUID
	state mailserver.State
}

var mailServerRows = aggregate[uuid.UUID, *mailServerRow]{
	kind: mailserver.Kind, parse: uuid.Parse, fresh: func(id uuid.UUID) *mailServerRow { return &mailServerRow{id: id} },
	byIDs: "SELECT " + mailServerColumns + " FROM mail_servers s WHERE s.id = ANY($1)", scan: scanMailServer,
	id: func(s *mailServerRow) uuid.UUID { return s.id },
}

func (s *mailServerRow) apply(e *eventstore.Envelope) error {
	s.state.Evolve(e.Event)
	return s.applied(e, s.state.Exists)
}

var writeMailServers = newUpsert("mail_servers",
	col("id", "uuid", func(s *mailServerRow) rawUUID { return rawUUID(s.id) }),
	col("name", "text", func(s *mailServerRow) string { return s.state.Details.Name }),
	col("host", "text", func(s *mailServerRow) string { return s.state.Details.Host }),
	col("port", "int", func(s *mailServerRow) int { return s.state.Details.Port }),
	col("security", "text", func(s *mailServerRow) string { return s.state.Details.Security }),
	col("timeout_s", "int", func(s *mailServerRow) int { return s.state.Details.TimeoutS }),
	col("retired", "boolean", func(s *mailServerRow) bool { return s.state.Retired }),
	col("created_at", "timestamptz", func(s *mailServerRow) time.Time { return s.createdAt }),
	col("updated_at", "timestamptz", func(s *mailServerRow) time.Time { return s.updatedAt }),
	col("revision", "bigint", func(s *mailServerRow) int64 { return int64(s.revision) }),
	col("name_key", "bytea", func(s *mailServerRow) []byte { return nameKey(s.state.Details.Name) }),
	col("search", "text", func(s *mailServerRow) string { return searchText(s.state.Details.Name, s.state.Details.Host) }),
)

const mailServerColumns = `s.id, s.name, s.host, s.port, s.security, s.timeout_s, s.retired, s.created_at, s.updated_at, s.revision`

func scanMailServer(row pgx.Row, place ...any) (*mailServerRow, error) {
	s := &mailServerRow{state: mailserver.State{Exists: true}}
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
		ID: s.id, Name: d.Name, Host: d.Host, Port: d.Port, Security: d.Security, TimeoutS: d.TimeoutS, Retired: s.state.Retired,
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
	s, err := scanMailServer(r.pool.QueryRow(ctx, "SELECT "+mailServerColumns+" FROM mail_servers s WHERE s.id = $1", id))
	return orNotFound(s.show(), err)
}

// MailServerAsOf gives one mail server as it was at a time.
func (r *ReadModels) MailServerAsOf(ctx context.Context, id uuid.UUID, at time.Time) (MailServer, error) {
	s, err := mailServerRows.oneAsOf(ctx, r.pool, id, at)
	if err != nil {
		return MailServer{}, err
	}
	return s.show(), nil
}

// MailServers lists mail servers, sorted by name or created_at.
func (r *ReadModels) MailServers(ctx context.Context, filter MailServerFilter, page PageRequest) (List[MailServer], error) {
	q := query{columns: mailServerColumns, from: "mail_servers s", id: "s.id", byDefault: "name", orders: map[string]order{
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
