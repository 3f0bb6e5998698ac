package projections

import (
	"cmp"
	"context"

	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
)

// Actor is who caused something, as eventstore.Actor. ID is nil where there is none, Name where none is known.
type Actor struct {
	Kind string  `json:"kind"`
	ID   *string `json:"id"`
	Name *string `json:"name"`
}

// known is the name of an actor that needs no look-up; empty for others.
func (a *Actor) known() string {
	switch {
	case a.Kind == eventstore.ActorSystem:
		return "SecBoard"
	case a.Kind == eventstore.ActorOperator && a.ID != nil:
		return "the operator " + *a.ID
	case a.Kind == eventstore.ActorOperator:
		return "an operator on the server"
	case a.Kind == eventstore.ActorUser && a.ID == nil:
		return "somebody not signed in"
	}
	return ""
}

// subject is the aggregate that acted; the zero value for none.
func (a *Actor) subject() subject {
	switch {
	case a.ID == nil:
		return subject{}
	case a.Kind == eventstore.ActorUser:
		return subject{user.Kind, *a.ID}
	case a.Kind == eventstore.ActorDirectory:
		return subject{directory.Kind, *a.ID}
	}
	return subject{}
}

// nameActors gives actors the names that they have today.
func (r *ReadModels) nameActors(ctx context.Context, actors []*Actor) error {
	subjects := make([]subject, len(actors))
	for i, actor := range actors {
		subjects[i] = actor.subject()
	}
	names, err := r.namesOf(ctx, subjects)
	for i, actor := range actors {
		actor.Name = optional(cmp.Or(actor.known(), names[subjects[i]]))
	}
	return err
}
