package httpapi

import (
	"context"
	"net/http"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/projections"
)

type setupChecklist struct {
	Complete bool                    `json:"complete" doc:"Whether everything that isn't optional is done"`
	Items    []projections.SetupItem `json:"items"`
}

type setupAnswer struct {
	Body setupChecklist
}

func (s *server) addSetup() {
	register(s, operation{
		method: http.MethodGet, path: "/setup", id: "setup-checklist", tag: "Settings",
		required: needs("settings", domain.View),
		summary:  "Checklist for a new installation",
		description: "An item counts as done as soon as the installation meets it; nobody ticks it off. `secboard " +
			"doctor` shows the same list.",
	}, func(ctx context.Context, _ *struct{ QueryHeaders }) (*setupAnswer, error) {
		items, err := s.ReadModels.Setup(ctx, projections.Deployment{
			Keyset: s.Commands.Keys.Fingerprint(), TrustsProxies: len(s.TrustedProxies) > 0,
			HostsAreListed: len(s.AllowedHosts) > 0,
			ProxiesSetting: s.ProxiesSetting, HostsSetting: s.HostsSetting,
		})
		checklist := setupChecklist{Complete: true, Items: items}
		for _, item := range items {
			checklist.Complete = checklist.Complete && (item.Done || item.Optional)
		}
		return &setupAnswer{Body: checklist}, err
	})
}
