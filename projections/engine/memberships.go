package engine

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/eventstore"
)

// membership is the time for which an aggregate, the member, belongs to another one.
type membership struct {
	member, in uuid.UUID
	name       string // of the other one when it began
	position   eventstore.Position
	began      stamp
	ended      *stamp // nil: it lasts
}

// stamp is the event that began or ended a membership, without what would keep the whole event in memory.
type stamp struct {
	at     time.Time
	byKind string
	byID   string
	event  uuid.UUID
}

func stampOf(e *eventstore.Envelope) stamp {
	return stamp{e.Meta.At, e.Meta.Actor.Kind, e.Meta.Actor.ID, e.ID}
}

// optional is nil for an empty text, so that Postgres gets null.
func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// Memberships are those that a page, or in a rebuild the whole log, begins or ends.
type Memberships struct {
	begun []*membership
	open  map[[2]uuid.UUID]*membership
	ended []*membership // begun before the page
}

// Begin notes that with an event a member came to belong to in, which is called name.
func (m *Memberships) Begin(member, in uuid.UUID, name string, e *eventstore.Envelope) {
	if m.open == nil {
		m.open = map[[2]uuid.UUID]*membership{}
	}
	begun := &membership{member: member, in: in, name: name, position: e.Position, began: stampOf(e)}
	m.open[[2]uuid.UUID{member, in}] = begun
	m.begun = append(m.begun, begun)
}

// End notes that with an event a member no longer belongs to in.
func (m *Memberships) End(member, in uuid.UUID, e *eventstore.Envelope) {
	key := [2]uuid.UUID{member, in}
	stamp := stampOf(e)
	if begun, inPage := m.open[key]; inPage {
		begun.ended = &stamp
		delete(m.open, key)
		return
	}
	m.ended = append(m.ended, &membership{member: member, in: in, ended: &stamp})
}

// MembershipTable is a table of memberships, and its columns: Member, In, InName, four of the event that began each
// (Began with _at, _by_kind, _by_id and _event behind it) with Began_position after them, and four of the one that
// ended it (Ended), which are null while it lasts.
type MembershipTable struct {
	Name         string
	Member       string // such as "user_id"
	In, InName   string // such as "group_id", and the column of its name when the membership began
	Began, Ended string // such as "joined" and "left"
	// Note records an event of the member that begins or ends a membership, and leaves the others out.
	Note func(m *Memberships, member uuid.UUID, e *eventstore.Envelope)
}

// membershipTable is a MembershipTable with its statements.
type membershipTable struct {
	MembershipTable
	columns    []string
	end, begin string // SQL
}

// Table makes the table.
func (t MembershipTable) Table() Table {
	began, ended := t.Began, t.Ended
	columns := []string{
		t.Member, t.In, t.InName, began + "_at", began + "_by_kind", began + "_by_id", began + "_event",
		began + "_position",
		ended + "_at", ended + "_by_kind", ended + "_by_id", ended + "_event",
	}
	table := membershipTable{
		MembershipTable: t, columns: columns,
		end: fmt.Sprintf(`UPDATE %[1]s t SET %[4]s_at = e.at, %[4]s_by_kind = e.by_kind, %[4]s_by_id = e.by_id,
			%[4]s_event = e.event
			FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::text[], $5::text[], $6::uuid[])
				e (member_id, in_id, at, by_kind, by_id, event)
			WHERE t.%[2]s = e.member_id AND t.%[3]s = e.in_id AND t.%[4]s_at IS NULL`, t.Name, t.Member, t.In, ended),
		begin: fmt.Sprintf(`INSERT INTO %s (%s) SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[],
			$4::timestamptz[], $5::text[],
			$6::text[], $7::uuid[], $8::bigint[], $9::timestamptz[], $10::text[], $11::text[], $12::uuid[])`,
			t.Name, strings.Join(columns, ", ")),
	}
	return Table{Name: t.Name, Columns: columns, Apply: table.apply, Fold: func() Fold {
		return &wholeMemberships{table: table}
	}}
}

// take notes one event of a member.
func (t membershipTable) take(m *Memberships, e *eventstore.Envelope) error {
	_, subject := domain.SplitStream(e.Stream)
	member, err := uuid.Parse(subject)
	if err == nil {
		t.Note(m, member, e)
	}
	return err
}

// apply ends the memberships begun earlier, then adds those begun in the page.
func (t membershipTable) apply(ctx context.Context, tx pgx.Tx, events []*eventstore.Envelope) error {
	var m Memberships
	for _, e := range events {
		if err := t.take(&m, e); err != nil {
			return err
		}
	}
	if len(m.ended) > 0 {
		at, byKind, byID, event := ends(m.ended)
		if _, err := tx.Exec(ctx, t.end, each(m.ended, func(m *membership) [16]byte { return m.member }),
			each(m.ended, func(m *membership) [16]byte { return m.in }), at, byKind, byID, event); err != nil {
			return err
		}
	}
	if len(m.begun) == 0 {
		return nil
	}
	at, byKind, byID, event := ends(m.begun)
	_, err := tx.Exec(ctx, t.begin,
		each(m.begun, func(m *membership) [16]byte { return m.member }),
		each(m.begun, func(m *membership) [16]byte { return m.in }),
		each(m.begun, func(m *membership) string { return m.name }),
		each(m.begun, func(m *membership) time.Time { return m.began.at }),
		each(m.begun, func(m *membership) string { return m.began.byKind }),
		each(m.begun, func(m *membership) *string { return optional(m.began.byID) }),
		each(m.begun, func(m *membership) [16]byte { return m.began.event }),
		each(m.begun, func(m *membership) int64 { return int64(m.position) }),
		at, byKind, byID, event)
	return err
}

// ends gives the columns of the event that ended each membership, null for those that last. Ids are arrays of bytes:
// pgx would send a uuid.UUID through its text, at many times the cost.
func ends(m []*membership) (at []*time.Time, byKind, byID []*string, event []*[16]byte) {
	at, event = make([]*time.Time, len(m)), make([]*[16]byte, len(m))
	byKind, byID = make([]*string, len(m)), make([]*string, len(m))
	for i := range m {
		if e := m[i].ended; e != nil {
			at[i], byKind[i], byID[i], event[i] = &e.at, &e.byKind, optional(e.byID), (*[16]byte)(&e.event)
		}
	}
	return at, byKind, byID, event
}

func each[T any](m []*membership, value func(*membership) T) []T {
	values := make([]T, len(m))
	for i := range m {
		values[i] = value(m[i])
	}
	return values
}

// wholeMemberships holds every membership that there ever was.
type wholeMemberships struct {
	table       membershipTable
	memberships Memberships
}

func (w *wholeMemberships) Add(e *eventstore.Envelope) error { return w.table.take(&w.memberships, e) }

func (w *wholeMemberships) Rows(to *CopyRows, yield func() error) error {
	for _, m := range w.memberships.begun {
		to.Row(len(w.table.columns))
		to.UUID(m.member)
		to.UUID(m.in)
		to.Text(m.name)
		to.stamp(&m.began)
		to.Bigint(int64(m.position))
		to.stamp(m.ended)
		if err := yield(); err != nil {
			return err
		}
	}
	return nil
}

// stamp writes the four columns of an event that began or ended a membership.
func (c *CopyRows) stamp(s *stamp) {
	if s == nil {
		c.Null()
		c.Null()
		c.Null()
		c.Null()
		return
	}
	c.Time(s.at)
	c.Text(s.byKind)
	c.OptionalText(s.byID)
	c.UUID(s.event)
}
