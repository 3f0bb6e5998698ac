package engine

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/secboard/secboard/eventstore"
)

// ErrOtherLog says that the read models of a database were not built from the log at hand.
type ErrOtherLog struct {
	Event    uuid.UUID
	Position eventstore.Position
}

func (e *ErrOtherLog) Error() string {
	return fmt.Sprintf("the read models in this database were built from another event log, or a longer one: "+
		"the event %s at position %d is not in this log. Give a restored log an empty database, in which the read "+
		"models are built again", e.Event, e.Position)
}

// CheckLog looks whether the newest event in the history stands at its position in the log; *ErrOtherLog where it does
// not. Positions differ from one store to another, also after a restore: continuing from a checkpoint there would
// silently skip events.
func CheckLog(ctx context.Context, pool *pgxpool.Pool, log eventstore.Log) error {
	rows, err := pool.Query(ctx, "SELECT position, event_id FROM history ORDER BY position DESC LIMIT 2")
	if err != nil {
		return err
	}
	type entry struct {
		Position eventstore.Position
		ID       uuid.UUID
	}
	newest, err := pgx.CollectRows(rows, pgx.RowToStructByPos[entry])
	if err != nil || len(newest) == 0 {
		return err
	}
	var before eventstore.Position
	if len(newest) > 1 {
		before = newest[1].Position // a store need not answer about what lies between two events
	}
	for recorded, err := range log.ReadAll(ctx, before) {
		if err != nil {
			return err
		}
		if e := eventstore.Decode(recorded); e.Foreign() {
			continue
		}
		if recorded.ID == newest[0].ID && recorded.Position == newest[0].Position {
			return nil
		}
		break
	}
	return &ErrOtherLog{newest[0].ID, newest[0].Position}
}
