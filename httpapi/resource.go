package httpapi

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections"
)

// resource is one kind of thing that the API keeps: how it is read, and what its operations have in common. Those of
// settings, of which there is one each, ignore the id.
type resource[T any] struct {
	path     string // below basePath
	name     string // of one, in the ids of operations
	tag      string // the section of the documentation
	module   string // whose permissions the operations take
	kind     string // of its events
	read     func(ctx context.Context, id string) (T, error)
	asOf     func(ctx context.Context, id string, at time.Time) (T, error)
	revision func(T) eventstore.Revision
	// belongs gives the company to which one belongs, uuid.Nil for none or all; nil where all concern the installation.
	belongs func(T) uuid.UUID
}

// needs asks for an action in the module; a permission for one company is enough where each belongs to one.
func (r resource[T]) needs(action domain.Action) requirement {
	required := needs(r.module, action)
	required.companies = r.belongs != nil
	return required
}

// shows says whether somebody may see one, through whichever command it was changed.
func (r resource[T]) shows(access projections.Access, found T) bool {
	if r.module == "" { // what everybody may see
		return true
	}
	company := uuid.Nil
	if r.belongs != nil {
		company = r.belongs(found)
	}
	return access.AllowsFor(company, r.module, domain.View)
}

// byID makes a read of what is identified by a UUID one of a resource.
func byID[T any](read func(context.Context, uuid.UUID) (T, error)) func(context.Context, string) (T, error) {
	return func(ctx context.Context, id string) (T, error) {
		parsed, err := uuid.Parse(id)
		if err != nil {
			var none T
			return none, err
		}
		return read(ctx, parsed)
	}
}

// byIDAsOf is byID for a read of how it was.
func byIDAsOf[T any](read func(context.Context, uuid.UUID, time.Time) (T, error)) func(context.Context, string,
	time.Time) (T, error) {
	return func(ctx context.Context, id string, at time.Time) (T, error) {
		return byID(func(ctx context.Context, id uuid.UUID) (T, error) { return read(ctx, id, at) })(ctx, id)
	}
}

// at reads how it is, or how it was when asOf says so.
func (r resource[T]) at(ctx context.Context, id string, asOf Moment) (T, error) {
	if at := asOf.end(); at != nil {
		return r.asOf(ctx, id, *at)
	}
	return r.read(ctx, id)
}

// get answers a query for one.
func (r resource[T]) get(ctx context.Context, id string, asOf Moment) (*one[T], error) {
	found, err := r.at(ctx, id, asOf)
	if err != nil {
		return nil, err
	}
	if r.belongs != nil && !infoOf(ctx).reach.includes(r.belongs(found)) {
		return nil, projections.ErrNotFound
	}
	return &one[T]{ETag: etag(r.revision(found)), Body: found}, nil
}

// created answers a command that started a resource.
func (r resource[T]) created(ctx context.Context, s *server, prefer string,
	result commands.Result) (*answer[T], error) {
	answered, err := r.changed(ctx, s, prefer, result)
	if err != nil {
		return nil, err
	}
	answered.Location = basePath + r.path + "/" + result.ID
	if answered.Status == http.StatusOK {
		answered.Status = http.StatusCreated
	}
	return answered, nil
}

// changed answers a command. From here on the change is recorded, so whatever goes wrong with reading it back only
// makes the answer a 202.
func (r resource[T]) changed(ctx context.Context, s *server, prefer string,
	result commands.Result) (*answer[T], error) {
	s.endSessionsOf(ctx, result)
	answered := &answer[T]{
		Status: http.StatusAccepted, ETag: etag(result.Revision), Position: positionText(result.Position),
	}
	answered.Body.accepted = &Accepted{ID: result.ID, Revision: result.Revision, Position: answered.Position}
	if wantsAsync(prefer) {
		answered.Applied = "respond-async"
		return answered, nil
	}
	if err := s.waitFor(ctx, result.Position); err != nil {
		return answered, s.notReadBack(ctx, err)
	}
	found, err := r.read(ctx, result.ID)
	if err != nil {
		return answered, s.notReadBack(ctx, err)
	}
	if r.revision(found) < result.Revision || !r.shows(infoOf(ctx).access, found) {
		return answered, nil // a read model is stopped before the change, or only others may see it
	}
	answered.Status, answered.ETag = http.StatusOK, etag(r.revision(found))
	answered.Body = outcome[T]{resource: found}
	return answered, nil
}

// ByID names one resource in the path.
type ByID struct {
	ID uuid.UUID `path:"id" format:"uuid"`
}

type getRequest struct {
	QueryHeaders
	PointInTime
	ByID
}

// body is a request's body B that can be read as a command C. What is wrong with it goes into problems.
type body[B, C any] interface {
	*B
	command(problems *domain.Invalid) C
}

// CommandBody is a request's body together with the command that it is. It is exported because Huma looks for no body
// in an embedded type that isn't.
type CommandBody[B, C any, P body[B, C]] struct {
	Body    B
	command C
}

// Resolve reads the command once, when Huma has checked the body against its schema: so one answer lists what is wrong
// by the schema and what is wrong by the domain, and a handler runs only with a command that both accept.
func (r *CommandBody[B, C, P]) Resolve(huma.Context) []error {
	var problems domain.Invalid
	r.command = P(&r.Body).command(&problems)
	return findings(problems)
}

type createRequest[B, C any, P body[B, C]] struct {
	CreateHeaders
	CommandBody[B, C, P]
}

type changeRequest[B, C any, P body[B, C]] struct {
	ChangeHeaders
	ByID
	CommandBody[B, C, P]
}

// actRequest is a command on one resource that takes nothing else.
type actRequest struct {
	ChangeHeaders
	ByID
}

