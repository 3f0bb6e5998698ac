package httpapi

import (
	"context"
	"net/http"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/projections"
	"github.com/secboard/secboard/projections/engine"
)

func (s *server) addProjections() {
	register(s, operation{
		method: http.MethodGet, path: "/projections", id: "list-projections", tag: "Operations",
		required: needs("projections", domain.View).evenBehind(),
		summary:  "Progress of the read models",
		description: "`lag_events` and `lag_ms` say how far each is behind the log; one that can't apply an event is " +
			"`stopped`, and `error` names the event.",
	}, func(ctx context.Context, _ *struct{}) (*list[engine.Status], error) {
		statuses, err := s.Runner.Status(ctx)
		return listOf(projections.List[engine.Status]{Items: statuses}, err)
	})
}
