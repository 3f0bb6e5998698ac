package projections

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/eventstore"
)

// stay is the time that an account has a role or is in a group.
type stay struct {
	user, in uuid.UUID
	name     string // of the role or group when it began
	began    *eventstore.Envelope
	ended    *eventstore.Envelope // nil: it lasts
}

// stays are those that a page begins or ends.
type stays struct {
	begun []stay
	open  map[[2]uuid.UUID]int // index into begun
	ended []stay               // begun before the page
}

func (s *stays) begin(userID, in uuid.UUID, name string, e *eventstore.Envelope) {
	if s.open == nil {
		s.open = map[[2]uuid.UUID]int{}
	}
	s.open[[2]uuid.UUID{userID, in}] = len(s.begun)
	s.begun = append(s.begun, stay{user: userID, in: in, name: name, began: e})
}

func (s *stays) end(userID, in uuid.UUID, e *eventstore.Envelope) {
	key := [2]uuid.UUID{userID, in}
	if i, inPage := s.open[key]; inPage {
		s.begun[i].ended = e
		delete(s.open, key)
		return
	}
	s.ended = append(s.ended, stay{user: userID, in: in, ended: e})
}

// staysTable is the SQL of a table of stays.
type staysTable struct{ end, begin string }

var (
	roleStays  = newStaysTable("user_roles", "role_id", "role_name", "given", "taken")
	groupStays = newStaysTable("memberships", "group_id", "group_name", "joined", "left")
)

func newStaysTable(table, in, name, began, ended string) staysTable {
	return staysTable{
		end: fmt.Sprintf(`UPDATE %[1]s t SET %[3]s_at = e.at, %[3]s_by_kind = e.by_kind, %[3]s_by_id = e.by_id, %[3]s_event = e.event
			FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::text[], $5::text[], $6::uuid[]) e (user_id, in_id, at, by_kind, by_id, event)
			WHERE t.user_id = e.user_id AND t.%[2]s = e.in_id AND t.%[3]s_at IS NULL`, table, in, ended),
		begin: fmt.Sprintf(`INSERT INTO %[1]s (user_id, %[2]s, %[3]s, %[4]s_at, %[4]s_by_kind, %[4]s_by_id, %[4]s_event, %[4]s_position,
				%[5]s_at, %[5]s_by_kind, %[5]s_by_id, %[5]s_event)
			SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[], $5::text[], $6::text[], $7::uuid[], $8::bigint[],
				$9::timestamptz[], $10::text[], $11::text[], $12::uuid[])`, table, in, name, began, ended),
	}
}

// write ends the stays begun earlier, then adds those begun in the page.
func (s *stays) write(ctx context.Context, tx pgx.Tx, table staysTable) error {
	if len(s.ended) > 0 {
		at, byKind, byID, event := ends(s.ended)
		if _, err := tx.Exec(ctx, table.end, stayValues(s.ended, func(s stay) rawUUID { return rawUUID(s.user) }),
			stayValues(s.ended, func(s stay) rawUUID { return rawUUID(s.in) }), at, byKind, byID, event); err != nil {
			return err
		}
	}
	if len(s.begun) == 0 {
		return nil
	}
	at, byKind, byID, event := ends(s.begun)
	_, err := tx.Exec(ctx, table.begin,
		stayValues(s.begun, func(s stay) rawUUID { return rawUUID(s.user) }),
		stayValues(s.begun, func(s stay) rawUUID { return rawUUID(s.in) }),
		stayValues(s.begun, func(s stay) string { return s.name }),
		stayValues(s.begun, func(s stay) time.Time { return s.began.Meta.At }),
		stayValues(s.begun, func(s stay) string { return s.began.Meta.Actor.Kind }),
		stayValues(s.begun, func(s stay) *string { return optional(s.began.Meta.Actor.ID) }),
		stayValues(s.begun, func(s stay) rawUUID { return rawUUID(s.began.ID) }),
		stayValues(s.begun, func(s stay) int64 { return int64(s.began.Position) }),
		at, byKind, byID, event)
	return err
}

// ends gives the columns of the event that ended each stay, null for those that last.
func ends(s []stay) (at []*time.Time, byKind, byID []*string, event []*rawUUID) {
	at, byKind, byID, event = make([]*time.Time, len(s)), make([]*string, len(s)), make([]*string, len(s)), make([]*rawUUID, len(s))
	for i := range s {
		if e := s[i].ended; e != nil {
			at[i], byKind[i], byID[i], event[i] = &e.Meta.At, &e.Meta.Actor.Kind, optional(e.Meta.Actor.ID), (*rawUUID)(&e.ID)
		}
	}
	return at, byKind, byID, event
}

func stayValues[T any](s []stay, value func(stay) T) []T {
	values := make([]T, len(s))
	for i := range s {
		values[i] = value(s[i])
	}
	return values
}
