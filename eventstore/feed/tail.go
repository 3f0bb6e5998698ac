// Package feed hands the event log out to those who follow it: read once for all of them, page by page, each from a
// checkpoint of its own, as messages of Watermill.
package feed

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/pause"
)

// Page is a run of consecutive events of the log, as projections apply it in one transaction.
type Page struct {
	After  eventstore.Position   // the position that the page continues from
	Events []eventstore.Envelope // 1…MaxPage events; shared between readers, never to be changed
}

// Position is that of the page's last event.
func (p Page) Position() eventstore.Position { return p.Events[len(p.Events)-1].Position }

// MaxPage is the most events of one page.
const MaxPage = 5000

// window is how many chunks of MaxPage events a Tail keeps for its readers.
const window = 4

// Tail reads the log once for several readers: it keeps the newest events, decoded, and each reader takes pages from
// where it is. The slowest reader sets the pace; one that stops reading is left behind after patience and then reads
// the log by itself until it is back in the window.
type Tail struct {
	log      eventstore.Log
	logger   *slog.Logger
	patience time.Duration

	mu      sync.Mutex
	start   eventstore.Position     // what the window continues from
	chunks  [][]eventstore.Envelope // each of capacity MaxPage; only the last one grows
	head    eventstore.Position     // the last event read
	readers map[*TailReader]eventstore.Position
	changed chan struct{} // closed and replaced when anything above changes
	live    bool          // everything recorded was read
	broken  error         // why reading is interrupted
}

// NewTail makes a Tail; Run reads.
func NewTail(log eventstore.Log, logger *slog.Logger) *Tail {
	return &Tail{log: log, logger: logger, patience: 2 * time.Second, readers: map[*TailReader]eventstore.Position{},
		changed: make(chan struct{})}
}

// Head is the position of the newest event known, and whether that is the end of the log. err says why reading is
// interrupted, if it is.
func (t *Tail) Head() (head eventstore.Position, live bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.head, t.live, t.broken
}

// Run reads the log from a position on until ctx ends, through every outage of the store.
func (t *Tail) Run(ctx context.Context, from eventstore.Position) {
	t.mu.Lock()
	t.start, t.head = from, from
	t.broadcast()
	t.mu.Unlock()
	for ctx.Err() == nil {
		err := t.read(ctx)
		if ctx.Err() != nil {
			return
		}
		t.mu.Lock()
		if t.broken == nil {
			t.logger.Warn("reading the event log is interrupted", "error", err)
		}
		t.broken, t.live = err, false
		t.mu.Unlock()
		pause.For(ctx, 200*time.Millisecond)
	}
}

// arrival is an event, the notice that the log's end is reached, or why there is no more.
type arrival struct {
	envelope eventstore.Envelope
	caughtUp bool
	err      error
}

// maxArrivals is how many may wait to be added to the window. They are added together: each broadcast wakes every
// reader, and where the cores are busy, one for each event would hold the reading back behind all of them.
const maxArrivals = 256

func (t *Tail) read(ctx context.Context) error {
	t.mu.Lock()
	after := t.head
	t.mu.Unlock()
	var receiving sync.WaitGroup
	defer receiving.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	arrivals := make(chan arrival, maxArrivals)
	receiving.Go(func() { t.receive(ctx, after, arrivals) })
	var arrived []arrival
	for first := range arrivals {
		arrived = append(arrived[:0], first)
		for range len(arrivals) {
			arrived = append(arrived, <-arrivals)
		}
		for left := arrived; len(left) > 0; {
			if err := left[0].err; err != nil {
				return err
			}
			if err := t.room(ctx); err != nil {
				return err
			}
			left = t.append(left)
		}
	}
	return errors.New("the subscription ended")
}

