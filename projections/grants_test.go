package projections

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/access"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/postgres/pgtest"
)

// The read models answer about any time as a replay of the log up to then does, and about now as requests are checked.
func TestAccessAtAnyTimeIsWhatTheLogAloneSays(t *testing.T) {
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
		replay, applied := NewReplay(), 0
		beginning := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		times := rapid.SliceOfN(rapid.IntRange(0, int(s.now.Sub(beginning)/time.Second)+100_000), 4, 4).Draw(rt,
			"times")
		for _, e := range s.log { // the very moments of changes too
			if rapid.IntRange(0, 9).Draw(rt, "moment") == 0 {
				times = append(times, int(e.Meta.At.Sub(beginning)/time.Second))
			}
		}
		slices.Sort(times)
		for _, seconds := range times {
			at := beginning.Add(time.Duration(seconds) * time.Second)
			for ; applied < len(s.log) && !s.log[applied].Meta.At.After(at); applied++ {
				if err := replay.Apply(&s.log[applied]); err != nil {
					rt.Fatal(err)
				}
			}
			filter := AccessFilter{
				Module: rapid.SampledFrom(append([]string{"", "risks"}, domain.OwnModules...)).Draw(rt, "module"),
				Action: rapid.SampledFrom([]domain.Action{"", domain.View, domain.Edit}).Draw(rt, "action"),
			}
			for id := range s.users {
				want, wantErr := replay.Access(id, filter, at)
				got, err := models.AccountAccess(ctx, id, filter, s.now, &at)
				unnamed(&want, &got)
				if errors.Is(wantErr, ErrNotFound) != errors.Is(err, ErrNotFound) || show(t, got) != show(t, want) {
					rt.Fatalf("%s at %s:\n%s %v\nthe log says:\n%s %v", id, at, show(t, got), err, show(t, want),
						wantErr)
				}
			}
			if in, any := known(s, s.companies); any && rapid.Bool().Draw(rt, "of a company") {
				filter.CompanyID = &in
			}
			limit := rapid.SampledFrom([]int{1, 3, 50}).Draw(rt, "limit")
			got, want := everybody(rt, models, filter, limit, s.now, &at), replay.WhoMay(filter, at)
			unnamedHolders(want)
			unnamedHolders(got)
			if show(t, got) != show(t, want) {
				rt.Fatalf("%+v at %s:\n%s\nthe log says:\n%s", filter, at, show(t, got), show(t, want))
			}
		}
		for id := range s.users {
			now, err := models.AccountAccess(ctx, id, AccessFilter{}, s.now, nil)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			checked, accessErr := models.Access(ctx, id, s.now)
			if err != nil || accessErr != nil {
				rt.Fatal(err, accessErr)
			}
			if now.State != checked.State || now.Superuser != checked.Superuser || now.Email != checked.Email {
				rt.Fatalf("%+v\nrequests are checked against:\n%+v", now, checked)
			}
			granted := domain.Permissions{}
			for _, item := range now.Items {
				if slices.ContainsFunc(item.Via, func(g Grant) bool { return g.Kind == GrantGroup }) {
					granted = granted.Union(domain.Permissions{item.Module: only(item.Action)})
				}
			}
			if checked.State == access.Active && !maps.Equal(granted, checked.Granted.Anywhere()) {
				rt.Fatalf("%+v\nrequests are checked against:\n%+v", granted, checked.Granted.Anywhere())
			}
		}
	})
}

func only(action domain.Action) domain.Actions {
	return domain.Actions{
		View: action == domain.View, Add: action == domain.Add, Edit: action == domain.Edit,
		Delete: action == domain.Delete,
		Export: action == domain.Export, ShowLink: action == domain.ShowLink,
	}
}

// unnamed takes away the names of actors: read models have those of today, a replay those of its end.
func unnamed(answers ...*AccountAccess) {
	for _, access := range answers {
		for _, actor := range actorsOf(access.Items) {
			actor.Name = nil
		}
		for i := range access.Because {
			if r := &access.Because[i]; r.Actor != nil {
				r.Actor.Name = nil
				r.Detail, _, _ = strings.Cut(r.Detail, " (by ")
			}
		}
	}
}

