package httpapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/projections/engine"
)

type rebuildRequest struct {
	IdempotencyKey string `header:"Idempotency-Key" maxLength:"255" doc:"Identifies this request: repeated with the same body within 24 h, it returns the first answer and starts nothing"`
	Body           struct {
		Names      []string `json:"names,omitempty" maxItems:"100" doc:"Names of projections, as GET /projections lists them"`
		All        bool     `json:"all,omitempty" doc:"All projections, instead of names"`
		VerifyOnly bool     `json:"verify_only,omitempty" doc:"Only compare with the result of a rebuild, and change nothing"`
	}
}

type rebuildAnswer struct {
	Location string `header:"Location" doc:"URL of the rebuild, with its progress"`
	Body     engine.Rebuild
}

type rebuildPath struct {
	ID uuid.UUID `path:"id"`
}

func (s *server) addRebuilds() {
	const tag = "Operations"
	register(s, operation{
		method: http.MethodPost, path: "/projections/rebuilds", id: "start-rebuild", tag: tag,
		required:    superuserOnly.evenBehind(),
		status:      http.StatusAccepted,
		keepsAnswer: true,
		summary:     "Rebuild read models, or compare them with the log",
		description: "Builds them from the whole log beside the live ones, which keep answering, compares the two, " +
			"and puts the new ones in place in one step. The previous ones are kept for `secboard projections " +
			"rebuild --rollback`. Only one rebuild runs at a time; another one is refused with 409 " +
			"`rebuild_running`.",
		example: map[string]any{"names": []string{"users", "groups"}, "verify_only": true},
	}, s.startRebuild)
	register(s, operation{
		method: http.MethodGet, path: "/projections/rebuilds/{id}", id: "get-rebuild", tag: tag,
		required: superuserOnly.evenBehind(),
		summary:  "Progress of a rebuild",
		description: "`state` goes from `preparing` through `reading`, `indexing`, `catching_up`, `comparing` and " +
			"`swapping` to `done`, or ends as `failed`, `aborted` or `interrupted` (its process has ended). " +
			"`differences` are the values in which the live read models differed from the rebuilt ones; " +
			"`not_compared` names the projections that could not be compared. The newest 20 rebuilds are kept.",
	}, func(ctx context.Context, request *rebuildPath) (*one[engine.Rebuild], error) {
		rebuild, err := s.Runner.Rebuild(ctx, request.ID)
		return &one[engine.Rebuild]{Body: rebuild}, err
	})
	register(s, operation{
		method: http.MethodPost, path: "/projections/rebuilds/{id}/abort", id: "abort-rebuild", tag: tag,
		required: superuserOnly.evenBehind(),
		summary:  "Abort a rebuild",
		description: "It stops within a second and leaves nothing behind. A rebuild that has already ended stays " +
			"as it is.",
	}, func(ctx context.Context, request *rebuildPath) (*one[engine.Rebuild], error) {
		if err := s.Runner.AbortRebuild(ctx, request.ID); err != nil {
			return nil, err
		}
		rebuild, err := s.Runner.Rebuild(ctx, request.ID)
		return &one[engine.Rebuild]{Body: rebuild}, err
	})
}

func (s *server) startRebuild(ctx context.Context, request *rebuildRequest) (*rebuildAnswer, error) {
	wrong := func(message string) error {
		return &domain.Invalid{
			Fields: []domain.FieldError{{Field: "names", Code: domain.CodeInvalid, Message: message}},
		}
	}
	if request.Body.All == (len(request.Body.Names) > 0) {
		return nil, wrong("must be given unless all is true, and not together with it")
	}
	mode := engine.ModeRebuild
	if request.Body.VerifyOnly {
		mode = engine.ModeVerify
	}
	rebuild, err := s.Runner.StartRebuild(ctx, engine.RebuildRequest{Names: request.Body.Names, Mode: mode})
	switch {
	case errors.Is(err, engine.ErrRebuildRunning):
		return nil, domain.Refusef(domain.CodeRebuildRunning,
			"another rebuild is running, in this or another instance: wait until it ends, or abort it")
	case errors.Is(err, engine.ErrUnknownProjection):
		return nil, wrong(err.Error())
	case err != nil:
		return nil, err
	}
	s.Logger.InfoContext(ctx, "a rebuild of read models was requested", "id", rebuild.ID, "by", s.caller(ctx).Actor.ID)
	return &rebuildAnswer{Location: basePath + "/projections/rebuilds/" + rebuild.ID.String(), Body: rebuild}, nil
}