// receive decodes what a subscription delivers, until it fails or ctx ends.
func (t *Tail) receive(ctx context.Context, after eventstore.Position, to chan<- arrival) {
	defer close(to)
	var decoder eventstore.Decoder
	for delivery, err := range t.log.Subscribe(ctx, after) {
		next := arrival{caughtUp: delivery.CaughtUp, err: err}
		if err == nil && !next.caughtUp {
			next.envelope = decoder.Decode(delivery.Event)
		}
		select {
		case to <- next:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// append adds arrivals to the window, which has room for one, and returns those for which it has none.
func (t *Tail) append(arrived []arrival) (left []arrival) {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.broadcast()
	for i, next := range arrived {
		if next.err != nil {
			return arrived[i:]
		}
		if t.broken = nil; next.caughtUp {
			t.live = true
			continue
		}
		last := len(t.chunks) - 1
		if last < 0 || len(t.chunks[last]) == MaxPage {
			if len(t.chunks) == window {
				return arrived[i:]
			}
			t.chunks = append(t.chunks, make([]eventstore.Envelope, 0, MaxPage))
			last++
		}
		t.chunks[last] = append(t.chunks[last], next.envelope)
		t.head = next.envelope.Position
	}
	return nil
}

// room waits until the window has a place, dropping chunks that every reader has passed.
func (t *Tail) room(ctx context.Context) error {
	var deadline <-chan time.Time
	for {
		t.mu.Lock()
		full := len(t.chunks) == window && len(t.chunks[window-1]) == MaxPage
		if full && t.slowest() >= t.chunks[0][MaxPage-1].Position {
			t.start, t.chunks = t.chunks[0][MaxPage-1].Position, t.chunks[1:]
			full = false
		}
		changed := t.changed
		t.mu.Unlock()
		if !full {
			return nil
		}
		if deadline == nil {
			timer := time.NewTimer(t.patience)
			defer timer.Stop()
			deadline = timer.C
		}
		select {
		case <-changed:
		case <-deadline:
			t.mu.Lock()
			limit := t.chunks[0][MaxPage-1].Position
			for reader, position := range t.readers {
				if position < limit {
					delete(t.readers, reader)
				}
			}
			t.mu.Unlock()
			deadline = nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (t *Tail) slowest() eventstore.Position {
	slowest := t.head
	for _, position := range t.readers {
		slowest = min(slowest, position)
	}
	return slowest
}

func (t *Tail) broadcast() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// TailReader takes pages from a Tail, one after the other.
type TailReader struct{ tail *Tail }

// Reader makes a reader. Close it when it stops reading, so that it holds nobody up.
func (t *Tail) Reader() *TailReader { return &TailReader{tail: t} }

// Close ends the reader's hold on the window.
func (r *TailReader) Close() {
	r.tail.mu.Lock()
	defer r.tail.mu.Unlock()
	delete(r.tail.readers, r)
	r.tail.broadcast()
}

// Next gives the page after a position, waiting for one if need be: what has already arrived, at most limit events.
func (r *TailReader) Next(ctx context.Context, after eventstore.Position, limit int) (Page, error) {
	t := r.tail
	for {
		t.mu.Lock()
		if after < t.start {
			delete(t.readers, r)
			t.mu.Unlock()
			return r.readBehind(ctx, after, limit)
		}
		if position, reading := t.readers[r]; !reading || position != after {
			t.readers[r] = after
			t.broadcast()
		}
		if events := t.after(after, limit); len(events) > 0 {
			t.mu.Unlock()
			return Page{After: after, Events: events}, nil
		}
		changed := t.changed
		t.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return Page{}, ctx.Err()
		}
	}
}

// after finds the events behind a position within one chunk. The caller holds t.mu.
func (t *Tail) after(position eventstore.Position, limit int) []eventstore.Envelope {
	for _, chunk := range t.chunks {
		if len(chunk) == 0 || chunk[len(chunk)-1].Position <= position {
			continue
		}
		low, high := 0, len(chunk)
		for low < high {
			if middle := (low + high) / 2; chunk[middle].Position <= position {
				low = middle + 1
			} else {
				high = middle
			}
		}
		end := min(low+limit, len(chunk))
		return chunk[low:end:end]
	}
	return nil
}

// readBehind reads a page that has left the window from the log itself.
func (r *TailReader) readBehind(ctx context.Context, after eventstore.Position, limit int) (Page, error) {
	page := Page{After: after}
	for recorded, err := range r.tail.log.ReadAll(ctx, after) {
		if err != nil {
			return Page{}, err
		}
		page.Events = append(page.Events, eventstore.Decode(recorded))
		if len(page.Events) == limit {
			return page, nil
		}
	}
	if len(page.Events) == 0 {
		return Page{},
			errors.New("the log ends before the position that it was read to: was it replaced by an older copy?")
	}
	return page, nil
}
