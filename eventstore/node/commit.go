package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/google/uuid"
)

// The expectations that name no revision, as EventStoreDB numbers them.
const (
	expectNoStream     int64 = -1
	expectAny          int64 = -2
	expectStreamExists int64 = -4
)

// noRevision is the last revision of a stream without events.
const noRevision int64 = -1

// appendRequest is a complete append on its way to the committer.
type appendRequest struct {
	ctx      context.Context
	stream   []byte
	expected int64 // a revision, or one of the expectations above
	events   []proposal
	size     int
	result   chan appendResult // has room for one
}

// appendResult is the answer to an append. The revision and position are those of the last event.
type appendResult struct {
	wrongVersion bool
	revision     int64  // current revision when wrongVersion, noRevision when there is none
	position     uint64 // 0 when nothing was appended
	err          error
}

// maxGroup bounds the bytes of the appends committed together.
const maxGroup = 8 << 20

// commitLoop is the only writer. It takes everything that waits, decides in order of arrival, and
// commits it with one fsync; only then are the answers sent and readers told. While it waits for
// the disk the next group gathers, so groups grow with the load by themselves.
func (n *Node) commitLoop() {
	defer close(n.committer)
	defer func() {
		// Pebble panics when it can't write its log.
		if r := recover(); r != nil {
			n.fail(fmt.Errorf("writing the log: %v", r))
		}
	}()
	for {
		select {
		case first := <-n.queue:
			n.commit(n.gather(first))
		case <-n.quit:
			return
		case <-n.failed:
			return
		}
	}
}

func (n *Node) gather(first *appendRequest) []*appendRequest {
	requests := []*appendRequest{first}
	for size := first.size; size < maxGroup; {
		select {
		case next := <-n.queue:
			requests = append(requests, next)
			size += next.size
		default:
			return requests
		}
	}
	return requests
}

func (n *Node) commit(requests []*appendRequest) {
	last, _ := n.head.load()
	g := group{node: n, batch: n.db.NewBatch(), streams: make(map[string]*streamState), position: last}
	results := make([]appendResult, len(requests))
	for i, request := range requests {
		if err := request.ctx.Err(); err != nil {
			results[i] = appendResult{err: err} // nobody waits any more
			continue
		}
		results[i] = g.append(request)
	}
	if g.broken != nil {
		// Half of an append stands in the batch, so none of it may be committed.
		for i := range results {
			results[i] = appendResult{err: g.broken}
		}
	} else if !g.batch.Empty() {
		if err := g.batch.Commit(pebble.Sync); err != nil {
			n.fail(fmt.Errorf("writing the log: %w", err))
			return
		}
		n.head.advance(g.position)
	}
	for i, request := range requests {
		request.result <- results[i]
	}
	_ = g.batch.Close() //nolint:errcheck // the batch was committed: what Close could say concerns its memory only
}

// group is a set of appends that are committed together. Each sees the effects of those before it.
type group struct {
	node     *Node
	batch    *pebble.Batch
	streams  map[string]*streamState
	position uint64 // of the last event
	scratch  []byte
	broken   error // the batch could not be filled
}

// streamState is the end of a stream, including what the group appends to it.
type streamState struct {
	revision int64 // of the last event, or noRevision
	position uint64
	fresh    []placedEvent // appended by the group; the last of them is at revision
}

type placedEvent struct {
	id       uuid.UUID
	position uint64
}

func (g *group) state(stream []byte) (*streamState, error) {
	if state, ok := g.streams[string(stream)]; ok {
		return state, nil
	}
	state := &streamState{revision: noRevision}
	head, found, err := g.node.get(streamHeadKey(stream))
	if err != nil {
		return nil, err
	}
	if found {
		if len(head) != 16 {
			return nil, errBadRecord
		}
		state.revision = int64(binary.BigEndian.Uint64(head))
		state.position = binary.BigEndian.Uint64(head[8:])
	}
	g.streams[string(stream)] = state
	return state, nil
}

func (g *group) append(request *appendRequest) appendResult {
	state, err := g.state(request.stream)
	if err != nil {
		return appendResult{err: err}
	}
	decision, err := g.check(state, request)
	if err != nil {
		return appendResult{err: err}
	}
	switch {
	case decision.wrong:
		return appendResult{wrongVersion: true, revision: state.revision}
	case !decision.write:
		return appendResult{revision: decision.revision, position: decision.position}
	case len(request.events) == 0:
		return appendResult{revision: state.revision}
	}
	if err := g.write(state, request); err != nil {
		g.broken = err
	}
	return appendResult{revision: state.revision, position: state.position}
}

// decision is what becomes of an append: it is written, refused, or was written before at the
// given revision and position of its last event.
type decision struct {
	write    bool
	wrong    bool
	revision int64
	position uint64
}

