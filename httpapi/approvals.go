package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/approval"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections"
)

// carryOut makes a proposed change of what has an id.
type carryOut func(*commands.Handler, context.Context, commands.Caller, uuid.UUID) (commands.Result, error)

// proposable reads the bodies of the operations that can be proposed, as a request for one would be read.
var proposable = map[string]func(change json.RawMessage, problems *domain.Invalid) carryOut{
	"change-user":           proposedBody[userChanges]((*commands.Handler).ChangeUser),
	"change-group":          proposedBody[groupChanges]((*commands.Handler).ChangeGroup),
	"reset-two-factor":      proposedReason((*commands.Handler).ResetTwoFactor),
	"unlink-user-directory": proposedReason((*commands.Handler).UnlinkDirectory),
	"deactivate-user":       proposedReason((*commands.Handler).DeactivateUser),
	"unlock-user":           func(json.RawMessage, *domain.Invalid) carryOut { return (*commands.Handler).Unlock },
	"create-group": proposedBody[newGroup](func(h *commands.Handler, ctx context.Context, caller commands.Caller,
		_ uuid.UUID, details group.Details) (commands.Result, error) {
		return h.CreateGroup(ctx, caller, details)
	}),
}

func proposedBody[B, C any, P body[B, C]](do func(*commands.Handler, context.Context, commands.Caller, uuid.UUID,
	C) (commands.Result, error)) func(json.RawMessage, *domain.Invalid) carryOut {
	return func(change json.RawMessage, problems *domain.Invalid) carryOut {
		var read B
		readChange(change, &read, problems)
		command := P(&read).command(problems)
		return func(h *commands.Handler, ctx context.Context, caller commands.Caller, id uuid.UUID) (commands.Result,
			error) {
			return do(h, ctx, caller, id, command)
		}
	}
}

func proposedReason(do func(*commands.Handler, context.Context, commands.Caller, uuid.UUID,
	string) (commands.Result, error)) func(json.RawMessage, *domain.Invalid) carryOut {
	return func(change json.RawMessage, problems *domain.Invalid) carryOut {
		var read reasonBody
		readChange(change, &read, problems)
		return func(h *commands.Handler, ctx context.Context, caller commands.Caller, id uuid.UUID) (commands.Result,
			error) {
			return do(h, ctx, caller, id, read.Reason)
		}
	}
}

// readChange takes no field that the operation does not have.
func readChange(change json.RawMessage, into any, problems *domain.Invalid) {
	if len(change) == 0 || bytes.Equal(change, []byte("null")) {
		change = json.RawMessage("{}")
	}
	decoder := json.NewDecoder(bytes.NewReader(change))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		problems.Add("change", domain.CodeInvalid,
			"must be an object with fields that the operation takes, and no others")
	}
}

// newProposal is the body of POST /approvals.
type newProposal struct {
	Operation string          `json:"operation" enum:"change-user,reset-two-factor,unlink-user-directory,deactivate-user,unlock-user,create-group,change-group" doc:"Id of the operation that is proposed"`
	SubjectID string          `json:"subject_id,omitempty" format:"uuid" nullable:"true" doc:"Id of the account or group; none for create-group"`
	Change    json.RawMessage `json:"change,omitempty" doc:"Body that a request for the operation would have"`
	Reason    string          `json:"reason" maxLength:"1000" example:"Her name has changed, and her address with it"`
}

