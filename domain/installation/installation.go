// Package installation is the one aggregate of the installation itself. It remembers which keyset the log was
// written with, so that a start with another one is refused before it seals or claims anything twice.
package installation

import "github.com/secboard/secboard/domain"

// Kind is the first part of the stream's name.
const Kind = "installation"

// Stream is the installation's only stream.
const Stream = Kind + "-secboard"

// Names are what people call the only installation.
var Names = map[string]string{"secboard": "SecBoard"}

// Events is the catalogue of the installation's events.
var Events = []domain.Event{Initialized{}, ProbeSealed{}}

// Initialized is the first event of a new log. Keyset is the fingerprint of the keyset in use.
type Initialized struct {
	Keyset string `json:"keyset"`
}

// ProbeSealed follows on Initialized: the fingerprint shows only which names a keyset gives, the probe whether it opens
// what was sealed. Logs that began before there were probes have none.
type ProbeSealed struct {
	Probe domain.Sealed `json:"probe" history:"-" secret:"true"`
}

func (Initialized) EventType() string { return "installation.initialized" }
func (ProbeSealed) EventType() string { return "installation.probe_sealed" }

func (Initialized) Summary() string { return "installation initialized" }
func (ProbeSealed) Summary() string { return "probe sealed, to recognise the keyset" }

// State of the installation.
type State struct {
	Keyset string
	Probe  domain.Sealed
}

// Evolve folds one event into the state.
func (s *State) Evolve(event domain.Event) {
	switch e := event.(type) {
	case Initialized:
		s.Keyset = e.Keyset
	case ProbeSealed:
		s.Probe = e.Probe
	}
}

// Keyset is what is asked of the keyset in use.
type Keyset interface {
	Fingerprint() string
	Open(sealed domain.Sealed, context string) ([]byte, error)
}

// Check refuses a keyset that the log was not written with; a new log takes any.
func (s State) Check(keys Keyset) error {
	if s.Keyset != "" && s.Keyset != keys.Fingerprint() {
		return domain.Refusef(domain.CodeWrongKeyset,
			"the event log was written with the keyset %s, but the one in use is %s: use the keyset file that "+
				"belongs to this log", s.Keyset, keys.Fingerprint())
	}
	if !s.Probe.Set() {
		return nil
	}
	if _, err := keys.Open(s.Probe, Stream); err != nil {
		return domain.Refusef(domain.CodeWrongKeyset,
			"the keyset in use can't decrypt the event log, because its aead part is a different one: use the keyset "+
				"file that belongs to this log")
	}
	return nil
}

// Initialize records the keyset in an empty log, with a probe that it has sealed, and refuses another one later.
func Initialize(s State, keys Keyset, probe domain.Sealed) ([]domain.Event, error) {
	if s.Keyset != "" {
		return nil, s.Check(keys)
	}
	return []domain.Event{Initialized{Keyset: keys.Fingerprint()}, ProbeSealed{Probe: probe}}, nil
}