func unnamedHolders(holders []AccessHolder) {
	for i := range holders {
		for _, actor := range actorsOf([]AccessItem{holders[i].AccessItem}) {
			actor.Name = nil
		}
	}
}

// everybody reads all pages.
func everybody(t *rapid.T, models *ReadModels, filter AccessFilter, limit int, now time.Time,
	asOf *time.Time) []AccessHolder {
	var holders []AccessHolder
	page := PageRequest{Limit: limit}
	for {
		list, err := models.WhoMay(t.Context(), filter, page, now, asOf)
		if err != nil {
			t.Fatal(err)
		}
		if len(list.Items) > limit || list.NextCursor != nil && len(list.Items) < limit {
			t.Fatalf("%d items on a page of %d", len(list.Items), limit)
		}
		holders = append(holders, list.Items...)
		if list.NextCursor == nil {
			return holders
		}
		page.Cursor = *list.NextCursor
	}
}

// Why somebody may do something, and each of the reasons why not.
func TestWhySheMayAndWhyNot(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	ctx, root := t.Context(), admin(t, s)
	acme, nova := s.has(t)(s.CreateCompany(ctx, as(root), company.Details{Name: "Acme"})),
		s.has(t)(s.CreateCompany(ctx, as(root), company.Details{Name: "Nova"}))
	risks, err := s.RegisterModule(ctx, commands.Operator(), "risks", "Risks")
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, s.runner, risks.Position)
	allowing := func(actions domain.Actions) domain.Permissions { return domain.Permissions{"risks": actions} }
	create := func(name string, in uuid.UUID, p domain.Permissions) uuid.UUID {
		return s.has(t)(s.CreateGroup(ctx, as(root), group.Details{Name: name, CompanyID: in, Permissions: p}))
	}
	readers := create("Readers", acme, allowing(domain.Actions{View: true}))
	strangers := create("Strangers", nova, allowing(domain.Actions{Delete: true}))
	anna := s.has(t)(s.RegisterUser(ctx, as(root), commands.RegisterUser{
		Details:  user.Details{Email: "anna@example.com", FirstName: "Anna", CompanyID: acme},
		GroupIDs: []uuid.UUID{readers},
	}))
	ask := func(action domain.Action) (AccountAccess, map[string]AccessReason) {
		t.Helper()
		now := s.clock()
		answer, err := s.AccountAccess(ctx, anna, AccessFilter{Module: "risks", Action: action}, now, nil)
		if err != nil {
			t.Fatal(err)
		}
		then, err := s.AccountAccess(ctx, anna, AccessFilter{Module: "risks", Action: action}, now, &now)
		if err != nil || show(t, then) != show(t, answer) {
			t.Fatalf("now:\n%s\nas of now:\n%s %v", show(t, answer), show(t, then), err)
		}
		reasons := map[string]AccessReason{}
		for _, r := range answer.Because {
			reasons[r.Code] = r
		}
		return answer, reasons
	}

	answer, because := ask(domain.View)
	if !*answer.Allowed || len(answer.Because) != 1 || *because[access.BecauseGroup].GroupID != readers ||
		!strings.HasPrefix(because[access.BecauseGroup].Detail,
			"member of the group Readers, which allows risks.view (by Ada Admin, 2026-") {
		t.Fatal(show(t, answer))
	}
	answer, because = ask(domain.Delete)
	if *answer.Allowed ||
		because[access.BecauseLacksAction].Detail != "the group Readers allows view in risks, but not delete" ||
		*because[access.BecauseOtherCompany].GroupID != strangers {
		t.Fatal(show(t, answer))
	}

	before := s.clock()
	more := allowing(domain.Actions{View: true, Delete: true})
	s.has(t)(s.ChangeGroup(ctx, as(root), readers, group.Patch{Permissions: &more}))
	answer, because = ask(domain.Delete)
	via := answer.Items[0].Via[0]
	if !*answer.Allowed || via.GivenEventID != *via.AllowedEventID || via.GivenEventID == via.EventID ||
		!via.GivenAt.After(*via.JoinedAt) ||
		*via.JoinedBy.Name != "Ada Admin" || *because[access.BecauseGroup].EventID != via.GivenEventID {
		t.Fatal(show(t, answer))
	}
	earlier, err := s.AccountAccess(ctx, anna, AccessFilter{Module: "risks", Action: domain.Delete}, s.clock(), &before)
	if err != nil || *earlier.Allowed {
		t.Fatal(show(t, earlier), err)
	}

	fewer := allowing(domain.Actions{View: true})
	s.has(t)(s.ChangeGroup(ctx, as(root), readers, group.Patch{Permissions: &fewer}))
	if answer, because = ask(domain.Delete); !strings.Contains(because[access.BecauseLacksAction].Detail,
		"but not delete any more (by Ada Admin") {
		t.Fatal(show(t, answer))
	}
	s.has(t)(s.RetireGroup(ctx, as(root), readers, "merged"))
	if answer, because = ask(domain.View); *answer.Allowed || because[access.BecauseRetired].EventID == nil ||
		because[access.BecauseNobodyIsGiving].Code == "" {
		t.Fatal(show(t, answer))
	}
	viewers := create("Viewers", uuid.Nil, allowing(domain.Actions{View: true}))
	if answer, because = ask(domain.View); *because[access.BecauseWouldAllow].GroupID != viewers {
		t.Fatal(show(t, answer))
	}
	s.has(t)(s.JoinGroup(ctx, as(root), anna, viewers))
	s.has(t)(s.LeaveGroup(ctx, as(root), anna, viewers))
	if answer, because = ask(domain.View); because[access.BecauseLeft].Actor == nil ||
		because[access.BecauseWouldAllow].Code != "" {
		t.Fatal(show(t, answer))
	}
	s.has(t)(s.LeaveGroup(ctx, as(root), anna, readers))
	if answer, because = ask(domain.View); because[access.BecauseNoGroup].Detail != "the account was in no group" {
		t.Fatal(show(t, answer))
	}

	yes := true
	s.has(t)(s.ChangeUser(ctx, as(root), anna, commands.ChangeUser{Patch: user.Patch{Superuser: &yes}}))
	if answer, because = ask(domain.Delete); !*answer.Allowed || because[access.BecauseSuperuser].EventID == nil ||
		answer.Items[0].Via[0].GroupID != nil {
		t.Fatal(show(t, answer))
	}
	s.has(t)(s.DeactivateUser(ctx, as(root), anna, "left the company"))
	answer, because = ask(domain.Delete)
	if *answer.Allowed || len(answer.Items) != 0 || because[access.BecauseHeld].Code == "" ||
		!strings.HasPrefix(because[access.Inactive].Detail,
			"the account could not be used: deactivated: left the company (by Ada Admin") {
		t.Fatal(show(t, answer))
	}
	unknown, err := s.AccountAccess(ctx, uuid.MustParse(root.Actor.ID),
		AccessFilter{Module: "assets", Action: domain.View}, s.clock(), nil)
	if err != nil || *unknown.Allowed || unknown.Because[0].Code != access.BecauseUnknownModule {
		t.Fatal(show(t, unknown), err)
	}
}

