package commands

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/approval"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
)

// Proposable are the operations that can be proposed, by their ids in the API, with the right that each takes and the
// kind of what it is about. They are those that are refused to whoever has less than their subject.
var Proposable = map[string]struct {
	Module string
	Action domain.Action
	Kind   string
}{
	"change-user":           {"users", domain.Edit, user.Kind},
	"reset-two-factor":      {"users", domain.Edit, user.Kind},
	"unlink-directory-user": {"users", domain.Edit, user.Kind},
	"unlock-user":           {"users", domain.Edit, user.Kind},
	"deactivate-user":       {"users", domain.Edit, user.Kind},
	"create-group":          {"groups", domain.Add, group.Kind},
	"change-group":          {"groups", domain.Edit, group.Kind},
}

// Proposal is a change that somebody else is to confirm: an operation of the API, what it is about (uuid.Nil: something
// new), and its body. CompanyID is that of something new.
type Proposal struct {
	Operation string
	SubjectID uuid.UUID
	CompanyID uuid.UUID
	Name      string // of something new
	Change    json.RawMessage
	Reason    string
}

// Propose asks for a change that takes a second person. The proposal's id is the caller's CommandID. It takes the same
// permission as the change.
func (h *Handler) Propose(ctx context.Context, caller Caller, proposal Proposal) (Result, error) {
	operation, known := Proposable[proposal.Operation]
	if !known {
		return Result{}, wrongField("operation", domain.CodeInvalid, "is none that can be proposed")
	}
	event := approval.Proposed{
		Operation: proposal.Operation, SubjectID: proposal.SubjectID, Subject: proposal.Name, Revision: -1,
		CompanyID: proposal.CompanyID, Change: proposal.Change, Reason: proposal.Reason,
		ExpiresAt: h.Now().Add(approval.Life).UTC(),
	}
	var err error
	if event.By, err = uuid.Parse(caller.Actor.ID); err != nil {
		return Result{}, domain.Refusef(domain.CodeForbidden, "only somebody who is signed in can propose a change")
	}
	if proposal.SubjectID != uuid.Nil {
		if err := h.describe(ctx, operation.Kind, &event); err != nil {
			return Result{}, err
		}
	}
	caller = caller.needing(needs(operation.Module, operation.Action))
	return createBy(ctx, h, caller, domain.StreamName(approval.Kind, caller.CommandID),
		func(s approval.State, who *authority) ([]domain.Event, error) {
			if !caller.reaches(who.Rights, "", event.CompanyID) {
				return nil, domain.Refusef(domain.CodeNotFound, "there is nothing with this id that you may see")
			}
			return approval.Propose(s, event)
		})
}

// describe adds to a proposal what there is about its subject.
func (h *Handler) describe(ctx context.Context, kind string, event *approval.Proposed) error {
	stream := domain.StreamName(kind, event.SubjectID)
	if kind == group.Kind {
		found, err := load[group.State](ctx, h.Log, stream)
		if err == nil && !found.State.Exists {
			err = domain.Refusef(domain.CodeNotFound, "there is no group %s", event.SubjectID)
		}
		event.Subject, event.CompanyID, event.Revision = found.State.Name, found.State.CompanyID, int64(found.Revision)
		return err
	}
	found, err := load[user.State](ctx, h.Log, stream)
	if err == nil && !found.State.Exists {
		err = user.ErrNoAccount()
	}
	event.Subject, event.CompanyID = found.State.Details.Name(), found.State.Details.CompanyID
	event.Revision = int64(found.Revision)
	return err
}

// Confirm carries a proposal out, by the rights of the caller, who must not be its proposer; and the proposer must
// still have the permission. First the change is only decided, so that whoever may not make it confirms nothing; then
// the confirmation is recorded, once; then the change, which names the proposal as its cause. Should that be
// interrupted, confirming again carries it out. do is the change.
func (h *Handler) Confirm(ctx context.Context, caller Caller, id uuid.UUID,
	do func(context.Context, Caller, approval.State) (Result, error)) (Result, error) {
	stream := domain.StreamName(approval.Kind, id)
	found, err := load[approval.State](ctx, h.Log, stream)
	if err != nil {
		return Result{}, err
	}
	by, err := h.decider(ctx, caller, found.State)
	if err != nil {
		return Result{}, err
	}
	if err := approval.CheckConfirm(found.State, by, h.Now()); err != nil {
		return Result{}, err
	}
	if err := h.checkProposer(ctx, found.State); err != nil {
		return Result{}, err
	}
	asked := caller
	asked.CommandID = uuid.NewSHA1(id, []byte("confirmed"))
	asked.CorrelationID, asked.CausationID = caller.CommandID, id
	if revision := eventstore.Revision(found.State.Revision); revision >= 0 {
		asked.IfMatch = &revision
	}
	asked.Dry = true
	if _, err := do(ctx, asked, found.State); err != nil {
		return Result{}, changedSince(err)
	}
	confirmed, err := changeBy(ctx, h, caller.needing(deciding(found.State)), stream,
		func(s approval.State, _ *authority) ([]domain.Event, error) { return approval.Confirm(s, by, h.Now()) })
	if err != nil {
		return Result{}, err
	}
	asked.Dry = false
	result, err := do(ctx, asked, found.State)
	err = changedSince(err)
	if invalid, ok := errors.AsType[*domain.Invalid](err); ok {
		err = &domain.Error{Code: domain.CodeInvalid, Detail: invalid.Error()}
	}
	if refusal, ok := asRefusal(err); ok {
		_, recording := change(ctx, h, System(), stream, func(s approval.State) ([]domain.Event, error) {
			return approval.Fail(s, refusal)
		})
		return Result{}, errors.Join(refusal, recording)
	}
	if err != nil {
		return Result{}, err
	}
	// What is answered is the proposal, with what the change did to the sessions of its account.
	confirmed.Position = max(confirmed.Position, result.Position)
	confirmed.EndsSessions, confirmed.KeptSession = result.EndsSessions, result.KeptSession
	confirmed.Account = result.ID
	return confirmed, nil
}

