// Package demo fills an empty event log with a plausible installation: three companies, two hundred people, roles,
// groups and five years of changes. Everything goes through the commands that people use, with the clock set back.
package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
)

// AdminEmail is the e-mail address of the demo's superuser.
const AdminEmail = "admin@demo.secboard.local"

// years is how far back the history begins, in years of 365.25 days, so that its end can be found from its start.
const years = 5 * 8766 * time.Hour

// cause marks every event of the demo: it is the causation id in their metadata.
var cause = uuid.MustParse("5ecb0a2d-0de3-4da7-a000-000000000001")

// State says what Load found, and so what it did.
type State int

// What Load finds.
const (
	Filled   State = iota // the store was empty, or filled in part by an interrupted start: the demo is complete now
	Complete              // an earlier start filled it: nothing was done
	Occupied              // it holds other data: nothing was done
	Broken                // an interrupted start filled it in part and somebody used it since: nothing was done
)

// Outcome of Load.
type Outcome struct {
	State    State
	Password string // of AdminEmail, when Filled; it is stored nowhere else in plain text
	Commands int    // carried out by this call
}

// Load fills a log that holds nothing but the installation and accounts made on the command line; another one it leaves
// alone. The history ends at now. When it was interrupted, the next Load continues where that one stopped.
func Load(ctx context.Context, h *commands.Handler, now time.Time) (Outcome, error) {
	found, err := scan(ctx, h.Log)
	if err != nil {
		return Outcome{}, fmt.Errorf("check whether the event log is empty: %w", err)
	}
	if found.occupied {
		return Outcome{State: Occupied}, nil
	}
	script := found.script
	switch {
	case script == nil:
		script = write(now.Add(-years).UTC().Truncate(time.Second))
	case found.done[script.password]:
		return Outcome{State: Complete}, nil
	case found.usedSince:
		return Outcome{State: Broken}, nil
	}
	left := make([]step, 0, len(script.steps))
	for _, s := range script.steps {
		if !found.done[s.command] {
			left = append(left, s)
		}
	}
	if err := play(ctx, h, left); err != nil {
		return Outcome{}, err
	}
	// Last, so that an interrupted start has not shown a password that nobody remembers.
	password := rand.Text()
	caller := commands.System()
	caller.CommandID, caller.CausationID = script.password, cause
	if _, err := h.CreateSuperuser(ctx, caller, AdminEmail, password); err != nil {
		return Outcome{}, fmt.Errorf("set the password of %s: %w", AdminEmail, err)
	}
	return Outcome{State: Filled, Password: password, Commands: len(left) + 1}, nil
}

// findings is what a log holds, as far as the demo is concerned.
type findings struct {
	occupied  bool
	script    *script            // of the demo that was begun; nil for none
	done      map[uuid.UUID]bool // its commands that were carried out
	usedSince bool               // others wrote after the demo began, and before it was complete
}

func scan(ctx context.Context, log eventstore.Log) (findings, error) {
	found := findings{done: map[uuid.UUID]bool{}}
	for recorded, err := range log.ReadAll(ctx, 0) {
		if err != nil {
			return found, err
		}
		envelope := eventstore.Decode(recorded)
		byDemo := envelope.Meta.CausationID == cause
		if found.script == nil && byDemo {
			found.script = write(envelope.Meta.At)
		}
		switch kind, _ := domain.SplitStream(recorded.Stream); {
		case byDemo:
			// A command is done when its aggregate says so; its claim alone is a beginning.
			found.done[envelope.Meta.CommandID] = found.done[envelope.Meta.CommandID] || !isClaim(recorded.Type)
			if found.done[found.script.password] {
				return found, nil
			}
		case isClaim(recorded.Type), kind == "installation", madeByHand(envelope):
		case found.script == nil:
			found.occupied = true
			return found, nil
		default:
			found.usedSince = true
		}
	}
	return found, nil
}

func isClaim(eventType string) bool {
	switch eventType {
	case "claim.reserved", "claim.confirmed", "claim.released", "claim.contested":
		return true
	}
	return false
}

// madeByHand: a superuser made by `superuser create` or at the start is no reason to call the log used.
func madeByHand(envelope eventstore.Envelope) bool {
	kind, _ := domain.SplitStream(envelope.Stream)
	return kind == user.Kind &&
		(envelope.Meta.Actor.Kind == eventstore.ActorSystem || envelope.Meta.Actor.Kind == eventstore.ActorOperator)
}

// play carries out the steps in order. Neighbours that concern different aggregates run at once: the store commits
// their appends together.
func play(ctx context.Context, h *commands.Handler, steps []step) error {
	const atOnce = 16
	for len(steps) > 0 {
		busy := map[uuid.UUID]bool{}
		n := 0
		for n < min(atOnce, len(steps)) && !busy[steps[n].subject] && (n == 0 || !steps[n].alone && !steps[0].alone) {
			busy[steps[n].subject] = true
			n++
		}
		failures := make(chan error, n)
		for _, s := range steps[:n] {
			go func() { failures <- s.play(ctx, h) }()
		}
		var failed error
		for range n {
			failed = errors.Join(failed, <-failures)
		}
		if failed != nil {
			return failed
		}
		steps = steps[n:]
	}
	return nil
}

func (s step) play(ctx context.Context, h *commands.Handler) error {
	then := *h
	then.Now = func() time.Time { return s.at }
	caller := s.by.caller()
	caller.CommandID, caller.CausationID = s.command, cause
	if err := s.run(ctx, &then, caller); err != nil {
		return fmt.Errorf("demo data of %s: %w", s.at.Format(time.DateOnly), err)
	}
	return nil
}
