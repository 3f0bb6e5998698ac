// Package commands carries out what people ask for: it loads an aggregate from the log, lets the domain decide, and
// appends the decision at exactly the revision that was read.
package commands

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/claim"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/pause"
	"github.com/secboard/secboard/secrets"
)

// Handler carries out commands. What it keeps is only a help: any number of instances may run on one log.
type Handler struct {
	Log    eventstore.Log
	Keys   *secrets.Keyset
	Hasher *secrets.Hasher
	Now    func() time.Time
	// Directory asks the directories that keep passwords of accounts without a local one, which DirectoryIndex finds;
	// nil: none is ever asked.
	Directory      Directory
	DirectoryIndex DirectoryIndex
	// Lockout gives the policy in force.
	Lockout func() signin.Policy
	// Pause is how a refused sign-in waits until it has taken as long as all do; false when ctx ended first.
	Pause func(context.Context, time.Duration) bool

	known     *knownStates
	exclusion *exclusion
	asking    *asking
}

// New makes a Handler with the system's clock.
func New(log eventstore.Log, keys *secrets.Keyset, hasher *secrets.Hasher) *Handler {
	return &Handler{Log: log, Keys: keys, Hasher: hasher, Now: time.Now, Lockout: func() signin.Policy {
		return signin.DefaultPolicy
	}, Pause: pause.For, known: newKnownStates(), exclusion: newExclusion(), asking: newAsking()}
}

// Caller is who asks, and from where. What a caller may do, the log says.
type Caller struct {
	Actor         eventstore.Actor
	Session       string
	IP            string
	UserAgent     string
	CommandID     uuid.UUID // names this request; asking again with the same id changes nothing twice
	CorrelationID uuid.UUID // uuid.Nil: CommandID
	CausationID   uuid.UUID // uuid.Nil: CommandID
	// Dry decides the command without recording anything.
	Dry bool
	// IfMatch is the only revision at which the caller wants the change; nil for any.
	IfMatch *eventstore.Revision

	right right // that the command takes, which it says itself
}

// System is SecBoard itself as a caller.
func System() Caller { return internal(eventstore.ActorSystem) }

// Operator is somebody with a shell on the server as a caller.
func Operator() Caller { return internal(eventstore.ActorOperator) }

// OperatorNamed is Operator with who it is, such as root@host: what the server's system says of the process.
func OperatorNamed(name string) Caller {
	caller := Operator()
	caller.Actor.ID = name
	return caller
}

func internal(kind string) Caller {
	return Caller{Actor: eventstore.Actor{Kind: kind}, CommandID: uuid.Must(uuid.NewV7())}
}

func (c Caller) metadata(at time.Time) eventstore.Metadata {
	meta := eventstore.Metadata{
		At: at, Actor: c.Actor, Session: c.Session, IP: c.IP, UserAgent: c.UserAgent,
		CommandID: c.CommandID, CorrelationID: c.CorrelationID, CausationID: c.CausationID,
	}
	if meta.CorrelationID == uuid.Nil {
		meta.CorrelationID = c.CommandID
	}
	if meta.CausationID == uuid.Nil {
		meta.CausationID = c.CommandID
	}
	return meta
}

// Result is the aggregate's place in the log after a command.
type Result struct {
	ID       string // of the aggregate: a UUID, or a module's key
	Revision eventstore.Revision
	Position eventstore.Position
	Changed  bool // false: nothing was left to do, and no event was written
	// EndsSessions says that the sessions of the account end with the change, but for KeptSession: the one in which its
	// owner made it, uuid.Nil for none. Whoever keeps the sessions should end them at once.
	EndsSessions bool
	KeptSession  uuid.UUID
	// Account is the id of the account whose sessions end, where it is not ID.
	Account string
}

// endSessions notes what an event, made in a session, means for the sessions of the account.
func (r *Result) endSessions(event domain.Event, session string) {
	if !user.EndsSessions(event) {
		return
	}
	r.EndsSessions, r.KeptSession = true, uuid.Nil
	if kept, err := uuid.Parse(session); err == nil && user.KeepsOwnSession(event) {
		r.KeptSession = kept
	}
}

// ErrBusy says that others changed the aggregate again and again while the command was being decided.
var ErrBusy = &domain.Error{
	Code: domain.CodeConflict, Detail: "somebody else is changing this at the same time: try again",
}

