package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/secboard/secboard/eventstore"
)

// Summary is what a backup holds.
type Summary struct {
	Events int64 `json:"events"`
	// First is the first event, nil in an empty backup. In a log of SecBoard it names the keyset.
	First *eventstore.Recorded `json:"-"`
}

func (s *Summary) count(e eventstore.Recorded) {
	if s.Events == 0 {
		s.First = &e
	}
	s.Events++
}

// Write writes the log as it is when its end is reached. told is called after each event with their number.
func Write(ctx context.Context, w io.Writer, log eventstore.Log, now time.Time, told func(done int64)) (Summary, error) {
	var summary Summary
	file, err := newEncoder(w, now)
	if err != nil {
		return summary, err
	}
	for event, err := range log.ReadAll(ctx, 0) {
		if err != nil {
			return summary, fmt.Errorf("read the event log: %w", err)
		}
		if err := file.event(event); err != nil {
			return summary, err
		}
		summary.count(event)
		told(summary.Events)
	}
	return summary, file.close()
}

// Check reads a file to its end: ErrBroken where it was cut or altered.
func Check(ctx context.Context, r io.Reader, told func(done int64)) (Summary, error) {
	var summary Summary
	for event, err := range events(r) {
		if err != nil {
			return summary, err
		}
		if ctx.Err() != nil {
			return summary, ctx.Err()
		}
		summary.count(event)
		told(summary.Events)
	}
	return summary, nil
}

// ErrNotEmpty says that a store holds something else than the beginning of the backup.
var ErrNotEmpty = errors.New("the event store is not empty")

// Compare reads a log beside a file and gives the number of events that both begin with. ErrNotEmpty where the log goes on
// otherwise than the file.
func Compare(ctx context.Context, r io.Reader, log eventstore.Log, told func(done int64)) (int64, error) {
	next, stop := iter.Pull2(events(r))
	defer stop()
	var same int64
	for event, err := range log.ReadAll(ctx, 0) {
		if err != nil {
			return same, fmt.Errorf("read the event log: %w", err)
		}
		expected, err, more := next()
		switch {
		case err != nil:
			return same, err
		case !more:
			return same, fmt.Errorf("%w: it goes on after the %d events of the backup", ErrNotEmpty, same)
		case !equal(expected, event):
			return same, fmt.Errorf("%w: its event %d, %s in %s, is not that of the backup", ErrNotEmpty, same+1, event.Type, event.Stream)
		}
		same++
		told(same)
	}
	return same, nil
}

// equal leaves out what belongs to a store: the position, and when it wrote the event.
func equal(a, b eventstore.Recorded) bool {
	return a.ID == b.ID && a.Stream == b.Stream && a.Revision == b.Revision && a.Type == b.Type &&
		bytes.Equal(a.Data, b.Data) && bytes.Equal(a.Metadata, b.Metadata)
}

const (
	maxTogether     = 500       // events of one append
	maxTogetherSize = 512 << 10 // bytes of their content
)

// Appends gives the file's events after the first few, in order, as appends that keep their revisions: neighbours of one
// stream come together.
func Appends(r io.Reader, after int64, told func(done int64)) iter.Seq2[eventstore.Append, error] {
	return func(yield func(eventstore.Append, error) bool) {
		var next eventstore.Append
		var count int64
		size := 0
		for event, err := range events(r) {
			if err != nil {
				yield(eventstore.Append{}, err)
				return
			}
			if count++; count <= after {
				continue
			}
			content := len(event.Data) + len(event.Metadata)
			follows := event.Stream == next.Stream && event.Revision == next.Expected+1+eventstore.Revision(len(next.Events))
			if len(next.Events) > 0 && (!follows || len(next.Events) == maxTogether || size+content > maxTogetherSize) {
				if !yield(next, nil) {
					return
				}
				told(count - 1)
				next, size = eventstore.Append{}, 0
			}
			if len(next.Events) == 0 {
				next.Stream, next.Expected = event.Stream, event.Revision-1
			}
			next.Events = append(next.Events, eventstore.Proposed{ID: event.ID, Type: event.Type, Data: event.Data, Metadata: event.Metadata})
			size += content
		}
		if len(next.Events) > 0 {
			yield(next, nil)
		}
		told(count)
	}
}

// AppendTo makes appends one after the other in any store, so that their order in the whole log is kept. A store that does not
// answer for a moment is waited for, up to patience.
func AppendTo(ctx context.Context, log eventstore.Log, appends iter.Seq2[eventstore.Append, error], patience time.Duration) error {
	for next, err := range appends {
		if err != nil {
			return err
		}
		for since := time.Now(); ; {
			_, err := log.Append(ctx, next.Stream, next.Expected, next.Events)
			if err == nil {
				break
			}
			if !errors.Is(err, eventstore.ErrUnavailable) || time.Since(since) > patience {
				return fmt.Errorf("append to %s: %w", next.Stream, err)
			}
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}
