//go:build linux

package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/claim"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/mailmessage"
	"github.com/secboard/secboard/domain/role"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/esdb"
)

// checker compares what clients were answered with the log, and the log with what the API shows.
type checker struct {
	ledger  *ledger
	random  *rand.Rand
	log     []eventstore.Envelope
	streams map[string][]eventstore.Envelope
	root    uuid.UUID // the superuser, whose session all workers have
	// correlation → stream → events, without those of claims and mails
	byCommand map[uuid.UUID]map[string][]eventstore.Envelope
}

func newChecker(ctx context.Context, log *esdb.Client, l *ledger, random *rand.Rand) (*checker, error) {
	c := &checker{ledger: l, random: random, streams: map[string][]eventstore.Envelope{},
		byCommand: map[uuid.UUID]map[string][]eventstore.Envelope{}}
	for recorded, err := range log.ReadAll(ctx, 0) {
		if err != nil {
			return nil, fmt.Errorf("read the log: %w", err)
		}
		e := eventstore.Decode(recorded)
		if e.Err != nil {
			return nil, e.Err
		}
		c.log = append(c.log, e)
		c.streams[e.Stream] = append(c.streams[e.Stream], e)
		if registered, ok := e.Event.(user.Registered); ok && registered.Email == rootEmail {
			_, id := domain.SplitStream(e.Stream)
			c.root = uuid.MustParse(id)
		}
		if isOfClaim(e) || isOfMail(e) {
			continue
		}
		if c.byCommand[e.Meta.CorrelationID] == nil {
			c.byCommand[e.Meta.CorrelationID] = map[string][]eventstore.Envelope{}
		}
		c.byCommand[e.Meta.CorrelationID][e.Stream] = append(c.byCommand[e.Meta.CorrelationID][e.Stream], e)
	}
	return c, nil
}

// writtenBy gives what a command wrote: its correlation is made of the id and of who asked, the superuser or somebody
// who is not signed in.
func (c *checker) writtenBy(r *record) map[string][]eventstore.Envelope {
	if written := c.byCommand[uuid.NewSHA1(c.root, r.id[:])]; written != nil {
		return written
	}
	return c.byCommand[uuid.NewSHA1(uuid.Nil, r.id[:])]
}

// isOfClaim says whether an event serves the uniqueness of values. Those may come more than once.
func isOfClaim(e eventstore.Envelope) bool {
	switch e.Event.(type) {
	case claim.Reserved, claim.Confirmed, claim.Released, claim.Contested:
		return true
	}
	return false
}

// isOfMail says whether an event is about a mail that a command led to, which goes its own way for hours.
func isOfMail(e eventstore.Envelope) bool {
	kind, _ := domain.SplitStream(e.Stream)
	return kind == mailmessage.Kind
}

func (c *checker) violate(format string, args ...any) {
	c.ledger.violate(fmt.Sprintf(format, args...))
}

// stateOf is a new state of the kind of a stream; nil for kinds without one here.
func stateOf(stream string) interface{ Evolve(domain.Event) } {
	switch kind, _ := domain.SplitStream(stream); kind {
	case user.Kind:
		return &user.State{}
	case company.Kind:
		return &company.State{}
	case role.Kind:
		return &role.State{}
	case group.Kind:
		return &group.State{}
	}
	return nil
}

// fold is the state after those of the first events of a stream that are chosen.
func (c *checker) fold(stream string, chosen func(eventstore.Envelope) bool) any {
	state := stateOf(stream)
	if state == nil {
		return nil
	}
	for _, e := range c.streams[stream] {
		if !chosen(e) {
			break
		}
		state.Evolve(e.Event)
	}
	return state
}

func upTo(revision eventstore.Revision) func(eventstore.Envelope) bool {
	return func(e eventstore.Envelope) bool { return e.Revision <= revision }
}

func always(eventstore.Envelope) bool { return true }