func TestWhoMayHasCursorsOfItsOwn(t *testing.T) {
	t.Parallel()
	pool := pgtest.NewDatabase(t)
	accounts(t, pool, 0, []domain.Event{user.Registered{Email: "a@example.com"}, user.SuperuserGranted{}})
	models, now := NewReadModels(pool), time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	list, err := models.WhoMay(t.Context(), AccessFilter{}, PageRequest{Limit: 10}, now, nil)
	if err != nil || len(list.Items) != 10 || list.NextCursor == nil {
		t.Fatal(show(t, list), err)
	}
	if _, err := models.Users(t.Context(), UserFilter{}, PageRequest{Cursor: *list.NextCursor}, now); !errors.Is(err,
		ErrBadCursor) {
		t.Fatal(err)
	}
	for _, bad := range []string{"?", "e30", "eyJzIjoiYWNjZXNzIiwiayI6bnVsbH0"} {
		t.Run(bad, func(t *testing.T) {
			if _, err := models.WhoMay(t.Context(), AccessFilter{}, PageRequest{Cursor: bad}, now, nil); !errors.Is(err,
				ErrBadCursor) {
				t.Error(bad, err)
			}
		})
	}
	if list, err := models.WhoMay(t.Context(), AccessFilter{Module: `a"b\`, Action: "*"}, PageRequest{}, now,
		nil); err != nil || len(list.Items) != 0 {
		t.Fatal(list, err)
	}
}
