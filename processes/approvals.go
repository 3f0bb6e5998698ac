package processes

import (
	"context"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
)

// Approvals ends proposals that nobody decided on in time. Any number may run on one log.
type Approvals struct {
	Commands *commands.Handler
	// Expired lists proposals whose time is over. It may be behind the log.
	Expired func(ctx context.Context, now time.Time) ([]uuid.UUID, error)
	Logger  *slog.Logger
	// Pace is how often it is looked; 0: every minute.
	Pace time.Duration
}

// Run works until ctx ends, through outages of everything.
func (a *Approvals) Run(ctx context.Context) error {
	pace := a.Pace
	if pace == 0 {
		pace = time.Minute
	}
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	for {
		if err := a.round(ctx); err != nil && ctx.Err() == nil {
			a.Logger.WarnContext(ctx, "proposals could not be ended yet; this is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (a *Approvals) round(ctx context.Context) error {
	expired, err := a.Expired(ctx, a.Commands.Now())
	for _, id := range expired {
		if err == nil {
			err = a.Commands.ExpireProposal(ctx, id)
		}
	}
	return err
}