// checkLog looks at the log alone: order, gaps, times, and values that must be unique at every moment.
func (c *checker) checkLog() {
	var position eventstore.Position
	for _, e := range c.log {
		if e.Position <= position {
			c.violate("position %d stands after %d in the log", e.Position, position)
		}
		position = e.Position
	}
	for stream, events := range c.streams {
		seen := map[uuid.UUID]bool{}
		for i, e := range events {
			if e.Revision != eventstore.Revision(i) {
				c.violate("stream %s has revision %d where %d has to be", stream, e.Revision, i)
			}
			if seen[e.ID] {
				c.violate("stream %s has the event %s twice", stream, e.ID)
			}
			seen[e.ID] = true
			if i > 0 && e.Meta.At.Before(events[i-1].Meta.At) {
				c.violate("stream %s goes back in time at revision %d", stream, i)
			}
		}
	}
	holders, held, states := map[claim.Key]string{}, map[string]claim.Key{},
		map[string]interface{ Evolve(domain.Event) }{}
	for _, e := range c.log {
		state := states[e.Stream]
		if state == nil {
			if state = stateOf(e.Stream); state == nil {
				continue
			}
			states[e.Stream] = state
		}
		state.Evolve(e.Event)
		key := state.(interface{ Claim() claim.Key }).Claim()
		if key == held[e.Stream] {
			continue
		}
		delete(holders, held[e.Stream])
		held[e.Stream] = key
		if key == (claim.Key{}) {
			continue
		}
		if other, taken := holders[key]; taken {
			c.violate("at position %d both %s and %s have the %s %q", e.Position, other, e.Stream, key.Kind, key.Value)
		}
		holders[key] = e.Stream
	}
}

// checkCommands looks for every command: what was acknowledged is there, once; what was refused is not; what is unknown
// is there as a whole or not at all.
func (c *checker) checkCommands() {
	for _, r := range c.ledger.records {
		written := c.writtenBy(r)
		for stream, events := range written {
			c.checkOnce(r, stream, events)
		}
		switch {
		case r.outcome == refused && len(written) > 0:
			c.violate("%s %s was refused (%d %s), but it wrote %s", r.what, r.id, r.status, r.code, describe(written))
		case r.emails != nil:
			c.checkImport(r, written)
		case r.outcome == unknown && len(written) == 0:
		case r.outcome != refused:
			c.checkEffect(r, written)
		}
	}
}

// checkOnce looks whether what a command wrote to a stream is one append.
func (c *checker) checkOnce(r *record, stream string, events []eventstore.Envelope) {
	content := map[string]bool{}
	for i, e := range events {
		if i > 0 && (e.Revision != events[i-1].Revision+1 || !bytes.Equal(e.Metadata, events[0].Metadata)) {
			c.violate("%s %s was applied twice: %s", r.what, r.id,
				describe(map[string][]eventstore.Envelope{stream: events}))
			return
		}
		key := e.Type + string(e.Data)
		if content[key] {
			c.violate("%s %s wrote %s twice to %s", r.what, r.id, e.Type, stream)
		}
		content[key] = true
	}
}

func (c *checker) checkEffect(r *record, written map[string][]eventstore.Envelope) {
	if r.writes != nil {
		var all []eventstore.Envelope
		for _, events := range written {
			all = append(all, events...)
		}
		if (r.outcome == done || len(all) > 0) && !r.writes(all) {
			c.violate("%s %s was answered %d %s, and wrote %s", r.what, r.id, r.status, r.code, describe(written))
		}
		return
	}
	stream := r.kind + "-" + r.subject
	if r.subject == "" && len(written) == 1 { // a creation without an answer
		for stream = range written {
		}
	}
	events := written[stream]
	if len(events) != 0 {
		last := events[len(events)-1]
		if !r.holds(c.fold(stream, upTo(last.Revision))) {
			c.violate("%s %s (%s) is there in part: %s", r.what, r.id, r.outcome, describe(written))
		}
		if r.position != 0 && r.position < last.Position {
			c.violate("%s %s was answered the position %d, before its event at %d", r.what, r.id, r.position,
				last.Position)
		}
	}
	if r.outcome != done {
		return
	}
	if len(written) > 1 || (len(written) == 1 && len(events) == 0) {
		c.violate("%s %s wrote to other streams than %s: %s", r.what, r.id, stream, describe(written))
	}
	if len(events) == 0 && !r.mayChangeNothing {
		c.violate("%s %s was acknowledged (%d), and is lost", r.what, r.id, r.status)
		return
	}
	at := slices.IndexFunc(c.streams[stream], func(e eventstore.Envelope) bool { return e.Position == r.position })
	if at < 0 {
		c.violate("%s %s was acknowledged (%d) at position %d of %s, and is lost", r.what, r.id, r.status, r.position,
			stream)
		return
	}
	if !r.holds(c.fold(stream, upTo(eventstore.Revision(at)))) {
		c.violate("%s %s was acknowledged (%d) at revision %d of %s, and has no effect there", r.what, r.id, r.status,
			at, stream)
	}
}

