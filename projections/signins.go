package projections

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections/engine"
)

// lastSignIns keeps when each account was last signed in to.
var lastSignIns = engine.Table{
	Name: "sign_ins", Columns: []string{"user_id", "last_at"}, Apply: applySignIns,
	Fold: func() engine.Fold { return wholeSignIns{} },
}

type wholeSignIns map[uuid.UUID]time.Time

func (w wholeSignIns) Add(e *eventstore.Envelope) error {
	if _, succeeded := e.Event.(signin.Succeeded); !succeeded {
		return nil
	}
	_, text := domain.SplitStream(e.Stream)
	id, err := uuid.Parse(text)
	w[id] = e.Meta.At
	return err
}

func (w wholeSignIns) Rows(to *engine.CopyRows, yield func() error) error {
	for id, at := range w {
		to.Row(2)
		to.UUID(id)
		to.Time(at)
		if err := yield(); err != nil {
			return err
		}
	}
	return nil
}

func applySignIns(ctx context.Context, tx pgx.Tx, events []*eventstore.Envelope) error {
	last := map[string]time.Time{}
	for _, e := range events {
		if _, succeeded := e.Event.(signin.Succeeded); succeeded {
			_, id := domain.SplitStream(e.Stream)
			last[id] = e.Meta.At
		}
	}
	ids, times := slices.Sorted(maps.Keys(last)), make([]time.Time, len(last))
	for i, id := range ids {
		times[i] = last[id]
	}
	_, err := tx.Exec(ctx, `INSERT INTO sign_ins (user_id, last_at) SELECT * FROM unnest($1::uuid[], $2::timestamptz[])
		ON CONFLICT (user_id) DO UPDATE SET last_at = excluded.last_at`, ids, times)
	return err
}

// lastSignInAsOf gives when an account had last been signed in to at a time; nil: never.
func (r *ReadModels) lastSignInAsOf(ctx context.Context, userID uuid.UUID, at time.Time) (*time.Time, error) {
	var last *time.Time
	err := r.pool.QueryRow(ctx, "SELECT max(at) FROM history WHERE kind = $1 AND subject_id = $2 AND type = $3 AND "+
		"at <= $4",
		signin.Kind, userID.String(), signin.Succeeded{}.EventType(), at).Scan(&last)
	return last, err
}
