package projections

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/mailmessage"
	"github.com/secboard/secboard/domain/settings"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections/engine"
)

// ownedKinds are those of which each belongs to a company, or to none.
var ownedKinds = []string{user.Kind, group.Kind, directory.Kind, mailmessage.Kind}

// subjectCompanies is the company of each account, group, directory and mail, as events follow one another.
type subjectCompanies map[subject]uuid.UUID

// follow applies the next event. It gives the company that its subject is or belongs to from then on, and the one that
// the event took it out of; uuid.Nil for none.
func (s subjectCompanies) follow(e *eventstore.Envelope) (now, former uuid.UUID) {
	about := subjectOf(e.Stream)
	if about.kind == company.Kind {
		id, err := uuid.Parse(about.id)
		if err != nil {
			return uuid.Nil, uuid.Nil
		}
		return id, uuid.Nil
	}
	switch event := e.Event.(type) {
	case user.Registered:
		s[about] = event.CompanyID
	case user.CompanyChanged:
		s[about], former = event.CompanyID.To, event.CompanyID.From
	case group.Created:
		s[about] = event.CompanyID
	case group.MadeGlobal:
		s[about], former = uuid.Nil, event.CompanyID.From
	case directory.Connected:
		s[about] = event.CompanyID
	case directory.CompanyChanged:
		s[about], former = event.CompanyID.To, event.CompanyID.From
	case mailmessage.Queued:
		s[about] = event.CompanyID
	case settings.MailRouteSet:
		return event.CompanyID, uuid.Nil
	}
	return s[about], former
}

// OfCompany says of the events of the log, given to it one by one from the beginning, whether their subject is the
// company, belonged to it, or was taken out of it by the event.
func OfCompany(company uuid.UUID) func(*eventstore.Envelope) bool {
	companies := subjectCompanies{}
	return func(e *eventstore.Envelope) bool {
		if e.Event == nil {
			return false
		}
		now, former := companies.follow(e)
		return now == company || former == company
	}
}

// loadSubjectCompanies gives the companies that subjects have before the events.
func loadSubjectCompanies(ctx context.Context, tx pgx.Tx, events []*eventstore.Envelope) (subjectCompanies, error) {
	companies := subjectCompanies{}
	var kinds, ids []string
	for _, e := range events {
		about := subjectOf(e.Stream)
		if _, met := companies[about]; met || !slices.Contains(ownedKinds, about.kind) {
			continue
		}
		companies[about] = uuid.Nil
		if kind, _ := domain.SplitStream(e.Stream); kind != about.kind || e.Revision > 0 {
			kinds, ids = append(kinds, about.kind), append(ids, about.id)
		}
	}
	if len(ids) == 0 {
		return companies, nil
	}
	rows, err := tx.Query(ctx, `SELECT s.kind, s.id, h.company_id FROM unnest($1::text[], $2::text[]) s (kind, id) CROSS
		JOIN LATERAL (
		SELECT company_id FROM history WHERE kind = s.kind AND subject_id = s.id ORDER BY position DESC LIMIT 1) h
		WHERE h.company_id IS NOT NULL`, kinds, ids)
	if err != nil {
		return nil, err
	}
	var about subject
	var in uuid.UUID
	_, err = pgx.ForEachRow(rows, []any{&about.kind, &about.id, &in}, func() error {
		companies[about] = in
		return nil
	})
	return companies, err
}

// historyHours says where in the log the events of an hour are.
var historyHours = engine.Table{
	Name: "history_hours", Columns: []string{"hour", "first_position", "last_position"},
	Apply: func(ctx context.Context, tx pgx.Tx, events []*eventstore.Envelope) error {
		met := hours{}
		for _, e := range events {
			met.note(e)
		}
		var at []time.Time
		var first, last []int64
		for hour, span := range met {
			at, first, last = append(at, hour), append(first, int64(span[0])), append(last, int64(span[1]))
		}
		_, err := tx.Exec(ctx, `INSERT INTO history_hours AS h SELECT * FROM unnest($1::timestamptz[], $2::bigint[],
			$3::bigint[])
			ON CONFLICT (hour) DO UPDATE SET last_position = excluded.last_position`, at, first, last)
		return err
	},
	Fold: func() engine.Fold { return hours{} },
}

// hours are the first and the last position of the events of each hour.
type hours map[time.Time][2]eventstore.Position

func (h hours) note(e *eventstore.Envelope) {
	hour := e.Meta.At.UTC().Truncate(time.Hour)
	span, met := h[hour]
	if !met {
		span[0] = e.Position
	}
	span[1] = e.Position
	h[hour] = span
}

func (h hours) Add(e *eventstore.Envelope) error {
	h.note(e)
	return nil
}

func (h hours) Rows(to *engine.CopyRows, yield func() error) error {
	for hour, span := range h {
		to.Row(3)
		to.Time(hour)
		to.Bigint(int64(span[0]))
		to.Bigint(int64(span[1]))
		if err := yield(); err != nil {
			return err
		}
	}
	return nil
}

const spanQuery = `SELECT min(first_position) AS low, max(last_position) AS high FROM history_hours
	WHERE hour > coalesce($1::timestamptz - interval '1 hour', '-infinity') AND hour <= coalesce($2::timestamptz,
	'infinity')`

// span gives positions between which all events of a time stand that the read models have; found is false when there
// are none. nil stands for no bound.
func (r *ReadModels) span(ctx context.Context,
	from, to *time.Time) (first, last eventstore.Position, found bool, err error) {
	var low, high *int64
	err = r.pool.QueryRow(ctx, spanQuery, from, to).Scan(&low, &high)
	if err != nil || low == nil {
		return 0, 0, false, err
	}
	return eventstore.Position(*low), eventstore.Position(*high), true, nil
}

// Extent says where in the log the events of a time stand: behind after up to last, or behind known, up to which the
// read models have the log. nil stands for no bound.
func (r *ReadModels) Extent(ctx context.Context,
	from, to *time.Time) (after, last, known eventstore.Position, err error) {
	var low, high *int64
	// One statement: the hours and the checkpoint commit together.
	err = r.pool.QueryRow(ctx, "SELECT c.position, h.low, h.high FROM checkpoints c, LATERAL ("+spanQuery+
		") h WHERE c.name = 'history'", from, to).
		Scan(&known, &low, &high)
	if err != nil {
		return 0, 0, 0, err
	}
	if low == nil {
		return known, known, known, nil
	}
	// The statement may have met a swap of read models between the two tables: the new hours may know more.
	return min(eventstore.Position(*low)-1, known), min(eventstore.Position(*high), known), known, nil
}
