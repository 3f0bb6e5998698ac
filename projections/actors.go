package projections

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/eventstore"
)

// Actor is who caused something, as eventstore.Actor. ID is nil where there is none, Name where none is known.
type Actor struct {
	Kind string  `json:"kind"`
	ID   *string `json:"id"`
	Name *string `json:"name"`
}

// nameKnown gives an actor its name where that needs no look-up. Otherwise it gives the account whose name is the actor's.
func (a *Actor) nameKnown() (account uuid.UUID, isAccount bool) {
	switch a.Kind {
	case eventstore.ActorSystem:
		a.Name = optional("SecBoard")
	case eventstore.ActorOperator:
		a.Name = optional("an operator on the server")
	case eventstore.ActorUser:
		if a.ID == nil {
			a.Name = optional("somebody not signed in")
			return uuid.Nil, false
		}
		return actorID(a)
	}
	return uuid.Nil, false
}

// nameActors gives actors the names that they have today.
func (r *ReadModels) nameActors(ctx context.Context, actors []*Actor) error {
	var ids, directories []uuid.UUID
	for _, actor := range actors {
		if id, isAccount := actor.nameKnown(); isAccount {
			ids = append(ids, id)
		} else if id, ok := actorID(actor); ok && actor.Kind == eventstore.ActorDirectory {
			directories = append(directories, id)
		}
	}
	if err := r.nameDirectories(ctx, actors, directories); err != nil || len(ids) == 0 {
		return err
	}
	names, err := r.namesAt(ctx, ids, nil)
	if err != nil {
		return err
	}
	for _, actor := range actors {
		if id, ok := actorID(actor); ok && actor.Kind == eventstore.ActorUser {
			if d, known := names[id]; known {
				actor.Name = optional(d.Name())
			}
		}
	}
	return nil
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