// actForReasonRequest may say why.
type actForReasonRequest struct {
	ChangeHeaders
	ByID
	Body *reasonBody
}

// registerGet adds the query for one.
func registerGet[T any](s *server, r resource[T], summary string) {
	register(s, operation{
		method: http.MethodGet, path: r.path + "/{id}", id: "get-" + r.name, tag: r.tag,
		required: r.needs(domain.View), summary: summary,
	}, func(ctx context.Context, in *getRequest) (*one[T], error) { return r.get(ctx, in.ID.String(), in.AsOf) })
}

// registerCreate adds the command that starts one.
func registerCreate[B, T, C any, P body[B, C]](s *server, r resource[T], o operation,
	do func(context.Context, commands.Caller, C) (commands.Result, error)) {
	o.method, o.path, o.id, o.tag, o.status = http.MethodPost, r.path, "create-"+r.name, r.tag, http.StatusCreated
	o.required = r.needs(domain.Add)
	registerCommand(s, o, func(ctx context.Context, in *createRequest[B, C, P]) (*answer[T], error) {
		result, err := do(ctx, s.caller(ctx), in.command)
		if err != nil {
			return nil, err
		}
		return r.created(ctx, s, in.Prefer, result)
	})
}

// registerChange adds a command with a body on one: PATCH of the resource, unless the operation says otherwise.
func registerChange[B, T, C any, P body[B, C]](s *server, r resource[T], o operation,
	do func(context.Context, commands.Caller, uuid.UUID, C) (commands.Result, error)) {
	if o.path == "" {
		o.method, o.id = http.MethodPatch, "change-"+r.name
	}
	o.path, o.tag, o.required = r.path+"/{id}"+o.path, r.tag, r.needs(domain.Edit)
	registerCommand(s, o, func(ctx context.Context, in *changeRequest[B, C, P]) (*answer[T], error) {
		return act(ctx, s, r, in.ChangeHeaders, in.ID,
			func(ctx context.Context, caller commands.Caller, id uuid.UUID) (commands.Result, error) {
				return do(ctx, caller, id, in.command)
			})
	})
}

// registerAct adds a command without a body on one, named by the last part of its path.
func registerAct[T any](s *server, r resource[T], name string, o operation,
	do func(context.Context, commands.Caller, uuid.UUID) (commands.Result, error)) {
	o.method, o.path, o.id, o.tag = http.MethodPost, r.path+"/{id}/"+name, cmp.Or(o.id, name+"-"+r.name), r.tag
	o.required = r.needs(domain.Edit)
	registerCommand(s, o, func(ctx context.Context, in *actRequest) (*answer[T], error) {
		return act(ctx, s, r, in.ChangeHeaders, in.ID, do)
	})
}

// registerActForReason is registerAct for a command that may be given a reason.
func registerActForReason[T any](s *server, r resource[T], name string, o operation,
	do func(context.Context, commands.Caller, uuid.UUID, string) (commands.Result, error)) {
	o.method, o.path, o.id, o.tag = http.MethodPost, r.path+"/{id}/"+name, cmp.Or(o.id, name+"-"+r.name), r.tag
	o.required = r.needs(domain.Edit)
	registerCommand(s, o, func(ctx context.Context, in *actForReasonRequest) (*answer[T], error) {
		return act(ctx, s, r, in.ChangeHeaders, in.ID,
			func(ctx context.Context, caller commands.Caller, id uuid.UUID) (commands.Result, error) {
				return do(ctx, caller, id, in.Body.reason())
			})
	})
}

// act runs a command on one and answers it.
func act[T any](ctx context.Context, s *server, r resource[T], headers ChangeHeaders, id uuid.UUID,
	do func(context.Context, commands.Caller, uuid.UUID) (commands.Result, error)) (*answer[T], error) {
	caller, err := s.changer(ctx, headers)
	if err != nil {
		return nil, err
	}
	result, err := do(ctx, caller, id)
	if err != nil {
		return nil, err
	}
	return r.changed(ctx, s, headers.Prefer, result)
}

// registerHistory adds the history of one.
func registerHistory[T any](s *server, r resource[T]) {
	register(s, operation{
		method: http.MethodGet, path: r.path + "/{id}/history", id: r.name + "-history", tag: r.tag,
		required:    r.needs(domain.View).seesHistory(),
		summary:     "History, newest first",
		description: "Who changed what, when, from where, and each field's old and new value.",
	}, func(ctx context.Context, in *historyRequest) (*list[projections.HistoryEntry], error) {
		return r.history(ctx, s, in.ID.String(), in.HistoryParams)
	})
}

// history answers 404 where there is nothing, rather than an empty history.
func (r resource[T]) history(ctx context.Context, s *server, id string,
	params HistoryParams) (*list[projections.HistoryEntry], error) {
	if _, err := r.get(ctx, id, Moment{}); err != nil {
		return nil, err
	}
	filter := params.filter(r.kind, id)
	if reached := infoOf(ctx).reach; r.belongs != nil {
		filter.CompanyID = reached.within(uuid.Nil)
	}
	return listOf(s.ReadModels.History(ctx, filter,
		projections.PageRequest{Limit: params.Limit, Cursor: params.Cursor}))
}

// reasonBody is the body of calls that may give a reason.
type reasonBody struct {
	Reason string `json:"reason,omitempty" maxLength:"1000" example:"left the company"`
}

// reason is "" without a body.
func (b *reasonBody) reason() string {
	if b == nil {
		return ""
	}
	return b.Reason
}

// Resolve lets the domain check the body beside the schema.
func (b *reasonBody) Resolve(huma.Context) []error {
	var problems domain.Invalid
	_, err := domain.Reason(b.Reason, false)
	merge(&problems, err)
	return findings(problems)
}
