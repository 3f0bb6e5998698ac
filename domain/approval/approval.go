// Package approval decides about changes that take a second person: somebody who may do the operation, but has less
// than the account or group that it is about, proposes one; somebody else who has enough confirms or refuses it.
package approval

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
)

// Kind is the first part of a proposal's stream name.
const Kind = "approval"

// Life is how long a proposal can be confirmed.
const Life = 7 * 24 * time.Hour

// States of a proposal.
const (
	StateProposed  = "proposed"
	StateConfirmed = "confirmed" // and carried out, unless it failed
	StateRefused   = "refused"
	StateWithdrawn = "withdrawn"
	StateExpired   = "expired"
	StateFailed    = "failed" // confirmed, but it could not be carried out any more
)

// States lists them.
var States = []string{
	StateProposed, StateConfirmed, StateRefused, StateWithdrawn, StateExpired, StateFailed,
}

// Events is the catalogue of the events of proposals.
var Events = []domain.Event{Proposed{}, Confirmed{}, Refused{}, Withdrawn{}, Expired{}, Failed{}}

// Proposed asks for an operation of the API, by its id there, with the body that a request for it would have.
type Proposed struct {
	Operation string          `json:"operation"`
	By        uuid.UUID       `json:"by"`                      // the account that proposes
	SubjectID uuid.UUID       `json:"subject_id,omitzero"`     // of the account or group; uuid.Nil: a new one
	Subject   string          `json:"subject" personal:"true"` // its name
	Revision  int64           `json:"revision" history:"-"`    // of the subject, at which alone it is carried out
	CompanyID uuid.UUID       `json:"company_id,omitzero"`     // to which the subject belongs
	Change    json.RawMessage `json:"change,omitempty" personal:"true"`
	Reason    string          `json:"reason"`
	ExpiresAt time.Time       `json:"expires_at"`
}

// Confirmed says that somebody else agreed; the change follows, in the name of who confirmed.
type Confirmed struct{}

// Refused ends a proposal by somebody who could have confirmed it.
type Refused struct {
	Reason string `json:"reason,omitempty"`
}

// Withdrawn ends a proposal by who made it.
type Withdrawn struct{}

// Expired ends a proposal that nobody decided on.
type Expired struct{}

// Failed says why a confirmed change could not be carried out.
type Failed struct {
	Code   domain.Code `json:"code"`
	Detail string      `json:"detail" personal:"true"`
}

func (Proposed) EventType() string  { return "approval.proposed" }
func (Confirmed) EventType() string { return "approval.confirmed" }
func (Refused) EventType() string   { return "approval.refused" }
func (Withdrawn) EventType() string { return "approval.withdrawn" }
func (Expired) EventType() string   { return "approval.expired" }
func (Failed) EventType() string    { return "approval.failed" }

func (e Proposed) Summary() string {
	return "proposed: " + e.Operation + " for " + e.Subject + domain.Because(e.Reason)
}
func (Confirmed) Summary() string { return "proposal confirmed" }
func (e Refused) Summary() string { return "proposal refused" + domain.Because(e.Reason) }
func (Withdrawn) Summary() string { return "proposal withdrawn" }
func (Expired) Summary() string   { return "proposal expired" }
func (e Failed) Summary() string  { return "not carried out: " + e.Detail }

// State of a proposal; its zero value is one that does not exist.
type State struct {
	Proposed
	Exists bool
	State  string
	Detail string // why it was refused, or failed
}

// Evolve folds one event into the state.
func (s *State) Evolve(event domain.Event) {
	switch e := event.(type) {
	case Proposed:
		s.Exists, s.State, s.Proposed = true, StateProposed, e
	case Confirmed:
		s.State = StateConfirmed
	case Refused:
		s.State, s.Detail = StateRefused, e.Reason
	case Withdrawn:
		s.State = StateWithdrawn
	case Expired:
		s.State = StateExpired
	case Failed:
		s.State, s.Detail = StateFailed, e.Detail
	}
}

// BelongsTo is the company of what it is about; uuid.Nil for none.
func (s State) BelongsTo() uuid.UUID { return s.CompanyID }

// SubjectName is the name of what it is about.
func (s State) SubjectName() string { return s.Subject }

// Propose starts a proposal.
func Propose(s State, proposal Proposed) ([]domain.Event, error) {
	reason, err := domain.Reason(proposal.Reason, true)
	switch {
	case err != nil:
		return nil, err
	case s.Exists:
		return nil, nil
	case proposal.By == proposal.SubjectID:
		return nil, domain.Refusef(domain.CodeOwnAccount,
			"you can't propose a change to your own account: ask another administrator")
	}
	proposal.Reason = reason
	return []domain.Event{proposal}, nil
}

// open refuses what is decided already, or too late.
func (s State) open(now time.Time) error {
	switch {
	case !s.Exists:
		return domain.Refusef(domain.CodeNotFound, "there is no such proposal")
	case s.State != StateProposed:
		return domain.Refusef(domain.CodeDecided, "the proposal is decided already: it is %s", s.State)
	case !now.Before(s.ExpiresAt):
		return domain.Refusef(domain.CodeDecided, "the proposal has expired: propose the change again")
	}
	return nil
}

// CheckConfirm says whether somebody may confirm a proposal at a time. One that is confirmed may be confirmed again: so
// a change that was interrupted is carried out.
func CheckConfirm(s State, by uuid.UUID, now time.Time) error {
	if s.Exists && by == s.By {
		return domain.Refusef(domain.CodeOwnProposal, "somebody else has to confirm what you propose")
	}
	if s.State == StateConfirmed {
		return nil
	}
	return s.open(now)
}

// Confirm agrees to a proposal.
func Confirm(s State, by uuid.UUID, now time.Time) ([]domain.Event, error) {
	if err := CheckConfirm(s, by, now); err != nil || s.State == StateConfirmed {
		return nil, err
	}
	return []domain.Event{Confirmed{}}, nil
}

// Refuse ends a proposal by somebody else than who made it.
func Refuse(s State, by uuid.UUID, reason string, now time.Time) ([]domain.Event, error) {
	reason, err := domain.Reason(reason, false)
	if err != nil {
		return nil, err
	}
	if err := s.open(now); err != nil {
		return nil, err
	}
	if by == s.By {
		return nil, domain.Refusef(domain.CodeOwnProposal, "you made the proposal: withdraw it instead")
	}
	return []domain.Event{Refused{Reason: reason}}, nil
}

// Withdraw ends a proposal by who made it.
func Withdraw(s State, by uuid.UUID, now time.Time) ([]domain.Event, error) {
	if err := s.open(now); err != nil {
		return nil, err
	}
	if by != s.By {
		return nil, domain.Refusef(domain.CodeForbidden,
			"only who made the proposal can withdraw it: refuse it instead")
	}
	return []domain.Event{Withdrawn{}}, nil
}

// Expire ends a proposal whose time is over.
func Expire(s State, now time.Time) ([]domain.Event, error) {
	if s.State != StateProposed || now.Before(s.ExpiresAt) {
		return nil, nil
	}
	return []domain.Event{Expired{}}, nil
}

// Fail records why a confirmed change can't be carried out.
func Fail(s State, why *domain.Error) ([]domain.Event, error) {
	if s.State != StateConfirmed {
		return nil, nil
	}
	return []domain.Event{Failed{Code: why.Code, Detail: why.Detail}}, nil
}
