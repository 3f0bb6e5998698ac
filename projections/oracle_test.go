package projections

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/module"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/postgres/pgtest"
)

// oracle answers who may do what by reading the whole log again for each question. It shares nothing with the answers
// that it judges: neither the states of the aggregates nor the rules of access, only the events.
type oracle []eventstore.Envelope

// verdict is what the oracle says about an account: how it stands, and what gives it each action ("" for being a
// superuser, or the id of a group).
type verdict struct {
	Exists    bool
	State     string
	Superuser bool
	May       map[string]map[domain.Action][]string
}

func (o oracle) upTo(at time.Time) oracle {
	n := 0
	for n < len(o) && !o[n].Meta.At.After(at) {
		n++
	}
	return o[:n]
}

// about gives the events of one stream.
func (o oracle) about(kind, name string) []domain.Event {
	var events []domain.Event
	for _, e := range o {
		if e.Stream == kind+"-"+name {
			events = append(events, e.Event)
		}
	}
	return events
}

// judge says what an account was able to do at a time.
func (o oracle) judge(id uuid.UUID, at time.Time) verdict {
	o = o.upTo(at)
	v := verdict{May: map[string]map[domain.Action][]string{}}
	active, closed := true, false
	var first, last domain.Date
	member := map[uuid.UUID]bool{}
	for _, event := range o.about(user.Kind, id.String()) {
		switch e := event.(type) {
		case user.Registered:
			v.Exists, first, last = true, e.StartDate, e.EndDate
		case user.AccessPeriodChanged:
			if e.StartDate.From != e.StartDate.To {
				first = e.StartDate.To
			}
			if e.EndDate.From != e.EndDate.To {
				last = e.EndDate.To
			}
		case user.Activated:
			active = true
		case user.Deactivated:
			active = false
		case user.DirectoryDisabled:
			closed = true
		case user.DirectoryEnabled, user.DirectoryUnlinked, user.PasswordSet: // with a password it is a local account
			closed = false
		case user.SuperuserGranted:
			v.Superuser = true
		case user.SuperuserRevoked:
			v.Superuser = false
		case user.GroupJoined:
			member[e.GroupID] = true
		case user.GroupSynced:
			member[e.GroupID] = true
		case user.GroupLeft:
			delete(member, e.GroupID)
		}
	}
	if !v.Exists {
		return verdict{}
	}
	day := at.UTC().Format(time.DateOnly)
	switch {
	case !active:
		v.State = "inactive"
	case closed:
		v.State = "directory_disabled"
	case !first.IsZero() && day < first.String():
		v.State = "not_started"
	case !last.IsZero() && day > last.String():
		v.State = "expired"
	default:
		v.State = "active"
	}
	if v.State != "active" {
		return v
	}
	if v.Superuser {
		for _, key := range o.modules() {
			for _, action := range domain.AllActions {
				v.allow(key, action, "")
			}
		}
	}
	for id := range member {
		for key, actions := range o.permissions(id) {
			for action, allowed := range map[domain.Action]bool{
				domain.View: actions.View, domain.Add: actions.Add, domain.Edit: actions.Edit,
				domain.Delete: actions.Delete,
				domain.Export: actions.Export, domain.ShowLink: actions.ShowLink,
			} {
				if allowed {
					v.allow(key, action, id.String())
				}
			}
		}
	}
	return v
}

func (v verdict) allow(module string, action domain.Action, because string) {
	if v.May[module] == nil {
		v.May[module] = map[domain.Action][]string{}
	}
	v.May[module][action] = append(v.May[module][action], because)
	slices.Sort(v.May[module][action])
}

func (o oracle) modules() []string {
	keys := slices.Clone(domain.OwnModules)
	for _, e := range o {
		if e, ok := e.Event.(module.Registered); ok {
			keys = append(keys, e.Key)
		}
	}
	return keys
}

// permissions are those that a group gave last; none once it is retired.
func (o oracle) permissions(id uuid.UUID) domain.Permissions {
	var given domain.Permissions
	for _, event := range o.about(group.Kind, id.String()) {
		switch e := event.(type) {
		case group.Created:
			given = e.Permissions
		case group.PermissionsChanged:
			given = e.Permissions.To
		case group.Retired:
			return nil
		}
	}
	return given
}

