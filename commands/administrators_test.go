package commands_test

import (
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/nodetest"
)

// superuser is somebody signed in who was superuser when the request began.
func superuser(id uuid.UUID) commands.Caller {
	caller := commands.System()
	caller.Actor = eventstore.Actor{Kind: eventstore.ActorUser, ID: id.String()}
	return caller
}

// limits are the ways in which a superuser can end that of another one.
func limits(t *testing.T) []func(h *commands.Handler, by, other uuid.UUID) error {
	t.Helper()
	no := false
	last, err := domain.ParseDate("2030-12-31")
	if err != nil {
		t.Fatal(err)
	}
	change := func(patch user.Patch) func(*commands.Handler, uuid.UUID, uuid.UUID) error {
		return func(h *commands.Handler, by, other uuid.UUID) error {
			_, err := h.ChangeUser(t.Context(), superuser(by), other, commands.ChangeUser{Patch: patch})
			return err
		}
	}
	return []func(*commands.Handler, uuid.UUID, uuid.UUID) error{
		change(user.Patch{Superuser: &no}), change(user.Patch{Active: &no}), change(user.Patch{EndDate: &last}),
		func(h *commands.Handler, by, other uuid.UUID) error {
			_, err := h.DeactivateUser(t.Context(), superuser(by), other, "")
			return err
		},
	}
}

func TestHoweverSuperusersLimitEachOtherOneRemains(t *testing.T) {
	t.Parallel()
	client := nodetest.Connect(t)
	handler := newHandler(t, client)
	for range 5 {
		var all []uuid.UUID
		for range 4 {
			command := register(uuid.NewString() + "@acme.example")
			command.Superuser = true
			all = append(all, must(t)(handler.RegisterUser(t.Context(), commands.Operator(), command)))
		}
		var acting sync.WaitGroup
		for i, by := range all {
			acting.Go(func() {
				for j := 1; j < len(all); j++ {
					err := limits(t)[(i+j)%4](handler, by, all[(i+j)%len(all)])
					if err != nil && !refused(err, domain.CodeForbidden) && !refused(err, commands.ErrBusy.Code) {
						t.Error(err)
					}
				}
			})
		}
		acting.Wait()
		remaining := 0
		for _, id := range all {
			account := accountOf(t, client, id)
			if account.Superuser && account.Active && account.Details.EndDate.IsZero() {
				remaining++
			}
		}
		if remaining == 0 {
			t.Fatal("no superuser remains")
		}
	}
}

func TestASuperuserWhoWasLimitedMeanwhileLimitsNobody(t *testing.T) {
	t.Parallel()
	client := nodetest.Connect(t)
	handler := newHandler(t, client)
	var ids []uuid.UUID
	for _, email := range []string{"anna@acme.example", "boris@acme.example"} {
		command := register(email)
		command.Superuser = true
		ids = append(ids, must(t)(handler.RegisterUser(t.Context(), commands.Operator(), command)))
	}
	anna, boris := ids[0], ids[1]
	for i, limit := range limits(t) {
		gate := &gated{Log: client, prefix: domain.StreamName(user.Kind, boris), waiting: make(chan struct{}), open: make(chan struct{})}
		sleeper := *handler
		sleeper.Log = gate
		slept := make(chan error, 1)
		go func() { slept <- limit(&sleeper, anna, boris) }()
		<-gate.waiting // Boris was read and Anna has recorded that she is superuser
		if err := limits(t)[0](handler, boris, anna); err != nil {
			t.Fatal(err)
		}
		close(gate.open)
		if err := <-slept; !refused(err, domain.CodeForbidden) {
			t.Fatalf("way %d: the one that woke up: %v", i, err)
		}
		yes := true
		must(t)(handler.ChangeUser(t.Context(), superuser(boris), anna, commands.ChangeUser{Patch: user.Patch{Superuser: &yes}}))
	}
}

func accountOf(t *testing.T, log eventstore.Log, id uuid.UUID) user.State {
	t.Helper()
	recorded, err := log.ReadStream(t.Context(), domain.StreamName(user.Kind, id))
	if err != nil {
		t.Fatal(err)
	}
	var account user.State
	for _, event := range recorded {
		account.Evolve(eventstore.Decode(event).Event)
	}
	return account
}
