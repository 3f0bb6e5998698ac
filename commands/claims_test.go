package commands_test

import (
	"testing"
	"time"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/nodetest"
)

func TestNoTimeGoesBackWithinAStreamAlsoOfAClaim(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	s.Handler.Now = func() time.Time {
		s.advance(-time.Second)
		return s.clock.Now()
	}
	rename := func(email string) {
		must(t)(s.ChangeUser(t.Context(), admin(), s.anna, commands.ChangeUser{Patch: user.Patch{Email: &email}}))
	}
	rename("hanna@acme.example")
	rename(annasEmail)
	must(t)(s.RegisterUser(t.Context(), admin(), register("hanna@acme.example")))
	last := map[string]time.Time{}
	kinds := map[string]bool{}
	for recorded, err := range s.log.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		e := eventstore.Decode(recorded)
		if e.Meta.At.Before(last[e.Stream]) {
			t.Errorf("%s goes back in time at revision %d, %s", e.Stream, e.Revision, e.Type)
		}
		last[e.Stream] = e.Meta.At
		kinds[e.Type] = true
	}
	for _, event := range []string{"claim.reserved", "claim.confirmed", "claim.released"} {
		if !kinds[event] {
			t.Errorf("there is no %s", event)
		}
	}
}

func TestACreationRepeatedAfterItsValueWentToSomebodyElse(t *testing.T) {
	t.Parallel()
	handler := newHandler(t, nodetest.Connect(t))
	ctx, caller := t.Context(), admin()
	anna := must(t)(handler.RegisterUser(ctx, caller, register(annasEmail)))
	email := "hanna@acme.example"
	must(t)(handler.ChangeUser(ctx, admin(), anna, commands.ChangeUser{Patch: user.Patch{Email: &email}}))
	other := must(t)(handler.RegisterUser(ctx, admin(), register(annasEmail)))
	if again, err := handler.RegisterUser(ctx, caller, register(annasEmail)); err != nil || again.ID != anna.String() ||
		!again.Changed {
		t.Errorf("repeated: %+v, %v", again, err)
	}
	if third, err := handler.RegisterUser(ctx, admin(), register(annasEmail)); !refused(err, domain.CodeEmailTaken) {
		t.Errorf("the address of %s again: %+v, %v", other, third, err)
	}
}
