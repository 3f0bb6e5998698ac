package engine

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"testing"
	"time"

	"github.com/secboard/secboard/eventstore"
)

// endlessLog has so many events, then fails, if it has an error.
type endlessLog struct {
	eventstore.Log
	events int
	err    error
}

func (l endlessLog) ReadAll(_ context.Context, after eventstore.Position) iter.Seq2[eventstore.Recorded, error] {
	return func(yield func(eventstore.Recorded, error) bool) {
		for i := range l.events {
			if !yield(eventstore.Recorded{Position: after + eventstore.Position(i) + 1}, nil) {
				return
			}
		}
		if l.err != nil {
			yield(eventstore.Recorded{}, l.err)
		}
	}
}

// While the event store answers, a projection that lacks events is not taken for one whose event store is away.
func TestHowFarTheLogGoes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		log   endlessLog
		end   eventstore.Position
		known bool
	}{
		"nothing more":        {endlessLog{}, 0, true},
		"some more":           {endlessLog{events: 3}, 3, true},
		"too many":            {endlessLog{events: maxMissing + 1}, unreached, true},
		"slow amid the rest":  {endlessLog{events: 3, err: context.DeadlineExceeded}, unreached, true},
		"it does not answer":  {endlessLog{err: context.DeadlineExceeded}, 0, false},
		"as many as it reads": {endlessLog{events: maxMissing}, maxMissing, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := NewRunner(parcelSet(), nil, c.log, slog.New(slog.DiscardHandler), nil)
			if end, known := r.end(t.Context()); end != c.end || known != c.known {
				t.Errorf("ends at %d (known: %v), want %d (%v)", end, known, c.end, c.known)
			}
		})
	}
}

func TestFreshIsWhatHasTheLogUpToAMomentAgo(t *testing.T) {
	t.Parallel()
	type ago struct {
		back time.Duration
		end  eventstore.Position
	}
	const longAgo = maxBehind + time.Second
	for name, c := range map[string]struct {
		samples  []ago
		position eventstore.Position
		failure  string
		fresh    bool
	}{
		"it has all":                         {[]ago{{0, 7}}, 7, "", true},
		"nobody knows where the log ends":    {nil, 7, "", false},
		"it lacks what came just now":        {[]ago{{time.Second, 7}, {0, 9}}, 7, "", true},
		"it lacks what came a while ago":     {[]ago{{longAgo, 7}, {time.Second, 9}, {0, 9}}, 7, "", false},
		"it is stopped":                      {[]ago{{0, 7}}, 7, "at event 8", false},
		"the store is away, and it had all":  {[]ago{{longAgo, 7}}, 7, "", true},
		"the store is away, and it lacked":   {[]ago{{2 * longAgo, 7}, {longAgo, 9}}, 7, "", false},
		"the store is away for too long":     {[]ago{{maxAway + time.Second, 7}}, 7, "", false},
		"it lacks too many to be looked for": {[]ago{{longAgo, 7}, {time.Second, unreached}}, 7, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := NewRunner(parcelSet(), nil, endlessLog{}, slog.New(slog.DiscardHandler), nil)
			r.checkpoints["parcels"] = checkpoint{position: c.position, failure: c.failure}
			for _, s := range c.samples {
				r.samples = append(r.samples, sample{at: time.Now().Add(-s.back), end: s.end})
			}
			if err := r.Fresh("parcels"); (err == nil) != c.fresh || err != nil && !errors.Is(err, ErrBehind) {
				t.Errorf("%v, want fresh: %v", err, c.fresh)
			}
		})
	}
}
