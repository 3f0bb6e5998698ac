package httpapi

import (
	"cmp"
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/httpapi/load"
	"github.com/secboard/secboard/projections"
	"github.com/secboard/secboard/projections/engine"
)

// operation is one call of the API.
type operation struct {
	method, path string // the path without basePath
	id           string // operationId, for generated clients
	tag          string // the section of the documentation
	summary      string
	description  string
	required     requirement // who may call it
	status       int         // of success; 0: 200
	// keepsAnswer is false for what must not be stored: its Idempotency-Key is ignored.
	keepsAnswer bool
	maxBody     int64         // in bytes; 0: 1 MiB
	timeout     time.Duration // of the whole request; 0: 10 s
	errors      []int         // answers besides those that every operation has
	waiting     *load.Waiting // not nil: it mostly waits, and only so many do so at once
	example     any           // of the body
}

const (
	defaultMaxBody = 1 << 20 // what one append to the log can hold
)

// register adds an operation. It panics when nobody said who may call it, so such a program never serves.
func register[I, O any](s *server, o operation, handler func(context.Context, *I) (*O, error)) {
	if !o.required.declared {
		panic("no requirement declared for " + o.method + " " + o.path)
	}
	o.maxBody, o.timeout = min(cmp.Or(o.maxBody, defaultMaxBody), s.MaxBody), cmp.Or(o.timeout, s.limits.request)
	s.routes = append(s.routes, o)
	h := huma.Operation{
		OperationID: o.id, Method: o.method, Path: basePath + o.path, Tags: []string{o.tag}, Summary: o.summary,
		Description: strings.TrimSpace(o.description + "\n\n" + o.required.sentence()), DefaultStatus: o.status,
		MaxBodyBytes: o.maxBody, BodyReadTimeout: o.timeout, RejectUnknownQueryParameters: true,
		Middlewares: huma.Middlewares{s.withTimeout(o.timeout), s.admit(o.required)},
		// 422 also for an unknown parameter
		Errors: append([]int{http.StatusServiceUnavailable, http.StatusUnprocessableEntity}, o.errors...),
	}
	if !o.required.public {
		h.Security = []map[string][]string{{"bearer": {}}, {"cookie": {}}}
		h.Errors = append(h.Errors, http.StatusUnauthorized, http.StatusForbidden)
	}
	if strings.Contains(o.path, "{") {
		h.Errors = append(h.Errors, http.StatusNotFound)
	}
	if o.method != http.MethodGet {
		h.Errors = append(h.Errors, http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge,
			http.StatusUnsupportedMediaType)
	} else {
		h.Middlewares = append(h.Middlewares, s.awaitPosition)
	}
	if o.changesOwnAccount() {
		h.Middlewares = append(h.Middlewares, s.limitOwnChanges)
		h.Errors = append(h.Errors, http.StatusTooManyRequests)
	}
	if o.waiting != nil {
		h.Middlewares = append(h.Middlewares, s.withoutSlot(o.waiting))
	}
	if o.keepsAnswer {
		h.Middlewares = append(h.Middlewares, s.idempotent(o))
	}
	huma.Register(s.api, h, handler)
	if o.example != nil {
		s.documented(o.method, o.path).RequestBody.Content["application/json"].Example = o.example
	}
}

// changesOwnAccount says whether everybody may write to the log with it, about themselves.
func (o operation) changesOwnAccount() bool {
	return o.method != http.MethodGet && (o.path == "/me" || strings.HasPrefix(o.path, "/me/"))
}

// sentence says who may call an operation, for the documentation.
func (r requirement) sentence() string {
	switch {
	case r.public:
		return "Anybody may call this."
	case r.superuser:
		return "Only a superuser may call this."
	case r.limited:
		return "Anybody who is signed in may call this, even in a session that may only set up two-factor."
	case len(r.permissions) == 0:
		return "Anybody who is signed in may call this."
	}
	names := make([]string, len(r.permissions))
	for i, p := range r.permissions {
		names[i] = "`" + p.String() + "`"
	}
	sentence := "Needs " + strings.Join(names, " and ")
	if r.own {
		sentence += ", but not for your own account"
	}
	return sentence + "."
}

// withTimeout gives up a request that takes too long, so that an outage behind it does not hold the client for ever.
func (s *server) withTimeout(limit time.Duration) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		limited, cancel := context.WithTimeout(ctx.Context(), limit)
		defer cancel()
		next(huma.WithContext(ctx, limited))
	}
}

// defaultPatience is how long a request waits for the read models to catch up with a position, or for another request
// with the same Idempotency-Key.
const defaultPatience = 2 * time.Second

// awaitPosition makes a query wait for the position that the client names.
func (s *server) awaitPosition(ctx huma.Context, next func(huma.Context)) {
	wanted := ctx.Header("Secboard-Min-Position")
	if wanted == "" {
		next(ctx)
		return
	}
	position, err := strconv.ParseUint(wanted, 10, 63)
	if err != nil {
		s.refuse(ctx, &refusal{
			status: http.StatusUnprocessableEntity, code: domain.CodeInvalid,
			detail: "Secboard-Min-Position must be the Secboard-Position of an earlier answer",
		})
		return
	}
	if err := s.waitFor(ctx.Context(), eventstore.Position(position)); err != nil {
		s.refuse(ctx, engine.ErrBehind)
		return
	}
	next(ctx)
}

func (s *server) waitFor(ctx context.Context, position eventstore.Position) error {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	return load.WithoutSlot(ctx, func() error { return s.Runner.WaitFor(ctx, position) })
}

// QueryHeaders are those that every query takes.
type QueryHeaders struct {
	MinPosition string `header:"Secboard-Min-Position" doc:"A Secboard-Position. The query waits up to 2 s for the read models to reach it; if they don't, the answer is 503 with the code behind"`
}

// PointInTime asks how a resource was in the past.
type PointInTime struct {
	AsOf Moment `query:"as_of" doc:"Show it as it was at this time (RFC 3339), or at the end of this day (UTC); 404 if it didn't exist yet. Also needs audit.view"`
}

// PageParams are those that every list takes.
type PageParams struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"How many items at most"`
	Cursor string `query:"cursor" maxLength:"2000" doc:"next_cursor of the previous page"`
	Sort   string `query:"sort" maxLength:"50" doc:"Field to sort by, with - in front for descending order"`
}

func (p PageParams) request() projections.PageRequest {
	return projections.PageRequest{Limit: p.Limit, Cursor: p.Cursor, Sort: p.Sort}
}

// NamedList is a list of what has a name and can be retired.
type NamedList struct {
	QueryHeaders
	PageParams
	Query   string              `query:"query" maxLength:"200" doc:"Part of the name"`
	Retired OptionalParam[bool] `query:"retired"`
}

// list is the answer of a query for many.
type list[T any] struct {
	Body projections.List[T]
}

func listOf[T any](page projections.List[T], err error) (*list[T], error) {
	if err != nil {
		return nil, err
	}
	if page.Items == nil {
		page.Items = []T{} // [] in JSON, not null
	}
	return &list[T]{Body: page}, nil
}

// one is the answer of a query for one resource.
type one[T any] struct {
	ETag string `header:"ETag" doc:"Revision of the resource's stream, for If-Match"`
	Body T
}

// etag is "" for what has no stream, such as SecBoard's own modules.
func etag(revision eventstore.Revision) string {
	if revision < 0 {
		return ""
	}
	return `"` + strconv.FormatInt(int64(revision), 10) + `"`
}