// checkImport looks at an import: each line is an account of its own.
func (c *checker) checkImport(r *record, written map[string][]eventstore.Envelope) {
	for stream, events := range written {
		registered, ok := events[0].Event.(user.Registered)
		if !ok || !slices.Contains(r.emails, strings.ToLower(registered.Email)) {
			c.violate("%s %s wrote %s", r.what, r.id, describe(map[string][]eventstore.Envelope{stream: events}))
		}
	}
	for id, email := range r.created {
		events := written[domain.StreamName(user.Kind, uuid.MustParse(id))]
		if len(events) == 0 {
			c.violate("%s %s: the account %s (%s) was acknowledged, and is lost", r.what, r.id, id, email)
		}
	}
}

func describe(written map[string][]eventstore.Envelope) string {
	var text []string
	for stream, events := range written {
		for _, e := range events {
			text = append(text,
				fmt.Sprintf("%s@%d %s (%s)", stream, e.Revision, e.Type, e.Meta.At.Format(time.TimeOnly+".000")))
		}
	}
	return strings.Join(text, ", ")
}

// paths of the API by the kind of aggregate.
var paths = map[string]string{
	user.Kind: "/users", company.Kind: "/companies", role.Kind: "/roles", group.Kind: "/groups",
}

// shown is what the API shows of any aggregate, as far as it is compared.
type shown struct {
	Email     string              `json:"email"`
	FirstName *string             `json:"first_name"`
	LastName  *string             `json:"last_name"`
	Phone     *string             `json:"phone"`
	Position  *string             `json:"position"`
	Active    bool                `json:"active"`
	GroupIDs  []uuid.UUID         `json:"group_ids"`
	RoleIDs   []uuid.UUID         `json:"role_ids"`
	Name      string              `json:"name"`
	Retired   bool                `json:"retired"`
	Revision  eventstore.Revision `json:"revision"`
}

// summary is both sides of a comparison as text.
func (s shown) summary(withRevision bool) string {
	text := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	sorted := func(ids []uuid.UUID) []string {
		names := make([]string, len(ids))
		for i, id := range ids {
			names[i] = id.String()
		}
		slices.Sort(names)
		return names
	}
	summary := fmt.Sprint(s.Email, "|", text(s.FirstName), "|", text(s.LastName), "|", text(s.Phone), "|",
		text(s.Position), "|", s.Active, sorted(s.GroupIDs), sorted(s.RoleIDs), s.Name)
	if withRevision {
		summary += fmt.Sprint("@", s.Revision)
	}
	return summary
}

// expected is what the API has to show of a state.
func expected(state any, revision eventstore.Revision) shown {
	switch s := state.(type) {
	case *user.State:
		d := s.Details
		want := shown{Email: d.Email, FirstName: &d.FirstName, LastName: &d.LastName, Phone: &d.Phone,
			Position: &d.Position, Active: s.Active, Revision: revision}
		for id := range s.Groups {
			want.GroupIDs = append(want.GroupIDs, id)
		}
		for id := range s.Roles {
			want.RoleIDs = append(want.RoleIDs, id)
		}
		return want
	case *company.State:
		return shown{Name: s.Name, Revision: revision}
	case *role.State:
		return shown{Name: s.Name, Revision: revision}
	case *group.State:
		return shown{Name: s.Name, Revision: revision}
	}
	return shown{}
}

// sampled is how many aggregates of each kind are looked at one by one.
const sampled = 40

