package projections

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections/engine"
)

// AuditEvent is one event of the whole log for people to read.
type AuditEvent struct {
	HistoryEntry
	Subject Subject `json:"subject"`
}

// Subject is what an event is about. Kind is that of its aggregate; sign-ins are about an account. Name is the one of
// today, nil for what has none.
type Subject struct {
	Kind string  `json:"kind"`
	ID   string  `json:"id"`
	Name *string `json:"name"`
}

// AuditFilter chooses events of the whole log; empty fields stand for everything.
type AuditFilter struct {
	ActorID   string
	SubjectID string
	Type      string     // start of the event's type
	CompanyID *uuid.UUID // that the subject is or belonged to, or that the event took it out of
	From      *time.Time // inclusive
	To        *time.Time // inclusive
	IP        string
	// shared by the events of one request; that of a sign-in finds what was done in its session too
	CorrelationID *uuid.UUID
}

// AuditPage is where a page of the log begins. Both positions nil: at the newest event.
type AuditPage struct {
	Before *eventstore.Position // events older than this
	After  *eventstore.Position // events newer than this, those next to it
	Limit  int
}

// AuditEvents gives a page of the log, always newest first, and whether there is more in the direction that was asked
// for.
func (r *ReadModels) AuditEvents(ctx context.Context, filter AuditFilter,
	page AuditPage) (events []AuditEvent, more bool, err error) {
	search, none, err := r.searchOf(ctx, filter, page)
	if err != nil || none {
		return []AuditEvent{}, false, err
	}
	rows, err := r.pool.Query(ctx, search.statement(), search.args...)
	if err != nil {
		return nil, false, err
	}
	defer rows.Close()
	events = []AuditEvent{}
	for rows.Next() {
		var e AuditEvent
		var kind string
		if e.HistoryEntry, err = scanHistoryEntry(rows, &kind, &e.Subject.ID); err != nil {
			return nil, false, err
		}
		e.Subject.Kind = subjectOf(kind + "-" + e.Subject.ID).kind
		events = append(events, e)
	}
	if err := rows.Err(); err != nil {
		return nil, false, err
	}
	if more = len(events) > search.limit; more {
		events = events[:search.limit]
	}
	if page.After != nil {
		slices.Reverse(events)
	}
	entries := make([]*HistoryEntry, len(events))
	for i := range events {
		entries[i] = &events[i].HistoryEntry
	}
	if err := r.nameEntries(ctx, entries); err != nil {
		return nil, false, err
	}
	return events, more, r.nameSubjects(ctx, events)
}

// search is a query of the history in the order of the log. What it looks for is found by branches, each of which reads
// one index in that order; so a page costs the same wherever in millions of events its entries are.
type search struct {
	query
	keys     string // rows, with one column key, for each of which every branch runs; empty for one run
	branches []string
	newer    bool
	limit    int
}

// searchOf prepares a search; none says that there can't be any such event.
func (r *ReadModels) searchOf(ctx context.Context, filter AuditFilter,
	page AuditPage) (s search, none bool, err error) {
	s.limit, s.newer = PageRequest{Limit: page.Limit}.limit(), page.After != nil
	if page.Before != nil {
		s.where("h.position < ?", int64(*page.Before))
	}
	if page.After != nil {
		s.where("h.position > ?", int64(*page.After))
	}
	if filter.From != nil || filter.To != nil {
		first, last, found, err := r.span(ctx, filter.From, filter.To)
		if err != nil || !found {
			return s, true, err
		}
		s.where("h.position >= ?", int64(first))
		s.where("h.position <= ?", int64(last))
	}
	if filter.From != nil {
		s.where("h.at >= ?", *filter.From)
	}
	if filter.To != nil {
		s.where("h.at <= ?", *filter.To)
	}
	var types []string
	if filter.Type != "" {
		for _, event := range eventstore.Catalogue {
			if strings.HasPrefix(event.EventType(), filter.Type) {
				types = append(types, event.EventType())
			}
		}
		if len(types) == 0 {
			return s, true, nil
		}
	}
	s.branch(filter, types)
	return s, false, nil
}

// branch chooses by which index to find the entries: that of the filter that is met by the fewest events. The others
// are conditions on what is found.
func (s *search) branch(filter AuditFilter, types []string) {
	byCompany := false
	switch {
	case filter.CorrelationID != nil:
		id := s.arg(*filter.CorrelationID)
		s.branches = []string{"h.correlation_id = " + id, "h.causation_id = " + id +
			" AND h.causation_id <> h.command_id AND h.correlation_id <> " + id}
	case filter.SubjectID != "":
		// The index begins with the kind, and several kinds may share an id.
		s.keys = `WITH RECURSIVE kinds (key) AS (SELECT min(kind) FROM history UNION ALL
			SELECT (SELECT min(kind) FROM history WHERE kind > key) FROM kinds WHERE key IS NOT NULL) SELECT key
			FROM kinds WHERE key IS NOT NULL`
		s.branches = []string{"h.kind = k.key"}
	case filter.IP != "", filter.ActorID != "":
		s.branches = []string{"true"}
	case filter.CompanyID != nil:
		byCompany = true
		in := s.arg(*filter.CompanyID)
		s.branches = []string{
			"h.company_id = " + in, "h.former_company_id = " + in + " AND h.company_id IS DISTINCT FROM " + in,
		}
	case types != nil:
		s.keys = "SELECT unnest(" + s.arg(types) + "::text[])"
		s.branches = []string{"h.type = k.key"}
		types = nil
	default:
		s.branches = []string{"true"}
	}
	if filter.SubjectID != "" {
		s.where("h.subject_id = ?", engine.Storable(filter.SubjectID))
	}
	if filter.IP != "" {
		s.where("h.ip = ?", engine.Storable(filter.IP))
	}
	if filter.ActorID != "" {
		s.where("h.actor_id = ?", engine.Storable(filter.ActorID))
	}
	if filter.CompanyID != nil && !byCompany { // twice, it makes Postgres expect so few events that it sorts them all
		s.where("? IN (h.company_id, h.former_company_id)", *filter.CompanyID)
	}
	if types != nil {
		s.where("h.type = ANY(?)", types)
	}
}

func (s *search) statement() string {
	order := "DESC"
	if s.newer {
		order = "ASC"
	}
	var parts []string
	for _, branch := range s.branches {
		conditions := append([]string{branch}, s.conditions...)
		part := fmt.Sprintf("SELECT %s, h.kind, h.subject_id FROM history h WHERE %s ORDER BY h.position %s LIMIT %d",
			historyEntryColumns, strings.Join(conditions, " AND "), order, s.limit+1)
		if s.keys != "" {
			part = "SELECT h.* FROM (" + s.keys + ") k (key) CROSS JOIN LATERAL (" + part + ") h"
		}
		parts = append(parts, "("+part+")")
	}
	return fmt.Sprintf("SELECT * FROM (%s) e ORDER BY position %s LIMIT %d", strings.Join(parts, " UNION ALL "), order,
		s.limit+1)
}

// nameSubjects adds the names that subjects have today.
func (r *ReadModels) nameSubjects(ctx context.Context, events []AuditEvent) error {
	subjects := make([]subject, len(events))
	for i := range events {
		subjects[i] = subject{events[i].Subject.Kind, events[i].Subject.ID}
	}
	names, err := r.namesOf(ctx, subjects)
	for i := range events {
		events[i].Subject.Name = optional(names[subjects[i]])
	}
	return err
}
