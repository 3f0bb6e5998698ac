package node

import (
	"encoding/binary"

	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// maxLag is how many events a live subscription may be behind before it is told that it fell
// behind. It reads from storage either way.
const maxLag = 2000

var errStopping = status.Error(codes.Unavailable,
	"the event store is shutting down: subscribe again from the last event or checkpoint")

// subscription sends what comes after its cursor: first what is there, then, woken by the
// committer, what is appended.
type subscription struct {
	streams *streams
	stream  grpc.ServerStream

	// pending says how many events may lie between the cursor and the end of the log.
	pending func(upTo uint64) (uint64, error)
	// page reads on from the cursor and moves it.
	page func(upTo uint64) (page, error)
	// atEnd is called when the end was reached, before CaughtUp is sent.
	atEnd func() error
}

func (s *streams) subscribeAll(stream grpc.ServerStream, options readOptions) error {
	upTo, _ := s.node.head.load()
	cursor := options.from
	switch {
	case options.fromStart:
		cursor = 0
	case options.fromEnd:
		cursor = upTo
	}
	reader := allReader{
		node: s.node, filter: options.filter, stringIDs: options.stringIDs, checkpoints: options.filter != nil,
	}
	sub := subscription{streams: s, stream: stream}
	sub.pending = func(upTo uint64) (uint64, error) {
		if upTo <= cursor {
			return 0, nil
		}
		return upTo - cursor, nil
	}
	sub.page = func(upTo uint64) (page, error) {
		p, err := reader.page(cursor+1, upTo, noLimit)
		if p.considered > 0 {
			cursor = p.cursor
		}
		return p, err
	}
	sub.atEnd = func() error {
		// Without it, a filter that chooses nothing would have its subscriber read the whole log
		// again next time.
		if options.filter == nil || cursor == 0 {
			return nil
		}
		reader.considered = 0
		return sendCheckpoint(stream, cursor)
	}
	return sub.run()
}

func (s *streams) subscribeStream(stream grpc.ServerStream, options readOptions) error {
	upTo, _ := s.node.head.load()
	next := uint64(0)
	switch {
	case options.fromStart:
	case options.fromEnd:
		last, found, err := s.node.lastRevision(options.stream, upTo)
		if err != nil {
			return s.node.storageError(stream.Context(), "subscribe", err)
		}
		if found {
			next = last + 1
		}
	default:
		next = options.from + 1
	}
	reader := streamReader{node: s.node, stream: options.stream, stringIDs: options.stringIDs}
	sub := subscription{streams: s, stream: stream}
	sub.pending = func(uint64) (uint64, error) {
		head, found, err := s.node.get(streamHeadKey(options.stream))
		if err != nil || !found {
			return 0, err
		}
		if len(head) != 16 {
			return 0, errBadRecord
		}
		if last := binary.BigEndian.Uint64(head); last >= next {
			return last - next + 1, nil
		}
		return 0, nil
	}
	sub.page = func(upTo uint64) (page, error) {
		p, err := reader.page(next, upTo, noLimit)
		if p.considered > 0 {
			next = p.cursor + 1
		}
		return p, err
	}
	sub.atEnd = func() error { return nil }
	return sub.run()
}

func (s *subscription) run() error {
	if err := s.stream.SendMsg(
		&api.ReadResp{Content: &api.ReadResp_Confirmation{Confirmation: &api.ReadResp_SubscriptionConfirmation{
			SubscriptionId: uuid.NewString(),
		}}}); err != nil {
		return err
	}
	live := false
	for {
		upTo, moved := s.streams.node.head.load()
		pending, err := s.pending(upTo)
		if err != nil {
			return s.streams.node.storageError(s.stream.Context(), "subscribe", err)
		}
		if live && pending > maxLag {
			live = false
			if err := s.stream.SendMsg(
				&api.ReadResp{Content: &api.ReadResp_FellBehind_{FellBehind: &api.ReadResp_FellBehind{}}}); err != nil {
				return err
			}
		}
		if pending > 0 {
			if err := s.sendUpTo(upTo); err != nil {
				return err
			}
		}
		if !live {
			live = true
			if err := s.atEnd(); err != nil {
				return err
			}
			if err := s.stream.SendMsg(
				&api.ReadResp{Content: &api.ReadResp_CaughtUp_{CaughtUp: &api.ReadResp_CaughtUp{}}}); err != nil {
				return err
			}
		}
		select {
		case <-moved:
		case <-s.stream.Context().Done():
			return status.FromContextError(s.stream.Context().Err()).Err()
		case <-s.streams.stopping:
			return errStopping
		}
	}
}

func (s *subscription) sendUpTo(upTo uint64) error {
	for {
		select {
		case <-s.streams.stopping:
			return errStopping
		default:
		}
		p, err := s.page(upTo)
		if err != nil {
			return s.streams.node.storageError(s.stream.Context(), "subscribe", err)
		}
		if err := send(s.stream, p.items); err != nil {
			return err
		}
		if p.end {
			return nil
		}
	}
}