// changedSince says in the words of a proposal that its subject is another one by now.
func changedSince(err error) error {
	if refusal, ok := asRefusal(err); ok && refusal.Code == domain.CodeRevisionMismatch {
		return domain.Refusef(domain.CodeRevisionMismatch,
			"what it is about was changed since it was proposed: propose the change again")
	}
	return err
}

// RefuseProposal ends a proposal by somebody who may do its operation.
func (h *Handler) RefuseProposal(ctx context.Context, caller Caller, id uuid.UUID, reason string) (Result, error) {
	return h.decideProposal(ctx, caller, id, func(s approval.State, by uuid.UUID) ([]domain.Event, error) {
		return approval.Refuse(s, by, reason, h.Now())
	})
}

// WithdrawProposal ends a proposal by who made it.
func (h *Handler) WithdrawProposal(ctx context.Context, caller Caller, id uuid.UUID) (Result, error) {
	return h.decideProposal(ctx, caller, id, func(s approval.State, by uuid.UUID) ([]domain.Event, error) {
		return approval.Withdraw(s, by, h.Now())
	})
}

func (h *Handler) decideProposal(ctx context.Context, caller Caller, id uuid.UUID,
	decide func(approval.State, uuid.UUID) ([]domain.Event, error)) (Result, error) {
	stream := domain.StreamName(approval.Kind, id)
	found, err := load[approval.State](ctx, h.Log, stream)
	if err != nil {
		return Result{}, err
	}
	by, err := h.decider(ctx, caller, found.State)
	if err != nil {
		return Result{}, err
	}
	return changeBy(ctx, h, caller.needing(deciding(found.State)), stream,
		func(s approval.State, _ *authority) ([]domain.Event, error) { return decide(s, by) })
}

// Proposal gives a proposal by its stream.
func (h *Handler) Proposal(ctx context.Context, stream string) (approval.State, error) {
	found, err := load[approval.State](ctx, h.Log, stream)
	return found.State, err
}

// ExpireProposal ends a proposal whose time is over.
func (h *Handler) ExpireProposal(ctx context.Context, id uuid.UUID) error {
	_, err := change(ctx, h, System(), domain.StreamName(approval.Kind, id),
		func(s approval.State) ([]domain.Event, error) { return approval.Expire(s, h.Now()) })
	return err
}

// deciding is the right that a decision on a proposal takes: that of its operation.
func deciding(s approval.State) right {
	operation := Proposable[s.Operation]
	return needs(operation.Module, operation.Action).of(s.CompanyID)
}

// decider gives the account that decides on a proposal. One that the caller's right does not reach is not there.
func (h *Handler) decider(ctx context.Context, caller Caller, s approval.State) (uuid.UUID, error) {
	by, err := uuid.Parse(caller.Actor.ID)
	if err != nil {
		return uuid.Nil, domain.Refusef(domain.CodeForbidden, "only somebody who is signed in can decide on a proposal")
	}
	if !s.Exists {
		return uuid.Nil, domain.Refusef(domain.CodeNotFound, "there is no proposal with this id that you may see")
	}
	caller = caller.needing(deciding(s))
	rights, err := h.RightsOf(ctx, caller)
	if err != nil {
		return uuid.Nil, err
	}
	if by != s.By && !caller.reaches(rights, "", s.CompanyID) && rights.Usable() {
		return uuid.Nil, domain.Refusef(domain.CodeNotFound, "there is no proposal with this id that you may see")
	}
	return by, nil
}

// checkProposer refuses a proposal whose proposer may not do its operation any more.
func (h *Handler) checkProposer(ctx context.Context, s approval.State) error {
	proposer := Caller{Actor: eventstore.Actor{Kind: eventstore.ActorUser, ID: s.By.String()}}.needing(deciding(s))
	rights, err := h.RightsOf(ctx, proposer)
	if err != nil {
		return err
	}
	if !rights.Usable() || !proposer.reaches(rights, "", s.CompanyID) {
		return domain.Refusef(domain.CodeForbidden, "whoever proposed it may not do that any more (%s): refuse it, or "+
			"make the change yourself", proposer.right)
	}
	return nil
}
