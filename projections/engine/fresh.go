package engine

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/pause"
)

const (
	// maxBehind is how far behind the log a projection counts as fresh.
	maxBehind = 2 * time.Second
	// maxAway is how long what was fresh counts on when the event store does not answer: nobody can change anything
	// there, unless this process alone can't reach it.
	maxAway = time.Minute

	samplePace = 250 * time.Millisecond
	sampleTime = time.Second // for the event store to say where the log ends
	maxSamples = int(2*maxBehind/samplePace) + 1
	maxMissing = 1000 // events that a sample looks through; where more are missing, nothing is fresh
)

// sample says where the log ended at a time.
type sample struct {
	at  time.Time
	end eventstore.Position
}

// sampling asks again and again where the log ends, by way of the leader: the subscription may be silent, or connected
// to a node that is cut off.
func (r *Runner) sampling(ctx context.Context) {
	for ctx.Err() == nil {
		asked := sample{at: time.Now()}
		var ok bool
		if asked.end, ok = r.end(ctx); ok {
			r.mu.Lock()
			r.samples = append(r.samples, asked)
			if len(r.samples) > maxSamples {
				r.samples = r.samples[1:]
			}
			r.mu.Unlock()
		}
		pause.For(ctx, samplePace)
	}
}

// unreached is the end of a log that goes on beyond what a sample looks through: no projection has all of it.
const unreached = eventstore.Position(math.MaxInt64)

// end finds the last event of the log from the last known one on: unreached where there are too many more, or
// the event store stops answering amid them; false where it does not answer at all. What is at its very end may be the
// server's own, which projections never get.
func (r *Runner) end(ctx context.Context) (eventstore.Position, bool) {
	ctx, cancel := context.WithTimeout(ctx, sampleTime)
	defer cancel()
	end, missing := max(r.head().position, r.furthest()), 0
	for event, err := range r.log.ReadAll(ctx, end) {
		switch missing++; {
		case err != nil && missing == 1:
			return 0, false
		case err != nil, missing > maxMissing:
			return unreached, true
		}
		end = event.Position
	}
	return end, true
}

// furthest is the position of the last event that some projection has: the log has it, also before the subscription
// has delivered it to this process.
func (r *Runner) furthest() (position eventstore.Position) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.checkpoints {
		position = max(position, c.position)
	}
	return position
}

// Fresh says whether projections have the log up to a moment ago: none of them is stopped, nor more than maxBehind
// behind. ErrBehind tells which one is not. It asks nobody, so it may be called for each request.
func (r *Runner) Fresh(names ...string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if len(r.samples) == 0 || now.Sub(r.samples[len(r.samples)-1].at) > maxAway {
		return fmt.Errorf("%w: the event store does not say where the log ends", ErrBehind)
	}
	if last := r.samples[len(r.samples)-1].at; now.Sub(last) > maxBehind {
		now = last // it is away
	}
	for _, name := range names {
		c := r.checkpoints[name]
		if c.failure != "" {
			return fmt.Errorf("%w: the projection %s is stopped", ErrBehind, name)
		}
		reached := time.Time{}
		for _, s := range r.samples {
			if s.end <= c.position {
				reached = s.at
			}
		}
		if now.Sub(reached) > maxBehind {
			return fmt.Errorf("%w: the projection %s lacks what was recorded more than %s ago", ErrBehind, name,
				maxBehind)
		}
	}
	return nil
}
