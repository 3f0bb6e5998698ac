package httpapi

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/eventstore"
)

// CreateHeaders are those that every command takes.
type CreateHeaders struct {
	IdempotencyKey string `header:"Idempotency-Key" maxLength:"255" doc:"Identifies this request: repeated with the same body within 24 h, it returns the first answer and changes nothing"`
	Prefer         string `header:"Prefer" doc:"respond-async: answer 202 at once instead of waiting for the read models"`
}

// ChangeHeaders are those of a command on something that exists.
type ChangeHeaders struct {
	CreateHeaders
	IfMatch string `header:"If-Match" doc:"ETag that the resource must still have; otherwise 412"`
}

// ifMatch reads the revision of an If-Match header: nil for none and for *, which anything that exists matches.
func (h ChangeHeaders) ifMatch() (*eventstore.Revision, error) {
	text := strings.TrimSpace(h.IfMatch)
	if text == "" || text == "*" {
		return nil, nil
	}
	// Caches make tags weak when they compress; the revision in it is the same.
	tag, quoted := strings.CutPrefix(strings.TrimPrefix(text, "W/"), `"`)
	tag, closed := strings.CutSuffix(tag, `"`)
	number, err := strconv.ParseInt(tag, 10, 64)
	if !quoted || !closed || err != nil || number < 0 || strconv.FormatInt(number, 10) != tag {
		return nil, domain.Refusef(domain.CodeRevisionMismatch,
			`If-Match must be one ETag as answered before, such as "4"`)
	}
	revision := eventstore.Revision(number)
	return &revision, nil
}

// changer is the caller of a command on something that exists.
func (s *server) changer(ctx context.Context, headers ChangeHeaders) (commands.Caller, error) {
	caller := s.caller(ctx)
	var err error
	caller.IfMatch, err = headers.ifMatch()
	return caller, err
}

// answer is what a command gives: the resource as it now is, or word that the change is accepted.
type answer[T any] struct {
	Status   int
	ETag     string `header:"ETag" doc:"Revision of the resource's stream, for If-Match"`
	Position string `header:"Secboard-Position" doc:"Opaque value for Secboard-Min-Position"`
	Location string `header:"Location" doc:"URL of the created resource"`
	Applied  string `header:"Preference-Applied" doc:"respond-async if it was requested"`
	Body     outcome[T]
}

// Accepted is the body of a 202: the change is recorded, the read models don't have it yet.
type Accepted struct {
	ID       string              `json:"id" doc:"Id of the resource"`
	Revision eventstore.Revision `json:"revision" doc:"Revision of the resource's stream after the change"`
	Position string              `json:"position" doc:"As in Secboard-Position"`
}

// outcome is one of the two bodies of an answer.
type outcome[T any] struct {
	resource T
	accepted *Accepted
}

// MarshalJSON writes the body that there is.
func (o outcome[T]) MarshalJSON() ([]byte, error) {
	if o.accepted != nil {
		return json.Marshal(o.accepted)
	}
	return json.Marshal(o.resource)
}

// Schema is that of the resource; registerCommand documents the 202.
func (outcome[T]) Schema(registry huma.Registry) *huma.Schema {
	return registry.Schema(reflect.TypeFor[T](), true, "")
}

// notReadBack is how an answer ends whose change is recorded but could not be read back: without an error.
func (s *server) notReadBack(ctx context.Context, err error) error {
	s.logNotReadBack(ctx, err)
	return nil
}

func (s *server) logNotReadBack(ctx context.Context, err error) {
	level := slog.LevelWarn
	if _, _, unexpected := problemOf(err); unexpected { //nolint:errcheck // asked is only whether it was expected
		level = slog.LevelError
	}
	info := infoOf(ctx)
	s.Logger.Log(ctx, level, "a change is recorded but could not be read back in time", "request_id", info.id, "route",
		info.route, "error", err)
}

func positionText(position eventstore.Position) string {
	return strconv.FormatUint(uint64(position), 10)
}

func wantsAsync(prefer string) bool {
	for preference := range strings.SplitSeq(prefer, ",") {
		if name, _, _ := strings.Cut(preference, ";"); strings.EqualFold(strings.TrimSpace(name), "respond-async") {
			return true
		}
	}
	return false
}

// registerCommand adds an operation that changes something and answers with the resource.
func registerCommand[I, T any](s *server, o operation, handler func(context.Context, *I) (*answer[T], error)) {
	o.keepsAnswer = true
	if o.status != http.StatusCreated { // what is created has no ETag that If-Match could name
		o.errors = append(o.errors, http.StatusPreconditionFailed)
	}
	register(s, o, handler)
	s.documented(o.method, o.path).Responses["202"] = &huma.Response{
		Description: "Recorded, but not in the read models yet, or Prefer: respond-async was sent",
		Content: map[string]*huma.MediaType{"application/json": {
			Schema: s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Accepted](), true, ""),
		}},
	}
}

// settle waits until the read models have a change that is answered without its resource, and gives its position.
func (s *server) settle(ctx context.Context, result commands.Result) string {
	s.endSessionsOf(ctx, result)
	if err := s.waitFor(ctx, result.Position); err != nil {
		s.logNotReadBack(ctx, err)
	}
	return positionText(result.Position)
}
