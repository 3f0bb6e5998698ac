package httpapi

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"github.com/gin-gonic/gin"
)

// tooFarBehind is how many events a read model may lack before answers from it mislead.
const tooFarBehind = 1000

// readiness is the body of /readyz.
type readiness struct {
	Status string          `json:"status"` // ready, degraded (200: some lists are out of date), or unavailable (503)
	Parts  []readinessPart `json:"parts"`
}

type readinessPart struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"` // why not; nothing that an outsider may not know

	essential bool // nothing works without it
}

func (s *server) addHealth() {
	s.root("/healthz", func(c *gin.Context) { c.JSON(http.StatusOK, gin.H{"status": "ok"}) })
	s.root("/readyz", func(c *gin.Context) {
		ready := s.readiness(c.Request.Context())
		status := http.StatusOK
		if ready.Status == "unavailable" {
			status = http.StatusServiceUnavailable
			c.Header("Retry-After", "2")
		}
		c.JSON(status, ready)
	})
}

// readiness asks every part at once.
func (s *server) readiness(ctx context.Context) readiness {
	ctx, cancel := context.WithTimeout(ctx, s.limits.check)
	defer cancel()
	checks := []func(context.Context) []readinessPart{s.checkStore, s.checkDatabase, s.checkReadModels}
	found := make([][]readinessPart, len(checks))
	var running sync.WaitGroup
	for i, check := range checks {
		running.Go(func() { found[i] = check(ctx) })
	}
	running.Wait()
	ready := readiness{Status: "ready"}
	for _, parts := range found {
		for _, part := range parts {
			ready.Parts = append(ready.Parts, part)
			switch {
			case part.OK:
			case part.essential:
				ready.Status = "unavailable"
			case ready.Status == "ready":
				ready.Status = "degraded"
			}
		}
	}
	return ready
}

func (s *server) checkStore(ctx context.Context) []readinessPart {
	part := readinessPart{Name: "event_store", OK: true, essential: true}
	if err := s.PingStore(ctx); err != nil {
		s.Logger.WarnContext(ctx, "not ready: the event store does not answer", "error", err)
		part.OK, part.Detail = false, "does not answer"
	}
	return []readinessPart{part}
}

func (s *server) checkDatabase(ctx context.Context) []readinessPart {
	part := readinessPart{Name: "database", OK: true, essential: true}
	if err := s.Pool.Ping(ctx); err != nil {
		s.Logger.WarnContext(ctx, "not ready: the database does not answer", "error", err)
		part.OK, part.Detail = false, "does not answer"
	}
	return []readinessPart{part}
}

// checkReadModels has a part for each projection. One that an event stopped keeps nobody from working with the others.
func (s *server) checkReadModels(ctx context.Context) []readinessPart {
	statuses, err := s.Runner.Status(ctx)
	if err != nil {
		s.Logger.WarnContext(ctx, "not ready: the state of the read models can't be read", "error", err)
		return []readinessPart{{Name: "read_models", Detail: "their state can't be read", essential: true}}
	}
	parts := make([]readinessPart, len(statuses))
	for i, status := range statuses {
		parts[i] = readinessPart{Name: "projection_" + status.Name, OK: true}
		givesRights := slices.Contains(rightsProjections, status.Name)
		switch {
		case status.State == "stopped":
			parts[i].OK, parts[i].essential = false, givesRights
			parts[i].Detail = "stopped at an event that it can't apply: see GET " + basePath + "/projections"
		case givesRights && s.Runner.Fresh(status.Name) != nil:
			parts[i].OK, parts[i].essential = false, true
			parts[i].Detail = "behind the event log for longer than rights may be"
		case status.LagEvents > tooFarBehind:
			parts[i].OK, parts[i].essential = false, true
			parts[i].Detail = "catching up: " + strconv.FormatInt(status.LagEvents, 10) + " events behind"
		}
	}
	return parts
}
