package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/grpc/mem"
)

// A page is read at once and sent after the storage engine was left alone again, so that a slow
// reader holds up nothing in it.
const (
	pageEvents     = 512
	pageBytes      = 1 << 20
	pageConsidered = 8192 // events looked at, whether the filter chose them or not
)

// arenas hold the messages of pages, and come back when gRPC has sent the last of them. Left to the garbage collector
// they would be most of what it has to do while somebody reads the whole log, and calls would wait for it.
var arenas = newArenas()

func newArenas() mem.BufferPool {
	pool, err := mem.NewBinaryTieredBufferPool(12, 14, 16, 18) // powers of two: 4 KiB to maxArena
	if err != nil {
		panic(err) // it refuses no such sizes
	}
	return pool
}

const (
	minArena = 4 << 10
	maxArena = 256 << 10
)

// item is one thing to send: an event, or a checkpoint if message is nil.
type item struct {
	message    mem.Buffer // its one reference goes to who sends it
	checkpoint uint64
}

// page is a run of items in the order of sending.
type page struct {
	items      []item
	events     int
	bytes      int
	considered int
	stringIDs  bool

	arena mem.Buffer // holds the reference that keeps it while messages are added; nil: none yet
	space []byte     // the part of it that messages are in

	// cursor is the position or revision of the last event considered.
	cursor uint64
	// end says that there is nothing more to read in this direction for now.
	end bool
}

func (p *page) full(limit uint64) bool {
	return p.events >= pageEvents || uint64(p.events) >= limit || p.bytes >= pageBytes || p.considered >= pageConsidered
}

// add copies an event into the page.
func (p *page) add(r record) error {
	message := r.message()
	// An id as text takes up to 38 bytes more, and may lengthen the two length prefixes.
	if need := len(message) + 64; cap(p.space)-len(p.space) < need {
		p.closeArena()
		bytes := arenas.Get(max(need, min(2*cap(p.space), maxArena), minArena))
		p.arena, p.space = mem.NewBuffer(bytes, arenas), (*bytes)[:0:len(*bytes)]
	}
	start := len(p.space)
	if p.stringIDs {
		space, err := r.withStringID(p.space)
		if err != nil {
			return err
		}
		p.space = space
	} else {
		p.space = append(p.space, message...)
	}
	p.items = append(p.items, item{message: p.arena.Slice(start, len(p.space))})
	p.events++
	p.bytes += len(message)
	return nil
}

// closeArena leaves the arena to the messages in it.
func (p *page) closeArena() {
	if p.arena != nil {
		p.arena.Free()
		p.arena = nil
	}
}

// allReader reads $all page by page.
type allReader struct {
	node      *Node
	filter    *filter
	stringIDs bool
	backwards bool

	// considered counts the events since the last checkpoint; only subscriptions send checkpoints.
	checkpoints bool
	considered  uint64

	items []item // of the last page, to be used again
}

// page reads at most limit events: forwards from position `from` on, up to upTo, or backwards
// from before `from`. The items of the page before must have been sent.
func (a *allReader) page(from, upTo, limit uint64) (p page, err error) {
	p.stringIDs, p.items = a.stringIDs, a.items[:0]
	if !a.backwards && from > upTo {
		return page{end: true}, nil
	}
	options := &pebble.IterOptions{LowerBound: logKey(0), UpperBound: prefixEnd([]byte{keyLog})}
	if a.backwards {
		if from <= upTo {
			options.UpperBound = logKey(from)
		} else {
			options.UpperBound = logKey(upTo + 1)
		}
	} else {
		options.LowerBound = logKey(from)
		options.UpperBound = logKey(upTo + 1)
	}
	iter, err := a.node.db.NewIter(options)
	if err != nil {
		return p, err
	}
	defer func() {
		p.closeArena()
		a.items = p.items
		err = errors.Join(err, iter.Close())
	}()

	start, step := iter.First, iter.Next
	if a.backwards {
		start, step = iter.Last, iter.Prev
	}
	for ok := start(); ok; ok = step() {
		if p.full(limit) {
			return p, nil
		}
		p.cursor = binary.BigEndian.Uint64(iter.Key()[1:])
		value, err := iter.ValueAndErr()
		if err != nil {
			return p, err
		}
		if err := a.consider(&p, value); err != nil {
			return p, fmt.Errorf("event at position %d: %w", p.cursor, err)
		}
	}
	p.end = iter.Error() == nil
	return p, iter.Error()
}

