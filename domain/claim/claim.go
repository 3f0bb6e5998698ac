// Package claim makes values unique across aggregates: e-mail addresses, names. Each value has a stream of its own,
// named by an HMAC of the value, in which one owner at a time reserves and then confirms it. The owner's own stream
// stays the truth: a claim whose owner does not hold the value is an orphan of a crash and may be taken over.
package claim

import (
	"time"

	"github.com/secboard/secboard/domain"
)

// Key is a value that must be unique. Kind is the first part of the claim's stream name ("email"); Value is the
// normalised value and is never in the log. The zero Key claims nothing.
type Key struct{ Kind, Value string }

// Events is the catalogue of the claim's events.
var Events = []domain.Event{Reserved{}, Confirmed{}, Released{}, Contested{}}

// Reserved gives the value to an owner who is about to record it. At is when the command asked.
type Reserved struct {
	Owner string    `json:"owner"`
	At    time.Time `json:"at" history:"-"`
}

// Confirmed says that the owner recorded the value.
type Confirmed struct{}

// Released frees the value.
type Released struct {
	Reason string `json:"reason"`
}

// Contested is recorded in the owner's own stream: a value that was reserved for it, but never recorded by it, goes to
// somebody else. Because it moves the stream's revision, a registration or change still under way fails and asks again.
type Contested struct {
	Claim string `json:"claim"`
}

func (Reserved) EventType() string  { return "claim.reserved" }
func (Confirmed) EventType() string { return "claim.confirmed" }
func (Released) EventType() string  { return "claim.released" }

func (Contested) EventType() string { return "claim.contested" }

func (e Reserved) Summary() string { return "reserved for " + e.Owner }
func (Confirmed) Summary() string  { return "confirmed" }
func (Contested) Summary() string  { return "reservation given up after an interrupted change" }
func (e Released) Summary() string { return "released: " + e.Reason }

// State of one claim; the zero value is free.
type State struct {
	Owner      string
	ReservedAt time.Time
	Confirmed  bool
}

// Evolve folds one event into the state.
func (s *State) Evolve(event domain.Event) {
	switch e := event.(type) {
	case Reserved:
		*s = State{Owner: e.Owner, ReservedAt: e.At}
	case Confirmed:
		s.Confirmed = true
	case Released:
		*s = State{}
	}
}
