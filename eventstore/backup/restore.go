package backup

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"time"

	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/pause"
)

// Restore writes into a store what it lacks of a file, and compares both at the end. had is how many of the file's
// events it held before. appendAll makes appends in order: InTurn, or what a store has that is faster. progress is told
// of each step, and of how many events that has (0: nobody knows); what it gives is called after each event.
func Restore(ctx context.Context, file *os.File, log eventstore.Log,
	appendAll func(context.Context, iter.Seq2[eventstore.Append, error]) error,
	progress func(step string, total int64) func(done int64)) (summary Summary, had int64, err error) {
	again := func() (io.Reader, error) {
		_, err := file.Seek(0, io.SeekStart)
		return bufio.NewReaderSize(file, 1<<20), err
	}
	content, err := again()
	if err != nil {
		return summary, 0, err
	}
	if summary, err = Check(ctx, content, progress("checking the file", 0)); err != nil {
		return summary, 0, fmt.Errorf("%s: %w", file.Name(), err)
	}
	compare := func(step string) (int64, error) {
		content, err := again()
		if err != nil {
			return 0, err
		}
		return Compare(ctx, content, log, progress(step, summary.Events))
	}
	if had, err = compare("reading the store"); err != nil {
		if errors.Is(err, ErrNotEmpty) {
			err = fmt.Errorf("%w: nothing was written. Restore into a new data directory or a new EventStoreDB", err)
		}
		return summary, had, err
	}
	if had == summary.Events {
		return summary, had, nil
	}
	if content, err = again(); err != nil {
		return summary, had, err
	}
	if err := appendAll(ctx, Appends(content, had, progress("restoring", summary.Events))); err != nil {
		return summary, had, fmt.Errorf("%w. Repeat the command to continue where this one stopped", err)
	}
	switch read, err := compare("comparing"); {
	case err != nil:
		return summary, had,
			fmt.Errorf("the store differs from the file after the restore; did something else write to it?: %w", err)
	case read != summary.Events:
		return summary, had,
			fmt.Errorf("only %d of %d events are in the store: repeat the command to add the others", read,
				summary.Events)
	}
	return summary, had, nil
}

// ErrNotEmpty says that a store holds something else than the beginning of the backup.
var ErrNotEmpty = errors.New("the event store is not empty")

// Compare reads a log beside a file and gives the number of events that both begin with. ErrNotEmpty where the log
// continues otherwise than the file.
func Compare(ctx context.Context, r io.Reader, log eventstore.Log, counted func(done int64)) (int64, error) {
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
			return same, fmt.Errorf("%w: it has more than the %d events of the backup", ErrNotEmpty, same)
		case !equal(expected, event):
			return same, fmt.Errorf("%w: its event %d, %s in %s, differs from that of the backup", ErrNotEmpty, same+1,
				event.Type, event.Stream)
		}
		same++
		counted(same)
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

// Appends gives the file's events after the first few, in order, as appends that keep their revisions: neighbours of
// one stream come together.
func Appends(r io.Reader, after int64, counted func(done int64)) iter.Seq2[eventstore.Append, error] {
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
			follows := event.Stream == next.Stream && event.Revision == next.Expected+1+
				eventstore.Revision(len(next.Events))
			if len(next.Events) > 0 && (!follows || len(next.Events) == maxTogether || size+content > maxTogetherSize) {
				if !yield(next, nil) {
					return
				}
				counted(count - 1)
				next, size = eventstore.Append{}, 0
			}
			if len(next.Events) == 0 {
				next.Stream, next.Expected = event.Stream, event.Revision-1
			}
			next.Events = append(next.Events,
				eventstore.Proposed{ID: event.ID, Type: event.Type, Data: event.Data, Metadata: event.Metadata})
			size += content
		}
		if len(next.Events) > 0 {
			yield(next, nil)
		}
		counted(count)
	}
}

// storePatience is how long a restore waits for a store that went away.
const storePatience = 2 * time.Minute

// InTurn gives the way to append to any store: AppendTo, with the patience of a restore.
func InTurn(log eventstore.Log) func(context.Context, iter.Seq2[eventstore.Append, error]) error {
	return func(ctx context.Context, appends iter.Seq2[eventstore.Append, error]) error {
		return AppendTo(ctx, log, appends, storePatience)
	}
}

// AppendTo makes appends one after the other in any store, so that their order in the whole log is kept. A store that
// does not answer for a moment is waited for, up to patience.
func AppendTo(ctx context.Context, log eventstore.Log, appends iter.Seq2[eventstore.Append, error],
	patience time.Duration) error {
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
			if !pause.For(ctx, 200*time.Millisecond) {
				return ctx.Err()
			}
		}
	}
	return nil
}
