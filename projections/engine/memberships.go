package projections

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
)

// stay is the time that an account has a role or is in a group.
type stay struct {
	user, in uuid.UUID
	name     string // of the role or group when it began
	position eventstore.Position
	began    stamp
	ended    *stamp // nil: it lasts
}

// stamp is the event that began or ended a stay, without what would keep the whole event in memory.
type stamp struct {
	at     time.Time
	byKind string
	byID   string
	event  uuid.UUID
}

func stampOf(e *eventstore.Envelope) stamp {
	return stamp{e.Meta.At, e.Meta.Actor.Kind, e.Meta.Actor.ID, e.ID}
}

// stays are those that a page, or in a rebuild the whole log, begins or ends.
type stays struct {
	begun []*stay
	open  map[[2]uuid.UUID]*stay
	ended []*stay // begun before the page
}

func (s *stays) begin(userID, in uuid.UUID, name string, e *eventstore.Envelope) {
	if s.open == nil {
		s.open = map[[2]uuid.UUID]*stay{}
	}
	begun := &stay{user: userID, in: in, name: name, position: e.Position, began: stampOf(e)}
	s.open[[2]uuid.UUID{userID, in}] = begun
	s.begun = append(s.begun, begun)
}

func (s *stays) end(userID, in uuid.UUID, e *eventstore.Envelope) {
	key := [2]uuid.UUID{userID, in}
	stamp := stampOf(e)
	if begun, inPage := s.open[key]; inPage {
		begun.ended = &stamp
		delete(s.open, key)
		return
	}
	s.ended = append(s.ended, &stay{user: userID, in: in, ended: &stamp})
}

// staysTable is a table of stays.
type staysTable struct {
	name       string
	columns    []string
	end, begin string // SQL
	// note takes an event in that begins or ends a stay, and leaves the others out.
	note func(s *stays, userID uuid.UUID, e *eventstore.Envelope)
}

var (
	roleStays = newStaysTable("user_roles", "role_id", "role_name", "given", "taken", func(s *stays, userID uuid.UUID, e *eventstore.Envelope) {
		switch event := e.Event.(type) {
		case user.RoleGiven:
			s.begin(userID, event.RoleID, event.RoleName, e)
		case user.RoleTaken:
			s.end(userID, event.RoleID, e)
		}
	})
	groupStays = newStaysTable("memberships", "group_id", "group_name", "joined", "left", func(s *stays, userID uuid.UUID, e *eventstore.Envelope) {
		switch event := e.Event.(type) {
		case user.GroupJoined:
			s.begin(userID, event.GroupID, event.GroupName, e)
		case user.GroupSynced:
			s.begin(userID, event.GroupID, event.GroupName, e)
		case user.GroupLeft:
			s.end(userID, event.GroupID, e)
		}
	})
)

func newStaysTable(table, in, name, began, ended string, note func(*stays, uuid.UUID, *eventstore.Envelope)) staysTable {
	columns := []string{
		"user_id", in, name, began + "_at", began + "_by_kind", began + "_by_id", began + "_event", began + "_position",
		ended + "_at", ended + "_by_kind", ended + "_by_id", ended + "_event",
	}
	return staysTable{
		name: table, columns: columns, note: note,
		end: fmt.Sprintf(`UPDATE %[1]s t SET %[3]s_at = e.at, %[3]s_by_kind = e.by_kind, %[3]s_by_id = e.by_id, %[3]s_event = e.event
			FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::text[], $5::text[], $6::uuid[]) e (user_id, in_id, at, by_kind, by_id, event)
			WHERE t.user_id = e.user_id AND t.%[2]s = e.in_id AND t.%[3]s_at IS NULL`, table, in, ended),
		begin: fmt.Sprintf(`INSERT INTO %s (%s) SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[], $5::text[], $6::text[],
				$7::uuid[], $8::bigint[], $9::timestamptz[], $10::text[], $11::text[], $12::uuid[])`, table, strings.Join(columns, ", ")),
	}
}

