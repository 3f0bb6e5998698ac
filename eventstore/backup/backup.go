package backup

import (
	"context"
	"fmt"
	"io"
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

// Write writes the log as it is when its end is reached. counted is called after each event with their number.
func Write(ctx context.Context, w io.Writer, log eventstore.Log, now time.Time,
	counted func(done int64)) (Summary, error) {
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
		counted(summary.Events)
	}
	return summary, file.close()
}

// Check reads a file to its end: ErrBroken where it was truncated or altered.
func Check(ctx context.Context, r io.Reader, counted func(done int64)) (Summary, error) {
	var summary Summary
	for event, err := range events(r) {
		if err != nil {
			return summary, err
		}
		if ctx.Err() != nil {
			return summary, ctx.Err()
		}
		summary.count(event)
		counted(summary.Events)
	}
	return summary, nil
}