// attempts is how often a command is decided again after a conflict.
const attempts = 10

// state is what every aggregate's State type gives: how events change it.
type state[S any] interface {
	*S
	Evolve(event domain.Event)
}

// claimant is a State that holds a value which must be unique.
type claimant interface{ Claim() claim.Key }

// loaded is an aggregate as read from its stream.
type loaded[S any] struct {
	State    S
	Revision eventstore.Revision
	Position eventstore.Position
	At       time.Time
	history  []domain.Event
	metadata []eventstore.Metadata
}

// done is the result of a command that has written its events already, if it has.
func (l loaded[S]) done(command uuid.UUID) (Result, bool) {
	var result Result
	for i, event := range l.history {
		if l.metadata[i].CommandID == command {
			result.Revision, result.Position, result.Changed = l.Revision, l.Position, true
			result.endSessions(event, l.metadata[i].Session)
		}
	}
	return result, result.Changed
}

// notBefore is now, unless the clock has gone back: times never do within a stream.
func (l loaded[S]) notBefore(now time.Time) time.Time {
	if now.Before(l.At) {
		return l.At
	}
	return now
}

func load[S any, P state[S]](ctx context.Context, log eventstore.Log, stream string) (loaded[S], error) {
	aggregate := loaded[S]{Revision: eventstore.NoStream}
	recorded, err := log.ReadStream(ctx, stream)
	if err != nil {
		return aggregate, err
	}
	for _, event := range recorded {
		envelope := eventstore.Decode(event)
		if envelope.Err != nil {
			return aggregate, envelope.Err
		}
		P(&aggregate.State).Evolve(envelope.Event)
		aggregate.history = append(aggregate.history, envelope.Event)
		aggregate.metadata = append(aggregate.metadata, envelope.Meta)
		aggregate.Revision, aggregate.Position, aggregate.At = event.Revision, event.Position, envelope.Meta.At
	}
	return aggregate, nil
}

// after is the state as it will be when the given events are recorded.
func after[S any, P state[S]](aggregate loaded[S], events []domain.Event) S {
	var next S
	for _, event := range aggregate.history {
		P(&next).Evolve(event)
	}
	for _, event := range events {
		P(&next).Evolve(event)
	}
	return next
}

// decision decides a command on an aggregate as it is, by what its caller may do.
type decision[S any] func(S, *authority) ([]domain.Event, error)

// change runs one command on an existing aggregate: load, decide, append; on a conflict again.
func change[S any, P state[S]](ctx context.Context, h *Handler, caller Caller, stream string,
	decide func(S) ([]domain.Event, error)) (Result, error) {
	return execute[S, P](ctx, h, caller, stream, false, byNoRights(decide))
}

// changeBy is change for a decision that depends on what else the caller may do.
func changeBy[S any, P state[S]](ctx context.Context, h *Handler, caller Caller, stream string,
	decide decision[S]) (Result, error) {
	return execute[S, P](ctx, h, caller, stream, false, decide)
}

// create runs the first command of an aggregate whose id is new. It saves reading a stream that can't exist; should the
// same command have been carried out before, the append answers as it did then, or its value is taken and the stream is
// read.
func create[S any, P state[S]](ctx context.Context, h *Handler, caller Caller, stream string,
	decide func(S) ([]domain.Event, error)) (Result, error) {
	return execute[S, P](ctx, h, caller, stream, true, byNoRights(decide))
}

// createBy is create for a decision that depends on what else the caller may do.
func createBy[S any, P state[S]](ctx context.Context, h *Handler, caller Caller, stream string,
	decide decision[S]) (Result, error) {
	return execute[S, P](ctx, h, caller, stream, true, decide)
}

func byNoRights[S any](decide func(S) ([]domain.Event, error)) decision[S] {
	return func(s S, _ *authority) ([]domain.Event, error) { return decide(s) }
}

// createWith is create for a decider that needs nothing but what the caller gives. The aggregate's id is the caller's
// CommandID.
func createWith[S, A any, P state[S]](
	ctx context.Context, h *Handler, caller Caller, kind string, decide func(S, A) ([]domain.Event, error), given A,
) (Result, error) {
	stream := domain.StreamName(kind, caller.CommandID)
	return create[S, P](ctx, h, caller, stream, func(s S) ([]domain.Event, error) { return decide(s, given) })
}