func (t staysTable) table() table {
	return table{name: t.name, columns: t.columns, apply: t.apply, whole: func() whole { return &wholeStays{table: t} }}
}

// take notes one event of an account.
func (t staysTable) take(s *stays, e *eventstore.Envelope) error {
	_, subject := domain.SplitStream(e.Stream)
	userID, err := uuid.Parse(subject)
	if err == nil {
		t.note(s, userID, e)
	}
	return err
}

// apply ends the stays begun earlier, then adds those begun in the page.
func (t staysTable) apply(ctx context.Context, tx pgx.Tx, events []*eventstore.Envelope) error {
	var s stays
	for _, e := range events {
		if err := t.take(&s, e); err != nil {
			return err
		}
	}
	if len(s.ended) > 0 {
		at, byKind, byID, event := ends(s.ended)
		if _, err := tx.Exec(ctx, t.end, stayValues(s.ended, func(s *stay) rawUUID { return rawUUID(s.user) }),
			stayValues(s.ended, func(s *stay) rawUUID { return rawUUID(s.in) }), at, byKind, byID, event); err != nil {
			return err
		}
	}
	if len(s.begun) == 0 {
		return nil
	}
	at, byKind, byID, event := ends(s.begun)
	_, err := tx.Exec(ctx, t.begin,
		stayValues(s.begun, func(s *stay) rawUUID { return rawUUID(s.user) }),
		stayValues(s.begun, func(s *stay) rawUUID { return rawUUID(s.in) }),
		stayValues(s.begun, func(s *stay) string { return s.name }),
		stayValues(s.begun, func(s *stay) time.Time { return s.began.at }),
		stayValues(s.begun, func(s *stay) string { return s.began.byKind }),
		stayValues(s.begun, func(s *stay) *string { return optional(s.began.byID) }),
		stayValues(s.begun, func(s *stay) rawUUID { return rawUUID(s.began.event) }),
		stayValues(s.begun, func(s *stay) int64 { return int64(s.position) }),
		at, byKind, byID, event)
	return err
}

// ends gives the columns of the event that ended each stay, null for those that last.
func ends(s []*stay) (at []*time.Time, byKind, byID []*string, event []*rawUUID) {
	at, byKind, byID, event = make([]*time.Time, len(s)), make([]*string, len(s)), make([]*string, len(s)), make([]*rawUUID, len(s))
	for i := range s {
		if e := s[i].ended; e != nil {
			at[i], byKind[i], byID[i], event[i] = &e.at, &e.byKind, optional(e.byID), (*rawUUID)(&e.event)
		}
	}
	return at, byKind, byID, event
}

func stayValues[T any](s []*stay, value func(*stay) T) []T {
	values := make([]T, len(s))
	for i := range s {
		values[i] = value(s[i])
	}
	return values
}

// wholeStays holds every stay that there ever was.
type wholeStays struct {
	table staysTable
	stays stays
}

func (w *wholeStays) add(e *eventstore.Envelope) error { return w.table.take(&w.stays, e) }

func (w *wholeStays) rows(to *copyRows, yield func() error) error {
	for _, s := range w.stays.begun {
		to.row(len(w.table.columns))
		to.uuid(rawUUID(s.user))
		to.uuid(rawUUID(s.in))
		to.text(s.name)
		to.stamp(&s.began)
		to.bigint(int64(s.position))
		to.stamp(s.ended)
		if err := yield(); err != nil {
			return err
		}
	}
	return nil
}

// stamp writes the four columns of an event that began or ended a stay.
func (c *copyRows) stamp(s *stamp) {
	if s == nil {
		c.null()
		c.null()
		c.null()
		c.null()
		return
	}
	c.time(s.at)
	c.text(s.byKind)
	c.optionalText(s.byID)
	c.uuid(rawUUID(s.event))
}