// check compares the expected revision with the stream as EventStoreDB's CheckCommit does, which
// makes it safe to send an append again. See IndexWriter.cs, CheckCommit, in EventStoreDB 24.10.
func (g *group) check(state *streamState, request *appendRequest) (decision, error) {
	switch expected := request.expected; {
	case expected == expectAny, expected == expectStreamExists:
		if expected == expectStreamExists && state.revision == noRevision {
			return decision{wrong: true}, nil
		}
		return g.checkKnown(state, request)
	case expected == state.revision:
		return decision{write: true}, nil
	case expected > state.revision:
		return decision{wrong: true}, nil
	default:
		return g.checkRepeated(state, request)
	}
}

// checkKnown decides without an expected revision: by whether the stream has the ids already.
func (g *group) checkKnown(state *streamState, request *appendRequest) (decision, error) {
	var last decision
	for i := range request.events {
		revision, position, found, err := g.find(state, request.stream, request.events[i].id)
		if err != nil {
			return decision{}, err
		}
		if !found {
			return decision{write: i == 0, wrong: i > 0}, nil
		}
		last = decision{revision: revision, position: position}
	}
	if len(request.events) == 0 {
		return decision{write: true}, nil
	}
	return last, nil
}

// checkRepeated decides when the stream is past the expected revision: the same ids must stand
// right after it.
func (g *group) checkRepeated(state *streamState, request *appendRequest) (decision, error) {
	revision := request.expected
	var position uint64
	for i := range request.events {
		revision++
		if revision > state.revision {
			return decision{wrong: true}, nil
		}
		event, err := g.at(state, request.stream, revision)
		if err != nil {
			return decision{}, err
		}
		if event.id != request.events[i].id {
			return decision{wrong: true}, nil
		}
		position = event.position
	}
	if len(request.events) == 0 {
		return decision{wrong: true}, nil
	}
	return decision{revision: revision, position: position}, nil
}

// at returns the event at a revision that exists.
func (g *group) at(state *streamState, stream []byte, revision int64) (placedEvent, error) {
	if first := state.revision - int64(len(state.fresh)) + 1; revision >= first {
		return state.fresh[revision-first], nil
	}
	position, err := g.node.positionOf(stream, uint64(revision))
	if err != nil {
		return placedEvent{}, err
	}
	value, closer, err := g.node.db.Get(logKey(position))
	if err != nil {
		return placedEvent{}, fmt.Errorf("event at position %d: %w", position, err)
	}
	stored, err := parseRecord(value)
	if err != nil {
		return placedEvent{}, errors.Join(fmt.Errorf("event at position %d: %w", position, err), closer.Close())
	}
	event := placedEvent{id: stored.id(), position: position}
	return event, closer.Close()
}

// find returns the last event of a stream that has this id.
func (g *group) find(state *streamState, stream []byte,
	id uuid.UUID) (revision int64, position uint64, found bool, err error) {
	for i := len(state.fresh) - 1; i >= 0; i-- {
		if state.fresh[i].id == id {
			return state.revision - int64(len(state.fresh)-1-i), state.fresh[i].position, true, nil
		}
	}
	value, found, err := g.node.get(eventIDKey(stream, id))
	if err != nil || !found {
		return 0, 0, false, err
	}
	if len(value) != 8 {
		return 0, 0, false, errBadRecord
	}
	stored := binary.BigEndian.Uint64(value)
	position, err = g.node.positionOf(stream, stored)
	return int64(stored), position, err == nil, err
}

func (n *Node) positionOf(stream []byte, revision uint64) (uint64, error) {
	value, found, err := n.get(streamEventKey(stream, revision))
	if err != nil {
		return 0, err
	}
	if !found || len(value) != 8 {
		return 0, fmt.Errorf("revision %d of a stream: %w", revision, errBadRecord)
	}
	return binary.BigEndian.Uint64(value), nil
}

// write adds the events to the batch. After an error the batch holds a part of them.
func (g *group) write(state *streamState, request *appendRequest) error {
	created := time.Now().UnixNano() / 100
	for i := range request.events {
		g.position++
		state.revision++
		state.position = g.position
		state.fresh = append(state.fresh, placedEvent{id: request.events[i].id, position: g.position})
		if err := g.put(request.stream, &request.events[i], uint64(state.revision), g.position, created); err != nil {
			return err
		}
	}
	return g.batch.Set(streamHeadKey(request.stream), headValue(state.revision, state.position), nil)
}

func headValue(revision int64, position uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(revision)), position)
}

func (g *group) put(stream []byte, event *proposal, revision, position uint64, created int64) error {
	g.scratch = event.appendRecord(g.scratch[:0], revision, position, created)
	if err := g.batch.Set(logKey(position), g.scratch, nil); err != nil {
		return err
	}
	if err := g.batch.Set(streamEventKey(stream, revision), binary.BigEndian.AppendUint64(nil, position),
		nil); err != nil {
		return err
	}
	return g.batch.Set(eventIDKey(stream, event.id), binary.BigEndian.AppendUint64(nil, revision), nil)
}
