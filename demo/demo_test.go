package demo_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/google/go-cmp/cmp"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/demo"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/installation"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/nodetest"
	"github.com/secboard/secboard/secrets"
	"github.com/secboard/secboard/secrets/secretstest"
)

// newHandler makes a Handler on an empty event store.
func newHandler(t *testing.T) *commands.Handler {
	t.Helper()
	client := nodetest.Connect(t)
	dir := t.TempDir()
	keys, err := secrets.LoadOrCreateKeyset(filepath.Join(dir, "keyset.json"))
	if err != nil {
		t.Fatal(err)
	}
	h := commands.New(client, keys, secretstest.Hasher(t))
	if err := h.Initialize(t.Context()); err != nil {
		t.Fatal(err)
	}
	return h
}

// everything reads the log but for the claims, whose order among themselves is free.
func everything(t *testing.T, h *commands.Handler) []eventstore.Envelope {
	t.Helper()
	var all []eventstore.Envelope
	for recorded, err := range h.Log.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		envelope := eventstore.Decode(recorded)
		if envelope.Err != nil {
			t.Fatal(envelope.Err)
		}
		if !strings.HasPrefix(recorded.Type, "claim.") {
			all = append(all, envelope)
		}
	}
	return all
}

func TestDemoFillsAnEmptyStoreOnce(t *testing.T) {
	t.Parallel()
	h := newHandler(t)
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	outcome, err := demo.Load(t.Context(), h, now)
	if err != nil {
		t.Fatal(err)
	}
	if outcome.State != demo.Filled || outcome.Commands < 800 {
		t.Fatalf("got %+v, want a store filled by at least 800 commands", outcome)
	}

	counts := map[string]int{}
	commandIDs := map[uuid.UUID]bool{}
	types := map[string]bool{}
	ips := map[string]bool{}
	actors := map[string]bool{}
	first, last := now, time.Time{}
	for _, event := range everything(t, h) {
		if event.Stream == installation.Stream {
			continue
		}
		types[event.Type] = true
		commandIDs[event.Meta.CommandID] = true
		if event.Revision == 0 {
			counts[strings.SplitN(event.Stream, "-", 2)[0]]++
		}
		if event.Type == "user.password_set" {
			continue // of now
		}
		if event.Meta.Actor.ID != "" {
			ips[event.Meta.IP] = true
			actors[event.Meta.Actor.ID] = true
		}
		if event.Meta.At.Before(first) {
			first = event.Meta.At
		}
		if event.Meta.At.After(last) {
			last = event.Meta.At
		}
	}
	if counts["company"] != 3 || counts["user"] != 200 || counts["module"] != 9 || counts["role"] < 5 ||
		counts["group"] < 10 {
		t.Errorf("made %v, want 3 companies, 200 people, 9 modules, roles and groups", counts)
	}
	if len(commandIDs) != outcome.Commands {
		t.Errorf("%d commands left a trace, want all %d: a resumed start would repeat the others", len(commandIDs),
			outcome.Commands)
	}
	for _, want := range []string{
		"user.deactivated", "user.activated", "user.email_changed", "user.name_changed", "user.company_changed",
		"user.department_changed",
		"user.position_changed", "user.access_period_changed", "user.superuser_revoked", "user.group_left",
		"user.role_taken",
		"group.permissions_changed", "group.renamed", "group.retired", "role.renamed", "role.retired",
		"company.renamed", "module.renamed",
	} {
		if !types[want] {
			t.Errorf("the history has no %s", want)
		}
	}
	if years := now.Sub(first).Hours() / 8766; years < 4.99 || years > 5.01 {
		t.Errorf("the history begins %s, want five years before %s", first, now)
	}
	if last.After(now) || now.Sub(last) > 30*24*time.Hour {
		t.Errorf("the history ends %s, want shortly before %s", last, now)
	}
	if len(actors) < 3 || len(ips) < 3 {
		t.Errorf("%d administrators acted from %d addresses, want several", len(actors), len(ips))
	}

	again, err := demo.Load(t.Context(), h, now.Add(48*time.Hour))
	if err != nil || again.State != demo.Complete {
		t.Errorf("a second start: %+v, %v; want nothing done", again, err)
	}

	// Last, because it is an event too.
	if entered, err := h.SignIn(t.Context(), commands.Operator(), demo.AdminEmail, outcome.Password); err != nil ||
		entered.Next != commands.NextSession {
		t.Errorf("signing in as %s: %+v, %v", demo.AdminEmail, entered, err)
	}
}

func TestDemoLeavesUsedStoreAlone(t *testing.T) {
	t.Parallel()
	h := newHandler(t)
	root, err := h.CreateSuperuser(t.Context(), commands.Operator(), "root@example.com", "a fine long password")
	if err != nil {
		t.Fatal(err)
	}
	person := commands.Caller{Actor: eventstore.Actor{Kind: eventstore.ActorUser, ID: root.ID},
		CommandID: uuid.Must(uuid.NewV7())}
	if _, err := h.CreateCompany(t.Context(), person, company.Details{Name: "Real Ltd"}); err != nil {
		t.Fatal(err)
	}
	before := len(everything(t, h))
	outcome, err := demo.Load(t.Context(), h, time.Now())
	if err != nil || outcome.State != demo.Occupied {
		t.Errorf("got %+v, %v; want the store left alone", outcome, err)
	}
	if after := len(everything(t, h)); after != before {
		t.Errorf("the log has %d events, want the %d from before", after, before)
	}
}

// failing stops after some appends, as a killed process would.
type failing struct {
	eventstore.Log
	left chan struct{}
}

var errKilled = errors.New("killed")

func (f failing) Append(ctx context.Context, stream string, expected eventstore.Revision,
	events []eventstore.Proposed) (eventstore.Appended, error) {
	if _, alive := <-f.left; !alive {
		return eventstore.Appended{}, errKilled
	}
	return f.Log.Append(ctx, stream, expected, events)
}

func TestInterruptedDemoIsCompleted(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	whole := newHandler(t)
	if _, err := demo.Load(t.Context(), whole, now); err != nil {
		t.Fatal(err)
	}
	h := newHandler(t)
	for _, appends := range []int{1, 40, 333, 700} {
		t.Run(fmt.Sprintf("after %d appends", appends), func(t *testing.T) {
			f := failing{h.Log, make(chan struct{}, appends)}
			for range appends {
				f.left <- struct{}{}
			}
			close(f.left)
			killed := *h
			killed.Log = f
			if _, err := demo.Load(t.Context(), &killed, now.Add(time.Duration(appends)*time.Hour)); !errors.Is(err,
				errKilled) {
				t.Fatalf("%v, want it killed", err)
			}
			now = now.Add(time.Duration(appends) * time.Hour)
		})
	}
	outcome, err := demo.Load(t.Context(), h, now)
	if err != nil || outcome.State != demo.Filled {
		t.Fatalf("the last start: %+v, %v; want it filled", outcome, err)
	}

	// The same people with the same names and changes, whichever way they were made.
	if diff := cmp.Diff(told(t, whole), told(t, h)); diff != "" {
		t.Errorf("the completed history differs from one without interruption (-want +got):\n%s", diff)
	}
}

// told is the history without ids and times.
func told(t *testing.T, h *commands.Handler) []string {
	t.Helper()
	var all []string
	for _, event := range everything(t, h) {
		all = append(all, event.Type+" "+event.Event.Summary())
	}
	slices.Sort(all)
	return all
}
