//go:build linux

package faults

import (
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/eventstore"
)

// outcome is what a client knows about a command.
type outcome int

const (
	unknown outcome = iota // no answer, or one that leaves it open: all of it happened or nothing
	done                   // answered with success
	refused                // answered with a reason against it
)

func (o outcome) String() string { return [...]string{"unknown", "done", "refused"}[o] }

// record is one command as a client knows it.
type record struct {
	id      uuid.UUID // the X-Request-ID, of which the correlation id of each event is made that the command writes
	what    string    // such as "create user", for reports
	kind    string    // of the stream that it changes
	subject string    // id of the stream; for a creation known from its answer
	creates bool
	// holds says whether a state of the aggregate shows the whole effect of the command.
	holds func(state any) bool
	// mayChangeNothing: success does not mean that the command wrote an event under its own id.
	mayChangeNothing bool
	// writes is how many events of a kind it writes at least when it is done, for commands without a state to look at.
	writes func(written []eventstore.Envelope) bool

	started  time.Time
	outcome  outcome
	status   int
	code     string
	position eventstore.Position // answered; 0 without one
	created  map[string]string   // by an import: e-mail by account id
	emails   []string            // of an import
}

// ledger is what all clients know, and what they saw that must not be.
type ledger struct {
	mu         sync.Mutex
	records    []*record
	violations []string
	slowest    map[string]time.Duration // by the kind of request
	answers    map[int]int              // how often each status was answered; 0 for no answer
}

func newLedger() *ledger {
	return &ledger{slowest: map[string]time.Duration{}, answers: map[int]int{}}
}

func (l *ledger) add(r *record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, r)
}

// violate notes what must never be.
func (l *ledger) violate(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.violations) < 200 {
		l.violations = append(l.violations, what)
	}
}

func (l *ledger) answered(kind string, status int, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answers[status]++
	if status != 0 && took > l.slowest[kind] {
		l.slowest[kind] = took
	}
}

// count gives how many commands were done, refused and unknown.
func (l *ledger) count() map[outcome]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	counts := map[outcome]int{}
	for _, r := range l.records {
		counts[r.outcome]++
	}
	return counts
}
