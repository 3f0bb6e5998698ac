// Package eventstore is the port to the event log, and the codec of its events. Nothing here opens a connection: esdb
// is the client of EventStoreDB, node the embedded server, feed hands the log out page by page, export and backup copy
// it.
package eventstore

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/google/uuid"
)

// Revision is the number of a stream's last event, counted from 0.
type Revision int64

// NoStream is the revision of a stream without events.
const NoStream Revision = -1

// Position is the place of an event in the whole log ($all): strictly increasing, not contiguous. The zero Position is
// before the first event.
type Position uint64

// Proposed is an event on its way into the log.
type Proposed struct {
	ID       uuid.UUID
	Type     string
	Data     []byte // JSON
	Metadata []byte // JSON, see Metadata
}

// Recorded is an event in the log.
type Recorded struct {
	ID       uuid.UUID
	Stream   string
	Revision Revision
	Position Position
	Type     string
	Created  time.Time // by the server's clock
	Data     []byte
	Metadata []byte
}

// Append is what Log.Append writes.
type Append struct {
	Stream   string
	Expected Revision
	Events   []Proposed
}

// Appended says where the last event of an append stands.
type Appended struct {
	Revision Revision
	Position Position
}

// Errors of a Log. Anything else is unexpected.
var (
	// ErrConflict: the stream is not at the expected revision; nothing was written.
	ErrConflict = errors.New("the stream is not at the expected revision")
	// ErrUnavailable: the store can't be reached, or did not answer in time. Whether an append was written is unknown.
	ErrUnavailable = errors.New("the event store is unavailable")
	// ErrTooLarge: the events of one append exceed the store's limit (1 MiB); nothing was written.
	ErrTooLarge = errors.New("the change is too large for one append to the event store")
)

// Log is the event log as commands and projections use it. esdb.Client is the real one; tests put faults in front of
// it.
type Log interface {
	// Append writes all events or none, when the stream is exactly at the expected revision. Called again with the
	// same ids and revision it answers as the first time, so an unknown outcome may be retried.
	Append(ctx context.Context, stream string, expected Revision, events []Proposed) (Appended, error)
	// ReadStream gives a stream's events in order, none for a stream that does not exist.
	ReadStream(ctx context.Context, stream string) ([]Recorded, error)
	// ReadNewest gives the last n events of a stream, in order.
	ReadNewest(ctx context.Context, stream string, n int) ([]Recorded, error)
	// ReadAll gives the events of all streams but the server's own ($…), in log order, from the first one after a
	// position to the end as it is when reached. The sequence ends with the first error.
	ReadAll(ctx context.Context, after Position) iter.Seq2[Recorded, error]
	// End gives the position of the last event, also where that is one of the server's own; 0 for an empty log.
	End(ctx context.Context) (Position, error)
	// Subscribe gives what ReadAll gives and then continues with what is appended, until ctx ends or the connection
	// breaks, which is its error.
	Subscribe(ctx context.Context, after Position) iter.Seq2[Delivery, error]
}

// Delivery is what a subscription gives: an event, or (CaughtUp) the notice that everything recorded so far was
// delivered.
type Delivery struct {
	Event    Recorded
	CaughtUp bool
}
