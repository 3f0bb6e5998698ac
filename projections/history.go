package projections

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/domain/mailaccount"
	"github.com/secboard/secboard/domain/probe"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections/engine"
)

var historyColumns = []string{
	"position", "event_id", "kind", "subject_id", "revision", "type", "at", "created", "actor_kind", "actor_id",
	"session",
	"ip", "user_agent", "command_id", "correlation_id", "causation_id", "summary", "changes", "data", "metadata",
	"company_id", "former_company_id",
}

// history adds every event. Rows are copied in: the checkpoint in the same transaction makes duplicates impossible.
var history = engine.Table{
	Name: "history", Columns: historyColumns, Streamed: true,
	Apply: func(ctx context.Context, tx pgx.Tx, events []*eventstore.Envelope) error {
		companies, err := loadSubjectCompanies(ctx, tx, events)
		if err != nil {
			return err
		}
		var rows engine.CopyRows
		for _, e := range events {
			if err := addHistory(&rows, e, companies); err != nil {
				return err
			}
		}
		return rows.Write(ctx, tx.Conn().PgConn(), "history", historyColumns)
	},
	Fold: func() engine.Fold { return &wholeHistory{companies: subjectCompanies{}} },
}

// wholeHistory holds the events since rows were last asked for.
type wholeHistory struct {
	events    []*eventstore.Envelope
	companies subjectCompanies
}

func (w *wholeHistory) Add(e *eventstore.Envelope) error {
	w.events = append(w.events, e)
	return nil
}

func (w *wholeHistory) Rows(to *engine.CopyRows, yield func() error) error {
	for _, e := range w.events {
		if err := addHistory(to, e, w.companies); err != nil {
			return engine.WithEvent(e, err)
		}
		if err := yield(); err != nil {
			return err
		}
	}
	w.events = w.events[:0]
	return nil
}

func addHistory(to *engine.CopyRows, e *eventstore.Envelope, companies subjectCompanies) error {
	company, former := companies.follow(e)
	kind, subject := domain.SplitStream(e.Stream)
	changes, err := json.Marshal(domain.ChangesOf(e.Event))
	if err != nil {
		return fmt.Errorf("its changes: %w", err)
	}
	data, err := eventstore.WithoutSecrets(*e)
	if err != nil {
		return err
	}
	m := &e.Meta
	to.Row(len(historyColumns))
	to.Bigint(int64(e.Position))
	to.UUID(e.ID)
	to.Text(kind)
	to.Text(subject)
	to.Bigint(int64(e.Revision))
	to.Text(e.Type)
	to.Time(m.At)
	to.Time(e.Created)
	to.Text(m.Actor.Kind)
	to.OptionalText(m.Actor.ID)
	to.OptionalText(m.Session)
	to.OptionalText(m.IP)
	to.OptionalText(m.UserAgent)
	to.UUID(m.CommandID)
	to.UUID(m.CorrelationID)
	to.UUID(m.CausationID)
	to.Text(e.Event.Summary())
	to.JSONB(changes)
	to.JSONB(data)
	to.JSONB(e.Metadata)
	to.OptionalUUID(company)
	to.OptionalUUID(former)
	return nil
}

// HistoryFilter chooses events of one aggregate: Kind and ID are the two parts of its stream's name, such as "user" and
// a UUID, or "module" and its key.
type HistoryFilter struct {
	Kind           string
	ID             string
	Type           string     // prefix; empty: every type
	From           *time.Time // inclusive
	To             *time.Time // inclusive
	ActorID        string     // empty: everybody
	CompanyID      *uuid.UUID // that it belonged to then, or that the event took it out of; nil: whichever
	IncludeSignIns bool       // those of the account, which have a stream of their own
}

// HistoryEntry is one event for people to read.
type HistoryEntry struct {
	ID            uuid.UUID           `json:"id"`
	Position      eventstore.Position `json:"position"`
	Revision      eventstore.Revision `json:"revision"`
	Type          string              `json:"type"`
	Summary       string              `json:"summary"`
	At            time.Time           `json:"at"`
	Actor         Actor               `json:"actor"`
	IP            *string             `json:"ip"`
	UserAgent     *string             `json:"user_agent"`
	Changes       []HistoryChange     `json:"changes"`
	CorrelationID uuid.UUID           `json:"correlation_id"`
	CausationID   uuid.UUID           `json:"causation_id"`
}

