// Package engine keeps tables in Postgres up to date with the event log, and rebuilds them beside the live ones. It
// knows no aggregate: which tables there are and how events change them is handed in as a Set.
//
// A projection turns pages of the log into rows of its own tables; the page's rows and the projection's checkpoint
// commit in one transaction. Of the tables themselves the engine knows two: checkpoints, and history, from which
// CheckLog and the rows of an earlier time (Aggregate.AsOf) are read.
package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/eventstore"
)

// ErrNotFound says that there is no such thing, or that there was none at the time asked for.
var ErrNotFound = errors.New("not found")

// Set is the projections of a database. It is not changed after it was made.
type Set struct {
	// Projections are in the order in which their status is shown. Their names and those of their tables differ, and at
	// most one table is streamed.
	Projections []Projection
	// Migrate makes a schema with the tables of all projections, checkpoints and the version table of goose, or brings
	// those of an existing one up to date.
	Migrate func(ctx context.Context, pool *pgxpool.Pool, schema string) error
}

// Projection is how one part of the read models follows the log.
type Projection struct {
	Name string
	// Kind is that of the aggregates whose events change its tables, as streams are named; "" stands for all.
	Kind   string
	Tables []Table // that nobody else writes, nor reads while events are applied
}

// handles says whether an event concerns the projection. One that can't be decoded concerns it also by its type:
// better to stop than to pass over what a newer SecBoard wrote.
func (p Projection) handles(e *eventstore.Envelope) bool {
	if p.Kind == "" {
		return !e.Foreign()
	}
	kind, _ := domain.SplitStream(e.Stream)
	return kind == p.Kind || e.Err != nil && strings.HasPrefix(e.Type, p.Kind+".")
}

// ErrUnknownProjection says that there is no projection of a name.
var ErrUnknownProjection = errors.New("there is no such projection")

// Check answers ErrUnknownProjection, in a text that lists those that there are, where one of the names is not that of
// a projection.
func (s Set) Check(names []string) error {
	_, err := s.named(names)
	return err
}

// named gives the projections of the names, all for none, in their fixed order.
func (s Set) named(names []string) ([]Projection, error) {
	if len(names) == 0 {
		return s.Projections, nil
	}
	var known []string
	var chosen []Projection
	for _, p := range s.Projections {
		known = append(known, p.Name)
		if slices.Contains(names, p.Name) {
			chosen = append(chosen, p)
		}
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("%w: %q; there are %s", ErrUnknownProjection, name, strings.Join(known, ", "))
		}
	}
	return chosen, nil
}

func namesOf(projections []Projection) []string {
	names := make([]string, len(projections))
	for i, p := range projections {
		names[i] = p.Name
	}
	return names
}