// checkAPI compares what the API shows, now and as of earlier times, with the log.
func (c *checker) checkAPI(ctx context.Context, api *client) error {
	subjects := map[string][]string{}
	for stream := range c.streams {
		kind, subject := domain.SplitStream(stream)
		state := c.fold(stream, always)
		if paths[kind] == "" || state == nil || expected(state, 0).summary(false) == (shown{}).summary(false) {
			continue // another kind, or a stream that holds but a claim's fence
		}
		subjects[kind] = append(subjects[kind], subject)
	}
	if err := c.checkUsers(ctx, api, subjects[user.Kind]); err != nil {
		return err
	}
	for kind, ids := range subjects {
		slices.Sort(ids)
		c.random.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
		for _, id := range ids[:min(len(ids), sampled)] {
			if err := c.checkOne(ctx, api, kind, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkUsers compares the list of all accounts.
func (c *checker) checkUsers(ctx context.Context, api *client, ids []string) error {
	listed := map[string]shown{}
	for cursor := ""; ; {
		var page struct {
			Items []struct {
				ID string `json:"id"`
				shown
			} `json:"items"`
			Next *string `json:"next_cursor"`
		}
		if err := get(ctx, api, "/users?limit=200"+cursor, &page); err != nil {
			return err
		}
		for _, item := range page.Items {
			if _, twice := listed[item.ID]; twice {
				c.violate("the list has the account %s twice", item.ID)
			}
			listed[item.ID] = item.shown
		}
		if page.Next == nil {
			break
		}
		cursor = "&cursor=" + *page.Next
	}
	for _, id := range ids {
		stream := user.Kind + "-" + id
		want := expected(c.fold(stream, always), eventstore.Revision(len(c.streams[stream])-1))
		if got, found := listed[id]; !found || got.summary(true) != want.summary(true) {
			c.violate("the account %s is in the log\n%s\nand in the list\n%s", id, want.summary(true),
				got.summary(true))
		}
	}
	if len(listed) != len(ids) {
		c.violate("the list has %d accounts, the log %d", len(listed), len(ids))
	}
	return nil
}

// checkOne compares one aggregate: now, its history, and as of some times.
func (c *checker) checkOne(ctx context.Context, api *client, kind, id string) error {
	stream := kind + "-" + id
	events := c.streams[stream]
	want := expected(c.fold(stream, always), events[len(events)-1].Revision)
	var got shown
	if err := get(ctx, api, paths[kind]+"/"+id, &got); err != nil {
		return err
	}
	if got.summary(true) != want.summary(true) {
		c.violate("%s is in the log\n%s\nand in the API\n%s", stream, want.summary(true), got.summary(true))
	}
	var history []string
	for cursor := ""; ; {
		var page struct {
			Items []struct {
				ID       uuid.UUID           `json:"id"`
				Revision eventstore.Revision `json:"revision"`
				Type     string              `json:"type"`
			} `json:"items"`
			Next *string `json:"next_cursor"`
		}
		if err := get(ctx, api, paths[kind]+"/"+id+"/history?limit=200"+cursor, &page); err != nil {
			return err
		}
		for _, item := range page.Items {
			history = append(history, fmt.Sprint(item.Revision, item.Type, item.ID))
		}
		if page.Next == nil {
			break
		}
		cursor = "&cursor=" + *page.Next
	}
	slices.Reverse(history)
	var recorded []string
	for _, e := range events {
		recorded = append(recorded, fmt.Sprint(e.Revision, e.Type, e.ID))
	}
	if !slices.Equal(history, recorded) {
		c.violate("the history of %s is in the log\n%v\nand in the API\n%v", stream, recorded, history)
	}
	for range 3 {
		at := events[c.random.IntN(len(events))].Meta.At
		// `at` never goes back within a stream, so the events up to a time are the first ones.
		state := c.fold(stream, func(e eventstore.Envelope) bool { return !e.Meta.At.After(at) })
		want := expected(state, 0).summary(false)
		if want == (shown{}).summary(false) {
			continue // it did not exist yet
		}
		var then shown
		if err := get(ctx, api, paths[kind]+"/"+id+"?as_of="+at.Format(time.RFC3339Nano), &then); err != nil {
			return err
		}
		if then.summary(false) != want {
			c.violate("%s was at %s by the log\n%s\nand by the API\n%s", stream, at, want, then.summary(false))
		}
	}
	return nil
}

// get reads a page of the API into a value.
func get(ctx context.Context, api *client, path string, into any) error {
	answer, err := api.do(ctx, http.MethodGet, "/api/v1"+path, nil, nil)
	if err != nil {
		return err
	}
	if answer.status != http.StatusOK {
		return fmt.Errorf("GET %s is answered %d %s", path, answer.status, answer.raw)
	}
	return json.Unmarshal(answer.raw, into)
}
