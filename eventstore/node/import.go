package node

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/secboard/secboard/eventstore"
)

// importWindow is how many appends of AppendInOrder may be under way.
const importWindow = 4096

// AppendInOrder makes appends in their order in the whole log, without waiting for each: those under way are committed
// together. It returns when all are durable, or with the first error. Appends behind a failed one may have been made
// too; calling it again with the same appends makes those that are missing.
func (n *Node) AppendInOrder(ctx context.Context, appends iter.Seq2[eventstore.Append, error]) error {
	type pending struct {
		stream  string
		request *appendRequest
	}
	var waiting []pending
	await := func() error {
		oldest := waiting[0]
		waiting = waiting[1:]
		select {
		case result := <-oldest.request.result:
			switch {
			case result.err != nil:
				return result.err
			case result.wrongVersion:
				return fmt.Errorf("stream %s: %w", oldest.stream, eventstore.ErrConflict)
			}
			return nil
		case <-n.failed:
			return n.Err()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for next, err := range appends {
		if err != nil {
			return err
		}
		request, err := requestOf(ctx, next)
		if err != nil {
			return fmt.Errorf("stream %s: %w", next.Stream, err)
		}
		if len(waiting) == importWindow {
			if err := await(); err != nil {
				return err
			}
		}
		select {
		case n.queue <- request:
		case <-n.failed:
			return n.Err()
		case <-n.closing:
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
		waiting = append(waiting, pending{next.Stream, request})
	}
	for len(waiting) > 0 {
		if err := await(); err != nil {
			return err
		}
	}
	return nil
}

// requestOf checks an append as one that comes over the wire is checked.
func requestOf(ctx context.Context, a eventstore.Append) (*appendRequest, error) {
	request := &appendRequest{
		ctx: ctx, stream: []byte(a.Stream), expected: int64(a.Expected), result: make(chan appendResult, 1),
	}
	if a.Stream == "" || a.Stream == "$$" || len(a.Stream) > maxStreamName || a.Expected < eventstore.NoStream {
		return nil, errors.New("the name of the stream or the expected revision is not valid")
	}
	counted := 0
	for _, event := range a.Events {
		if event.Type == "" {
			return nil, errors.New("an event has no type")
		}
		counted += len(event.Data) + len(event.Metadata) + 2*utf16Len(event.Type)
		proposed := newProposal(request.stream, event.ID, event.Type, true, event.Metadata, event.Data)
		request.size += len(proposed.body) + len(request.stream)
		request.events = append(request.events, proposed)
	}
	if counted > maxAppendSize || request.size > maxStoredSize {
		return nil, eventstore.ErrTooLarge
	}
	return request, nil
}
