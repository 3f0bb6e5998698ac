package projections

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/secboard/secboard/domain/kinds"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections/engine"
)

// subject is the aggregate that an event is about.
type subject struct{ kind, id string }

// subjectOf is what the events of a stream are about.
func subjectOf(stream string) subject {
	kind, id := kinds.Subject(stream)
	return subject{kind, id}
}

// fixedName is the name of a subject of a kind that has only a few, which are known beforehand.
func fixedName(about subject) (name string, fixed bool) {
	kind, _ := kinds.Of(about.kind)
	name, fixed = kind.Names[about.id]
	return name, fixed
}

// namesOf gives the names that subjects have today. Those that have none are left out.
func (r *ReadModels) namesOf(ctx context.Context, subjects []subject) (map[subject]string, error) {
	names, ids := map[subject]string{}, map[string][]string{}
	for _, about := range subjects {
		if name, fixed := fixedName(about); fixed {
			names[about] = name
		} else if kind, _ := kinds.Of(about.kind); kind.New != nil {
			ids[about.kind] = append(ids[about.kind], about.id)
		}
	}
	for kind, ids := range ids {
		slices.Sort(ids)
		rows, err := r.rowsOf(ctx, kind, slices.Compact(ids))
		if err != nil {
			return nil, err
		}
		for id, row := range rows {
			if named, ok := row.(interface{ SubjectName() string }); ok {
				names[subject{kind, id}] = named.SubjectName()
			}
		}
	}
	return names, nil
}

// rowsOf gives aggregates of a kind as they are today: from their table, or folded where they have none.
func (r *ReadModels) rowsOf(ctx context.Context, kind string, ids []string) (map[string]engine.Row, error) {
	if load := r.load[kind]; load != nil {
		return load(ctx, r.pool, ids)
	}
	return foldedRows(ctx, r.pool, kind, ids)
}

// loader gives rows of aggregates, by the second parts of the names of their streams.
type loader = func(ctx context.Context, pool *pgxpool.Pool, ids []string) (map[string]engine.Row, error)

// loaders gives, by kind, what loads the rows of the aggregates that have a table.
func loaders(set engine.Set) map[string]loader {
	loaders := map[string]loader{}
	for _, p := range set.Projections {
		for _, table := range p.Tables {
			if table.Load != nil {
				loaders[p.Kind] = table.Load
			}
		}
	}
	return loaders
}

// foldedRow is an aggregate of whichever kind, folded from its history.
type foldedRow struct {
	lifetime
	kinds.Aggregate
}

// Apply folds one event.
func (f *foldedRow) Apply(e *eventstore.Envelope) error {
	f.Evolve(e.Event)
	return f.applied(e, true)
}

func foldedRows(ctx context.Context, pool *pgxpool.Pool, kind string, ids []string) (map[string]engine.Row, error) {
	of, _ := kinds.Of(kind)
	folded := engine.Aggregate[string, *foldedRow]{
		Kind: kind, Parse: func(id string) (string, error) { return id, nil },
		Fresh: func(string) *foldedRow { return &foldedRow{Aggregate: of.New()} },
	}
	found, err := folded.AsOf(ctx, pool, ids, endOfTime)
	rows := make(map[string]engine.Row, len(found))
	for id, row := range found {
		rows[id] = row
	}
	return rows, err
}
