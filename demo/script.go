package demo

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/eventstore"
)

// script is the whole history: the same for the same start, so that an interrupted one can be resumed.
type script struct {
	steps    []step
	password uuid.UUID // the command that ends it

	start, end time.Time
	random     *rand.Rand
	admins     []*admin
}

// step is one command at its time.
type step struct {
	at      time.Time
	command uuid.UUID
	subject uuid.UUID // the aggregate that changes
	alone   bool      // no other step is carried out beside it: later ones refer to what it makes, or end with it
	by      *admin
	run     func(ctx context.Context, h *commands.Handler, caller commands.Caller) error
}

// admin is somebody who administers SecBoard for a while: the actor of the demo's events.
type admin struct {
	id          uuid.UUID // uuid.Nil: SecBoard itself
	ip          string    // from the ranges for documentation (RFC 5737)
	userAgent   string
	from, until time.Time
}

func (a *admin) caller() commands.Caller {
	if a.id == uuid.Nil {
		return commands.System()
	}
	return commands.Caller{
		Actor: eventstore.Actor{Kind: eventstore.ActorUser, ID: a.id.String()},
		IP:    a.ip, UserAgent: a.userAgent,
	}
}

func write(start time.Time) *script {
	//nolint:gosec // reproducible, not secret
	s := &script{start: start, end: start.Add(years), random: rand.New(rand.NewPCG(2021, 11))}
	s.admins = []*admin{{from: start, until: s.end}}
	org := s.establish()
	s.employ(org)
	s.reorganize(org)
	slices.SortStableFunc(s.steps, func(a, b step) int { return a.at.Compare(b.at) })
	s.password = s.id(s.end)
	return s
}

// add puts a step into the script that changes an existing aggregate; a time after the end of the history is left out.
func (s *script) add(at time.Time, subject uuid.UUID,
	run func(ctx context.Context, h *commands.Handler, caller commands.Caller) error) {
	by := s.adminAt(at)
	command := s.id(at)
	if at.Before(s.end) {
		s.steps = append(s.steps, step{at: at, command: command, subject: subject, by: by, run: run})
	}
}

// create puts a step into the script that makes an aggregate under the given id.
func (s *script) create(at time.Time, id uuid.UUID, alone bool,
	run func(ctx context.Context, h *commands.Handler, caller commands.Caller) error) {
	s.steps = append(s.steps, step{at: at, command: id, subject: id, alone: alone, by: s.adminAt(at), run: run})
}

// adminAt picks one of those who were administrators then.
func (s *script) adminAt(at time.Time) *admin {
	var then []*admin
	for _, a := range s.admins {
		if !at.Before(a.from) && at.Before(a.until) {
			then = append(then, a)
		}
	}
	if len(then) > 1 {
		then = then[1:] // people, as soon as there are some
	}
	if len(then) == 0 {
		return s.admins[0]
	}
	return pick(s.random, then)
}

// id makes a UUIDv7 of the given time.
func (s *script) id(at time.Time) uuid.UUID {
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:8], uint64(at.UnixMilli())<<16|s.random.Uint64()>>48)
	binary.BigEndian.PutUint64(id[8:], s.random.Uint64())
	id[6] = 0x70 | id[6]&0x0f
	id[8] = 0x80 | id[8]&0x3f
	return id
}

// between is a moment of a working day between two times.
func (s *script) between(from, until time.Time) time.Time {
	at := from
	if span := until.Sub(from); span > 0 {
		at = from.Add(time.Duration(s.random.Int64N(int64(span))))
	}
	at = at.Truncate(24 * time.Hour).Add(time.Duration(7*3600+s.random.IntN(10*3600)) * time.Second)
	switch at.Weekday() {
	case time.Saturday:
		at = at.AddDate(0, 0, 2)
	case time.Sunday:
		at = at.AddDate(0, 0, 1)
	}
	if at.Before(from) {
		return from.Add(time.Hour)
	}
	return at
}

// chance is true in so many of a hundred cases.
func (s *script) chance(percent int) bool { return s.random.IntN(100) < percent }

func pick[T any](random *rand.Rand, of []T) T { return of[random.IntN(len(of))] }