func (a *allReader) consider(p *page, value []byte) error {
	r, err := parseRecord(value)
	if err != nil {
		return err
	}
	p.considered++
	if a.filter.matches(r) {
		if err := p.add(r); err != nil {
			return err
		}
	}
	if !a.checkpoints {
		return nil
	}
	if a.considered++; a.considered >= a.filter.checkpointInterval {
		a.considered = 0
		p.items = append(p.items, item{checkpoint: p.cursor})
	}
	return nil
}

// streamReader reads one stream page by page.
type streamReader struct {
	node      *Node
	stream    []byte
	stringIDs bool
	backwards bool
}

// page reads at most limit events from revision `from` on, inclusive in both directions.
func (s *streamReader) page(from, upTo, limit uint64) (p page, err error) {
	p.stringIDs = s.stringIDs
	last, found, err := s.node.lastRevision(s.stream, upTo)
	if err != nil || !found {
		return page{end: true}, err
	}
	visible, err := s.node.visible(s.stream, last, upTo)
	if err != nil {
		return p, err
	}
	if s.backwards {
		from = min(from, last)
	}
	lower, upper := max(from, visible.first), last
	if s.backwards {
		lower, upper = visible.first, from
	}
	if lower > upper {
		return page{end: true}, nil
	}
	iter, err := s.node.db.NewIter(&pebble.IterOptions{
		LowerBound: streamEventKey(s.stream, lower),
		UpperBound: streamEventKey(s.stream, upper+1),
	})
	if err != nil {
		return p, err
	}
	defer func() {
		p.closeArena()
		err = errors.Join(err, iter.Close())
	}()

	start, step := iter.First, iter.Next
	if s.backwards {
		start, step = iter.Last, iter.Prev
	}
	for ok := start(); ok; ok = step() {
		if p.full(limit) {
			return p, nil
		}
		key := iter.Key()
		p.cursor = binary.BigEndian.Uint64(key[len(key)-8:])
		position, err := iter.ValueAndErr()
		if err != nil {
			return p, err
		}
		if err := s.read(&p, position, visible); err != nil {
			return p, err
		}
	}
	p.end = iter.Error() == nil
	return p, iter.Error()
}

func (s *streamReader) read(p *page, position []byte, visible bounds) (err error) {
	if len(position) != 8 {
		return fmt.Errorf("revision %d of a stream: %w", p.cursor, errBadRecord)
	}
	at := binary.BigEndian.Uint64(position)
	value, closer, err := s.node.db.Get(logKey(at))
	if err != nil {
		return fmt.Errorf("event at position %d: %w", at, err)
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	r, err := parseRecord(value)
	if err != nil {
		return fmt.Errorf("event at position %d: %w", at, err)
	}
	p.considered++
	if visible.hides(r.created()) {
		return nil
	}
	return p.add(r)
}

// lastRevision returns the revision of the last event of a stream at or before position upTo. It
// looks past what the committer has written and not yet synced.
func (n *Node) lastRevision(stream []byte, upTo uint64) (last uint64, found bool, err error) {
	head, found, err := n.get(streamHeadKey(stream))
	if err != nil || !found {
		return 0, false, err
	}
	if len(head) != 16 {
		return 0, false, errBadRecord
	}
	if binary.BigEndian.Uint64(head[8:]) <= upTo {
		return binary.BigEndian.Uint64(head), true, nil
	}
	prefix := streamPrefix(stream)
	iter, err := n.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: prefixEnd(prefix)})
	if err != nil {
		return 0, false, err
	}
	defer func() { err = errors.Join(err, iter.Close()) }()
	for ok := iter.Last(); ok; ok = iter.Prev() {
		position, err := iter.ValueAndErr()
		if err != nil {
			return 0, false, err
		}
		if len(position) == 8 && binary.BigEndian.Uint64(position) <= upTo {
			key := iter.Key()
			return binary.BigEndian.Uint64(key[len(key)-8:]), true, nil
		}
	}
	return 0, false, iter.Error()
}

// noLimit is the number of events a subscription may read in a page.
const noLimit = math.MaxUint64
