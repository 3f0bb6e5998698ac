package projections

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
)

// Actor is who caused something, as eventstore.Actor. ID is nil where there is none, Name where none is known.
type Actor struct {
	Kind string  `json:"kind"`
	ID   *string `json:"id"`
	Name *string `json:"name"`
}

// nameActors gives actors the names that they have today.
func (r *ReadModels) nameActors(ctx context.Context, actors []*Actor) error {
	var ids, directories []uuid.UUID
	for _, actor := range actors {
		switch actor.Kind {
		case eventstore.ActorSystem:
			actor.Name = optional("SecBoard")
		case eventstore.ActorOperator:
			actor.Name = optional("an operator on the server")
		case eventstore.ActorDirectory:
			if id, ok := actorID(actor); ok {
				directories = append(directories, id)
			}
		case eventstore.ActorUser:
			if id, ok := actorID(actor); ok {
				ids = append(ids, id)
			} else if actor.ID == nil {
				actor.Name = optional("somebody not signed in")
			}
		}
	}
	if err := r.nameDirectories(ctx, actors, directories); err != nil || len(ids) == 0 {
		return err
	}
	rows, err := r.pool.Query(ctx, "SELECT id, email, first_name, last_name FROM users WHERE id = ANY($1)", ids)
	if err != nil {
		return err
	}
	defer rows.Close()
	names := make(map[uuid.UUID]string, len(ids))
	for rows.Next() {
		var id uuid.UUID
		var d user.Details
		if err := rows.Scan(&id, &d.Email, &d.FirstName, &d.LastName); err != nil {
			return err
		}
		names[id] = d.Name()
	}
	for _, actor := range actors {
		if id, ok := actorID(actor); ok && actor.Kind == eventstore.ActorUser {
			actor.Name = optional(names[id])
		}
	}
	return rows.Err()
}

// nameDirectories names the connections among actors.
func (r *ReadModels) nameDirectories(ctx context.Context, actors []*Actor, ids []uuid.UUID) error {
	if len(ids) == 0 {
		return nil
	}
	rows, err := r.pool.Query(ctx, "SELECT id, name FROM directories WHERE id = ANY($1)", ids)
	if err != nil {
		return err
	}
	names := map[uuid.UUID]string{}
	var id uuid.UUID
	var name string
	if _, err := pgx.ForEachRow(rows, []any{&id, &name}, func() error {
		names[id] = name
		return nil
	}); err != nil {
		return err
	}
	for _, actor := range actors {
		if id, ok := actorID(actor); ok && actor.Kind == eventstore.ActorDirectory {
			actor.Name = optional(names[id])
		}
	}
	return nil
}

func actorID(actor *Actor) (uuid.UUID, bool) {
	if actor.ID == nil {
		return uuid.Nil, false
	}
	id, err := uuid.Parse(*actor.ID)
	return id, err == nil
}