// shown is an answer in the oracle's words.
func shown(access *AccountAccess) verdict {
	v := verdict{Exists: true, State: access.State, Superuser: access.Superuser,
		May: map[string]map[domain.Action][]string{}}
	for _, item := range access.Items {
		for _, grant := range item.Via {
			because := ""
			if grant.GroupID != nil {
				because = grant.GroupID.String()
			}
			v.allow(item.Module, item.Action, because)
		}
	}
	return v
}

// What the read models and a replay say about access, now and at any time, is what somebody finds who reads the log.
func TestAnOracleThatReadsTheLogAgreesAboutAccess(t *testing.T) {
	t.Parallel()
	pool := pgtest.NewDatabase(t)
	models := NewReadModels(pool)
	rapid.Check(t, func(rt *rapid.T) {
		ctx := t.Context()
		emptyReadModels(t, pool)
		s := newStory(rt)
		for range rapid.IntRange(5, 60).Draw(rt, "steps") {
			s.step()
		}
		play(t, pool, 0, s.log, 7)
		truth, replay, applied := oracle(s.log), NewReplay(), 0
		times := []time.Time{s.now, s.now.AddDate(0, 0, 15)} // also one at which days have begun and ended since
		for _, e := range s.log {
			if rapid.IntRange(0, 5).Draw(rt, "moment") == 0 {
				times = append(times, e.Meta.At, e.Meta.At.Add(-time.Nanosecond))
			}
		}
		slices.SortFunc(times, time.Time.Compare)
		for _, at := range times {
			for ; applied < len(s.log) && !s.log[applied].Meta.At.After(at); applied++ {
				if err := replay.Apply(&s.log[applied]); err != nil {
					rt.Fatal(err)
				}
			}
			for id := range s.users {
				want := truth.judge(id, at)
				replayed, replayErr := replay.Access(id, AccessFilter{}, at)
				asOf, asOfErr := models.AccountAccess(ctx, id, AccessFilter{}, s.now, &at)
				if !want.Exists {
					if !errors.Is(replayErr, ErrNotFound) || !errors.Is(asOfErr, ErrNotFound) {
						rt.Fatalf("%s at %s is no account yet: %v, %v", id, at, replayErr, asOfErr)
					}
					continue
				}
				if replayErr != nil || asOfErr != nil {
					rt.Fatal(replayErr, asOfErr)
				}
				if diff := cmp.Diff(want, shown(&replayed)); diff != "" {
					rt.Fatalf("%s at %s, the log and a replay:\n%s", id, at, diff)
				}
				if diff := cmp.Diff(want, shown(&asOf)); diff != "" {
					rt.Fatalf("%s at %s, the log and the read models:\n%s", id, at, diff)
				}
			}
		}
		for id := range s.users {
			want := truth.judge(id, s.now)
			now, err := models.AccountAccess(ctx, id, AccessFilter{}, s.now, nil)
			if errors.Is(err, ErrNotFound) && !want.Exists {
				continue
			}
			if err != nil {
				rt.Fatal(err)
			}
			if diff := cmp.Diff(want, shown(&now)); diff != "" {
				rt.Fatalf("%s now, the log and the read models:\n%s", id, diff)
			}
			// What requests are checked against.
			checked, err := models.Access(ctx, id, s.now)
			if err != nil {
				rt.Fatal(err)
			}
			groups := map[string][]domain.Action{}
			for key, actions := range want.May {
				for action, because := range actions {
					if slices.ContainsFunc(because, func(id string) bool { return id != "" }) {
						groups[key] = append(groups[key], action)
					}
				}
				slices.Sort(groups[key])
			}
			maps.DeleteFunc(groups, func(_ string, actions []domain.Action) bool { return len(actions) == 0 })
			allowed := map[string][]domain.Action{}
			for key, actions := range checked.Granted.Anywhere() {
				for _, action := range domain.AllActions {
					if actions.Allows(action) {
						allowed[key] = append(allowed[key], action)
					}
				}
				slices.Sort(allowed[key])
			}
			if checked.State != want.State || checked.Superuser != want.Superuser || want.State == "active" &&
				!cmp.Equal(groups, allowed) {
				rt.Fatalf("%s: requests are checked against %+v, and the log says %+v", id, checked, want)
			}
		}
	})
}