// changeWith is change for a decider that needs nothing but what the caller gives.
func changeWith[S, A any, P state[S]](
	ctx context.Context, h *Handler, caller Caller, kind string, id uuid.UUID,
	decide func(S, A) ([]domain.Event, error), given A,
) (Result, error) {
	stream := domain.StreamName(kind, id)
	return change[S, P](ctx, h, caller, stream, func(s S) ([]domain.Event, error) { return decide(s, given) })
}

func execute[S any, P state[S]](ctx context.Context, h *Handler, caller Caller, stream string, isNew bool,
	decide decision[S]) (Result, error) {
	var dependsOn []string
	for attempt := range attempts {
		result, more, err := tryOnce[S, P](ctx, h, caller, stream, isNew && attempt == 0, decide, dependsOn)
		if len(more) == 0 && !errors.Is(err, eventstore.ErrConflict) {
			return result, err
		}
		dependsOn = append(dependsOn, more...)
	}
	return Result{}, ErrBusy
}

// tryOnce runs a command by the rights that its caller has until the events are appended. ErrConflict where somebody
// was faster; more are streams on which the decision depends too, so that it has to be taken again while they don't
// change.
func tryOnce[S any, P state[S]](ctx context.Context, h *Handler, caller Caller, stream string, isNew bool,
	decide decision[S], dependsOn []string) (result Result, more []string, err error) {
	_, id := domain.SplitStream(stream)
	who, release, err := h.authorize(ctx, caller, stream, dependsOn)
	if err != nil {
		return Result{}, nil, err
	}
	release = sync.OnceFunc(release)
	defer release()
	aggregate := loaded[S]{Revision: eventstore.NoStream}
	if !isNew {
		if aggregate, err = load[S, P](ctx, h.Log, stream); err != nil {
			return Result{}, nil, err
		}
	}
	if err := permit(caller, who, stream, aggregate, decide); err != nil {
		return Result{}, nil, err
	}
	if result, done := aggregate.done(caller.CommandID); done {
		result.ID = id // it was carried out before, and its answer got lost
		return result, nil, nil
	}
	if caller.IfMatch != nil && *caller.IfMatch != aggregate.Revision {
		return Result{}, nil, domain.Refusef(domain.CodeRevisionMismatch,
			"the revision is %d, not %d: somebody changed it in the meantime; read it again", aggregate.Revision,
			*caller.IfMatch)
	}
	events, err := decide(aggregate.State, who)
	if len(who.more) > 0 {
		return Result{}, who.more, nil
	}
	if err != nil {
		return Result{}, nil, err
	}
	if len(events) == 0 {
		return Result{ID: id, Revision: aggregate.Revision, Position: aggregate.Position}, nil, nil
	}
	next := after[S, P](aggregate, events)
	if err := caller.permitResult(who.Rights, stream, next); err != nil {
		return Result{}, nil, err
	}
	if caller.Dry {
		return Result{ID: id, Revision: aggregate.Revision, Position: aggregate.Position}, nil, nil
	}
	claims, err := h.prepareClaims(ctx, caller, stream, claimOf(aggregate.State), claimOf(next))
	if isNew && isTaken(err) {
		// It may have been carried out before, and have given the value up since: that is in the stream.
		return Result{}, nil, eventstore.ErrConflict
	}
	if err != nil {
		return Result{}, nil, err
	}
	appended, err := h.append(ctx, caller, aggregate.notBefore(h.Now()), stream, aggregate.Revision, events)
	if err != nil {
		return Result{}, nil, err
	}
	release()
	h.settleClaims(ctx, caller, stream, claims)
	result = Result{ID: id, Revision: appended.Revision, Position: appended.Position, Changed: true}
	for _, event := range events {
		result.endSessions(event, caller.Session)
	}
	return result, nil, nil
}

func (h *Handler) append(ctx context.Context, caller Caller, at time.Time, stream string, expected eventstore.Revision,
	events []domain.Event) (eventstore.Appended, error) {
	proposed, err := eventstore.Encode(stream, expected, events, caller.metadata(at))
	if err != nil {
		return eventstore.Appended{}, err
	}
	return h.Log.Append(ctx, stream, expected, proposed)
}

func claimOf(state any) claim.Key {
	if holder, ok := state.(claimant); ok {
		return holder.Claim()
	}
	return claim.Key{}
}