// HistoryChange is the old and the new value of one field; nil for none. Where a value is the id of a company, its
// name of today comes with it.
type HistoryChange struct {
	Field    string  `json:"field"`
	From     any     `json:"from"`
	To       any     `json:"to"`
	FromName *string `json:"from_name,omitempty"`
	ToName   *string `json:"to_name,omitempty"`
}

// beside are the kinds of streams that belong to the history of another, under the same id.
var beside = map[string]string{
	user.Kind: signin.Kind, directory.Kind: probe.DirectoryKind, mailaccount.Kind: probe.MailKind,
}

// History lists the events of one aggregate, newest first; sort "position" turns it round. An aggregate that does not
// exist has an empty history.
func (r *ReadModels) History(ctx context.Context, filter HistoryFilter, page PageRequest) (List[HistoryEntry], error) {
	q := query{
		columns: historyEntryColumns, from: "history h", byDefault: "-position",
		orders: map[string]order{"position": {"h.position", newInt}},
	}
	switch also := beside[filter.Kind]; {
	case also != "" && (also != signin.Kind || filter.IncludeSignIns):
		q.where("h.kind IN (?, ?)", filter.Kind, also)
	default:
		q.where("h.kind = ?", filter.Kind)
	}
	q.where("h.subject_id = ?", engine.Storable(filter.ID))
	if filter.Type != "" {
		q.where("starts_with(h.type, ?)", engine.Storable(filter.Type))
	}
	if filter.From != nil {
		q.where("h.at >= ?", *filter.From)
	}
	if filter.To != nil {
		q.where("h.at <= ?", *filter.To)
	}
	if filter.ActorID != "" {
		q.where("h.actor_id = ?", engine.Storable(filter.ActorID))
	}
	if filter.CompanyID != nil {
		q.where("? IN (h.company_id, h.former_company_id)", *filter.CompanyID)
	}
	entries, err := list(ctx, r.pool, q, page, scanHistoryEntry)
	if err != nil {
		return entries, err
	}
	named := make([]*HistoryEntry, len(entries.Items))
	for i := range entries.Items {
		named[i] = &entries.Items[i]
	}
	return entries, r.nameEntries(ctx, named)
}

// historyEntryColumns are of history h.
const historyEntryColumns = `h.position, h.event_id, h.revision, h.type, h.summary, h.at, h.actor_kind, h.actor_id,
	h.ip, h.user_agent, h.changes,
	h.correlation_id, h.causation_id`

func scanHistoryEntry(rows pgx.Rows, place ...any) (HistoryEntry, error) {
	var e HistoryEntry
	err := rows.Scan(
		append([]any{&e.Position, &e.ID, &e.Revision, &e.Type, &e.Summary, &e.At, &e.Actor.Kind, &e.Actor.ID, &e.IP,
			&e.UserAgent,
			&e.Changes, &e.CorrelationID, &e.CausationID}, place...)...)
	e.At = e.At.UTC()
	return e, err
}

// nameEntries adds the names that actors and companies have today.
func (r *ReadModels) nameEntries(ctx context.Context, entries []*HistoryEntry) error {
	actors := make([]*Actor, len(entries))
	for i := range entries {
		actors[i] = &entries[i].Actor
	}
	if err := r.nameActors(ctx, actors); err != nil {
		return err
	}
	return r.nameCompanies(ctx, entries)
}

// nameCompanies adds the names of companies to changes that hold their ids.
func (r *ReadModels) nameCompanies(ctx context.Context, entries []*HistoryEntry) error {
	var companies []subject
	for _, entry := range entries {
		for _, change := range entry.Changes {
			for _, value := range []any{change.From, change.To} {
				if about, ok := changedCompany(change.Field, value); ok {
					companies = append(companies, about)
				}
			}
		}
	}
	names, err := r.namesOf(ctx, companies)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		for i := range entry.Changes {
			change := &entry.Changes[i]
			if about, ok := changedCompany(change.Field, change.From); ok {
				change.FromName = optional(names[about])
			}
			if about, ok := changedCompany(change.Field, change.To); ok {
				change.ToName = optional(names[about])
			}
		}
	}
	return nil
}

// changedCompany is the company whose id a field of a change holds.
func changedCompany(field string, value any) (subject, bool) {
	id, ok := value.(string)
	return subject{company.Kind, id}, ok && field == company.Kind+"_id"
}
