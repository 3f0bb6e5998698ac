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
	IdempotencyKey string `header:"Idempotency-Key" maxLength:"255" doc:"Names this request: sent again with the same body within 24 h it gives the first answer and starts nothing"`
	Body           struct {
		Names      []string `json:"names,omitempty" maxItems:"100" doc:"Of projections, as GET /projections lists them"`
		All        bool     `json:"all,omitempty" doc:"All of them, instead of names"`
		VerifyOnly bool     `json:"verify_only,omitempty" doc:"Only compare with what a rebuild gives, and change nothing"`
	}
}

type rebuildAnswer struct {
	Location string `header:"Location" doc:"Where its progress is"`
	Body     engine.Rebuild
}

type rebuildPath struct {
	ID uuid.UUID `path:"id"`
}

func (s *server) addRebuilds() {
	const tag = "Operations"
	register(s, operation{
		method: http.MethodPost, path: "/projections/rebuilds", id: "start-rebuild", tag: tag, required: superuserOnly,
		status:      http.StatusAccepted,
		keepsAnswer: true,
		summary:     "Build read models anew, or compare them with the log",
		description: "Builds them from the whole log beside the live ones, which answer meanwhile, compares the two " +
			"and puts the new ones in place in one step. " +
			"The former ones are kept: `secboard projections rebuild --rollback`. Only one rebuild at a time: else " +
			"409 with the code `rebuild_running`.",
		example: map[string]any{"names": []string{"users", "groups"}, "verify_only": true},
	}, s.startRebuild)
	register(s, operation{
		method: http.MethodGet, path: "/projections/rebuilds/{id}", id: "get-rebuild", tag: tag,
		required: superuserOnly,
		summary:  "How a rebuild stands",
		description: "`state` goes from `preparing` over `reading`, `indexing`, `catching_up`, `comparing` and " +
			"`swapping` to `done`, or ends as `failed`, `aborted` or " +
			"`interrupted` (its process has ended). `differences` are the values in which the live read models " +
			"differed from the rebuilt ones; " +
			"`not_compared` says of which projections that could not be found out. The newest 20 are kept.",
	}, func(ctx context.Context, request *rebuildPath) (*one[engine.Rebuild], error) {
		rebuild, err := s.Runner.Rebuild(ctx, request.ID)
		return &one[engine.Rebuild]{Body: rebuild}, err
	})
	register(s, operation{
		method: http.MethodPost, path: "/projections/rebuilds/{id}/abort", id: "abort-rebuild", tag: tag,
		required:    superuserOnly,
		summary:     "Abort a rebuild",
		description: "It ends within a second and leaves nothing behind. One that has ended already stays as it is.",
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
		return nil, wrong("must be given, or all must be true, and not both")
	}
	mode := engine.ModeRebuild
	if request.Body.VerifyOnly {
		mode = engine.ModeVerify
	}
	rebuild, err := s.Runner.StartRebuild(ctx, engine.RebuildRequest{Names: request.Body.Names, Mode: mode})
	switch {
	case errors.Is(err, engine.ErrRebuildRunning):
		return nil, domain.Refusef(domain.CodeRebuildRunning,
			"another rebuild is under way, in this or another instance: wait for its end, or abort it")
	case errors.Is(err, engine.ErrUnknownProjection):
		return nil, wrong(err.Error())
	case err != nil:
		return nil, err
	}
	s.Logger.InfoContext(ctx, "a rebuild of read models was asked for", "id", rebuild.ID, "by", s.caller(ctx).Actor.ID)
	return &rebuildAnswer{Location: basePath + "/projections/rebuilds/" + rebuild.ID.String(), Body: rebuild}, nil
}
