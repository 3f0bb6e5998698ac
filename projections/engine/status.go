package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/pause"
)

// States of a projection.
const (
	StateLive       = "live"        // it has everything in the log
	StateRebuilding = "rebuilding"  // as StateLive, and it is being rebuilt beside
	StateCatchingUp = "catching_up" // it has not, or the end of the log is unknown because the event store is away
	StateStopped    = "stopped"     // it can't apply the next event; it tries again and again
)

// Status of one projection.
type Status struct {
	Name      string              `json:"name"`
	Position  eventstore.Position `json:"position"`   // of the last event applied
	LagEvents int64               `json:"lag_events"` // events not applied yet
	LagMS     int64               `json:"lag_ms"`     // age of the oldest event not applied yet; 0 when there is none
	State     string              `json:"state"`
	Error     *string             `json:"error"` // names the event at which it is stopped
}

// head is the end of the log.
type head struct {
	position eventstore.Position
	events   int64 // up to there
	known    bool  // false: the log may be longer
}

// ErrBehind says that the read models did not reach a position in time.
var ErrBehind = errors.New("the read models are behind the event log")

// askPace is how often the database is asked, while somebody waits, how far other instances are.
const askPace = 50 * time.Millisecond

// waiter waits for all projections that are not stopped.
type waiter struct {
	position eventstore.Position
	reached  chan struct{} // closed when they have reached it
}

// WaitFor returns when every projection that is not stopped has applied the log up to a position, whichever instance
// does it; ErrBehind when ctx ends first.
func (r *Runner) WaitFor(ctx context.Context, position eventstore.Position) error {
	w := &waiter{position: position, reached: make(chan struct{})}
	r.mu.Lock()
	if r.slowest() >= position {
		r.mu.Unlock()
		return nil
	}
	r.waiting[w] = struct{}{}
	r.mu.Unlock()
	select {
	case <-w.reached:
		return nil
	case <-ctx.Done():
	}
	r.mu.Lock()
	delete(r.waiting, w)
	r.mu.Unlock()
	return fmt.Errorf("%w: they have not reached position %d", ErrBehind, position)
}

// slowest is the position that every projection that is not stopped has reached. The caller holds r.mu.
func (r *Runner) slowest() eventstore.Position {
	slowest := eventstore.Position(math.MaxInt64)
	for _, p := range r.set.Projections {
		if c := r.checkpoints[p.Name]; c.failure == "" {
			slowest = min(slowest, c.position)
		}
	}
	return slowest
}

// wake ends the waiting that is over, and no other: where hundreds wait, waking all of them for each page of each
// projection would keep the cores from what they wait for. The caller holds r.mu.
func (r *Runner) wake() {
	if len(r.waiting) == 0 {
		return
	}
	slowest := r.slowest()
	for w := range r.waiting {
		if w.position <= slowest {
			close(w.reached)
			delete(r.waiting, w)
		}
	}
}

// watch asks how far other instances are: often while somebody waits for them, else to keep the gauges from growing
// old.
func (r *Runner) watch(ctx context.Context) {
	for ctx.Err() == nil {
		age := 2 * lockPace
		alone := r.locks.holdsAll()
		r.mu.Lock()
		if len(r.waiting) > 0 && !alone {
			age = askPace
		}
		due := time.Since(r.refreshed) >= age
		r.mu.Unlock()
		pace := askPace
		if due {
			if err := r.refresh(ctx); err != nil && ctx.Err() == nil {
				r.logger.Debug("reading the checkpoints failed", "error", err)
				pace = lockPace
			}
		}
		pause.For(ctx, pace)
	}
}

func (r *Runner) head() head {
	position, live, err := r.tail.Head()
	return head{position: position, events: r.log.events.Load(), known: live && err == nil}
}

// lag is how many events a projection has not applied, as far as this process knows.
func (r *Runner) lag(name string) int64 {
	return r.head().lag(r.known(name))
}

func (h head) lag(c checkpoint) int64 {
	if c.position >= h.position {
		return 0
	}
	return max(0, h.events-c.events)
}

// Status gives how each projection stands, in a fixed order.
func (r *Runner) Status(ctx context.Context) ([]Status, error) {
	checkpoints, err := r.set.readCheckpoints(ctx, r.pool)
	if err != nil {
		return nil, fmt.Errorf("read the checkpoints of the projections: %w", err)
	}
	rebuilding, err := rebuildingNow(ctx, r.pool)
	if err != nil {
		return nil, fmt.Errorf("read which projections are being rebuilt: %w", err)
	}
	return r.set.statuses(ctx, r.withPending(checkpoints), rebuilding, r.head(), r.log.Log), nil
}

// StatusOf gives how each projection stands, for a process without a Runner. To count, it reads what stands in the log
// after the most advanced projection.
func StatusOf(ctx context.Context, set Set, pool *pgxpool.Pool, log eventstore.Log) ([]Status, error) {
	checkpoints, err := set.readCheckpoints(ctx, pool)
	if err != nil {
		return nil, fmt.Errorf("read the checkpoints of the projections: %w", err)
	}
	end := head{known: true}
	for _, c := range checkpoints {
		if c.position > end.position {
			end.position, end.events = c.position, c.events
		}
	}
	for event, err := range log.ReadAll(ctx, end.position) {
		if err != nil {
			return nil, fmt.Errorf("read the end of the event log: %w", err)
		}
		end.position = event.Position
		end.events++
	}
	rebuilding, err := rebuildingNow(ctx, pool)
	if err != nil {
		return nil, fmt.Errorf("read which projections are being rebuilt: %w", err)
	}
	return set.statuses(ctx, checkpoints, rebuilding, end, log), nil
}

func (s Set) statuses(ctx context.Context, checkpoints map[string]checkpoint, rebuilding []string, end head,
	log eventstore.Log) []Status {
	ages := map[eventstore.Position]time.Duration{}
	list := make([]Status, len(s.Projections))
	for i, p := range s.Projections {
		c := checkpoints[p.Name]
		status := Status{Name: p.Name, Position: c.position, State: StateCatchingUp, Error: optional(c.failure)}
		if end.known && c.position >= end.position {
			status.State = StateLive
			if slices.Contains(rebuilding, p.Name) {
				status.State = StateRebuilding
			}
		} else if end.position > c.position {
			status.LagEvents = end.lag(c)
			if _, asked := ages[c.position]; !asked {
				ages[c.position] = age(ctx, log, c.position)
			}
			status.LagMS = ages[c.position].Milliseconds()
		}
		if c.failure != "" {
			status.State = StateStopped
		}
		list[i] = status
	}
	return list
}

// age is how long ago the first event after a position was written; 0 when the event store does not say.
func age(ctx context.Context, log eventstore.Log, after eventstore.Position) time.Duration {
	for event, err := range log.ReadAll(ctx, after) {
		if err != nil {
			break // it is away: the state says that the projection is not live
		}
		return max(0, time.Since(event.Created))
	}
	return 0
}