func (b *newProposal) command(problems *domain.Invalid) commands.Proposal {
	proposal := commands.Proposal{
		Operation: b.Operation, SubjectID: readID("subject_id", b.SubjectID, problems), Change: b.Change,
		Reason: b.Reason,
	}
	_, err := domain.Reason(b.Reason, true)
	merge(problems, err)
	read, known := proposable[b.Operation]
	if !known {
		problems.Add("operation", domain.CodeInvalid, "must be one of %v",
			slices.Sorted(maps.Keys(commands.Proposable)))
		return proposal
	}
	var wrong domain.Invalid
	read(b.Change, &wrong)
	for _, field := range wrong.Fields {
		if field.Field != "change" {
			field.Field = "change." + field.Field
		}
		problems.Fields = append(problems.Fields, field)
	}
	switch creates := b.Operation == "create-group"; {
	case creates && proposal.SubjectID != uuid.Nil:
		problems.Add("subject_id", domain.CodeInvalid, "must be left out: the group is a new one")
	case creates:
		var made newGroup
		readChange(b.Change, &made, &domain.Invalid{})
		proposal.Name, proposal.CompanyID = made.Name, readID("company_id", made.CompanyID, &domain.Invalid{})
	case proposal.SubjectID == uuid.Nil:
		problems.Add("subject_id", domain.CodeRequired, "must be given")
	}
	return proposal
}

type listApprovalsRequest struct {
	QueryHeaders
	PageParams
	State string `query:"state" enum:"proposed,confirmed,refused,withdrawn,expired,failed"`
}

func (s *server) approvals() resource[projections.Approval] {
	return resource[projections.Approval]{
		path: "/approvals", name: "approval", tag: "Approvals", kind: approval.Kind,
		read: byID(func(ctx context.Context, id uuid.UUID) (projections.Approval, error) {
			return s.ReadModels.Approval(ctx, id, s.Now())
		}),
		revision: func(a projections.Approval) eventstore.Revision { return a.Revision },
	}
}

func (s *server) addApprovals() {
	approvals := s.approvals()
	registerCommand(s, operation{
		method: http.MethodPost, path: approvals.path, id: "create-approval", tag: approvals.tag,
		status: http.StatusCreated, required: signedIn, summary: "Propose a change that somebody else is to confirm",
		description: "For what is refused with 403 `forbidden` because the account or group may do more than you. It " +
			"takes the permission of the operation. Whoever has the rights that you lack, or a superuser, " +
			"confirms or " +
			"refuses it within 7 days; superusers are told by mail.",
		example: map[string]any{
			"operation": "change-user", "subject_id": "01983c1c-2b7a-7c1e-9d5e-2f6a0c9b7e11",
			"change": map[string]any{"email": "olena.koval@example.com"}, "reason": "Her name has changed",
		},
	}, func(ctx context.Context, in *createRequest[newProposal, commands.Proposal,
		*newProposal]) (*answer[projections.Approval], error) {
		result, err := s.Commands.Propose(ctx, s.caller(ctx), in.command)
		if err != nil {
			return nil, err
		}
		return approvals.created(ctx, s, in.Prefer, result)
	})
	register(s, operation{
		method: http.MethodGet, path: approvals.path, id: "list-approvals", tag: approvals.tag, required: signedIn,
		summary:     "List proposed changes, the newest first",
		description: "Your own ones, and those whose operation you may do.",
	}, func(ctx context.Context, in *listApprovalsRequest) (*list[projections.Approval], error) {
		filter := seenApprovals(infoOf(ctx).access)
		filter.State = in.State
		return listOf(s.ReadModels.Approvals(ctx, filter, in.request(), s.Now()))
	})
	register(s, operation{
		method: http.MethodGet, path: approvals.path + "/{id}", id: "get-approval", tag: approvals.tag,
		required: signedIn, summary: "One proposed change",
	}, func(ctx context.Context, in *struct {
		QueryHeaders
		ByID
	}) (*one[projections.Approval], error) {
		found, err := s.seenApproval(ctx, in.ID)
		return &one[projections.Approval]{ETag: etag(found.Revision), Body: found}, err
	})
	register(s, operation{
		method: http.MethodGet, path: approvals.path + "/{id}/history", id: "approval-history", tag: approvals.tag,
		required: signedIn.seesHistory().forCompanies(), summary: "History of a proposed change, newest first",
	}, func(ctx context.Context, in *historyRequest) (*list[projections.HistoryEntry], error) {
		if _, err := s.seenApproval(ctx, in.ID); err != nil {
			return nil, err
		}
		return listOf(s.ReadModels.History(ctx, in.filter(approval.Kind, in.ID.String()),
			projections.PageRequest{Limit: in.Limit, Cursor: in.Cursor}))
	})
	s.addApprovalDecisions(approvals)
}

