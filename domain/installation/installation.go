// Package installation is the one aggregate of the installation itself. It remembers which keyset the log was
// written with, so that a start with another one is refused before it seals or claims anything twice.
package installation

import "github.com/secboard/secboard/domain"

// Stream is the installation's only stream.
const Stream = "installation-secboard"

// Events is the catalogue of the installation's events.
var Events = []domain.Event{Initialized{}}

// Initialized is the first event of a new log. Keyset is the fingerprint of the keyset in use.
type Initialized struct {
	Keyset string `json:"keyset"`
}

func (Initialized) EventType() string { return "installation.initialized" }

func (Initialized) Summary() string { return "installation initialized" }

// State of the installation.
type State struct{ Keyset string }

// Evolve folds one event into the state.
func (s *State) Evolve(event domain.Event) {
	if e, ok := event.(Initialized); ok {
		s.Keyset = e.Keyset
	}
}

// Initialize records the keyset's fingerprint in an empty log and refuses another one later.
func Initialize(s State, keyset string) ([]domain.Event, error) {
	switch s.Keyset {
	case "":
		return []domain.Event{Initialized{Keyset: keyset}}, nil
	case keyset:
		return nil, nil
	}
	return nil, domain.Refusef("wrong_keyset",
		"the event log was written with the keyset %s but SECBOARD_KEYSET names %s: use the keyset file that belongs to this log", s.Keyset, keyset)
}