func (s *server) addApprovalDecisions(approvals resource[projections.Approval]) {
	act := func(name, summary, description string, do func(context.Context, commands.Caller, *actForReasonRequest) (
		commands.Result, error)) {
		registerCommand(s, operation{
			method: http.MethodPost, path: approvals.path + "/{id}/" + name, id: name + "-approval", tag: approvals.tag,
			required: signedIn, summary: summary, description: description,
		}, func(ctx context.Context, in *actForReasonRequest) (*answer[projections.Approval], error) {
			caller, err := s.changer(ctx, in.ChangeHeaders)
			if err != nil {
				return nil, err
			}
			result, err := do(ctx, caller, in)
			if err != nil {
				return nil, err
			}
			result.ID = in.ID.String()
			return approvals.changed(ctx, s, in.Prefer, result)
		})
	}
	act("confirm", "Confirm a proposed change, which makes it", "Takes what the change itself takes, and another "+
		"person than who proposed it. The change is recorded in your name, with the proposal as its cause. 412 where "+
		"its subject was changed since: the change has to be proposed again.",
		func(ctx context.Context, caller commands.Caller, in *actForReasonRequest) (commands.Result, error) {
			return s.Commands.Confirm(ctx, caller, in.ID, s.carryOut)
		})
	act("refuse", "Refuse a proposed change", "Takes the permission of the operation.",
		func(ctx context.Context, caller commands.Caller, in *actForReasonRequest) (commands.Result, error) {
			return s.Commands.RefuseProposal(ctx, caller, in.ID, in.Body.reason())
		})
	act("withdraw", "Withdraw a change that you proposed", "",
		func(ctx context.Context, caller commands.Caller, in *actForReasonRequest) (commands.Result, error) {
			return s.Commands.WithdrawProposal(ctx, caller, in.ID)
		})
}

// carryOut makes a proposed change as a request for its operation would.
func (s *server) carryOut(ctx context.Context, caller commands.Caller, proposal approval.State) (commands.Result,
	error) {
	var problems domain.Invalid
	read, known := proposable[proposal.Operation]
	if !known {
		return commands.Result{}, fmt.Errorf("the operation %q of a proposal is not known", proposal.Operation)
	}
	do := read(proposal.Change, &problems)
	if err := problems.Err(); err != nil {
		return commands.Result{}, err
	}
	return do(s.Commands, ctx, caller, proposal.SubjectID)
}

// seenApprovals chooses the proposals that somebody may see: the own ones, and those whose operation they may do.
func seenApprovals(access projections.Access) projections.ApprovalFilter {
	filter := projections.ApprovalFilter{
		By: access.UserID, All: access.Superuser, Operations: map[string][]uuid.UUID{},
	}
	for name, operation := range commands.Proposable {
		everywhere, companies := access.Reach(operation.Module, operation.Action)
		if everywhere || len(companies) > 0 {
			filter.Operations[name] = companies
		}
	}
	return filter
}

// seenApproval gives a proposal to who may see it.
func (s *server) seenApproval(ctx context.Context, id uuid.UUID) (projections.Approval, error) {
	found, err := s.ReadModels.Approval(ctx, id, s.Now())
	if err != nil {
		return found, err
	}
	access := infoOf(ctx).access
	companies, may := seenApprovals(access).Operations[found.Operation]
	if access.Superuser || found.ProposedBy.ID == access.UserID ||
		may && (companies == nil || slices.Contains(companies, idOf(found.CompanyID))) {
		return found, nil
	}
	return projections.Approval{}, projections.ErrNotFound
}
