package projections

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pquerna/otp/totp"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/access"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/role"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/postgres/pgtest"
)

// accounts writes accounts straight into the read models, as events of one log.
func accounts(t testing.TB, pool *pgxpool.Pool, after eventstore.Position, changes ...[]domain.Event) []uuid.UUID {
	t.Helper()
	makeCheckpoints(t, pool)
	ids := make([]uuid.UUID, len(changes))
	var log []eventstore.Envelope
	for i, events := range changes {
		ids[i] = uuid.New()
		for n, event := range events {
			log = append(log, eventstore.Envelope{
				Recorded: eventstore.Recorded{ID: uuid.New(), Stream: domain.StreamName(user.Kind, ids[i]),
					Revision: eventstore.Revision(n),
					Position: after + eventstore.Position(len(log)+1), Type: event.EventType(), Data: []byte("{}"),
					Metadata: []byte("{}")},
				Event: event, Meta: eventstore.Metadata{
					At:    time.Date(2026, 5, 1, 0, 0, i, 0, time.UTC),
					Actor: eventstore.Actor{Kind: eventstore.ActorSystem},
				},
			})
		}
	}
	play(t, pool, after, log, 1000)
	return ids
}

func TestTheStateFilterAgreesWithTheStateShown(t *testing.T) {
	t.Parallel()
	pool := pgtest.NewDatabase(t)
	now := time.Date(2026, 11, 23, 23, 59, 59, 0, time.UTC)
	var changes [][]domain.Event
	days := []domain.Date{
		{}, domain.DateOf(now.AddDate(0, 0, -1)), domain.DateOf(now), domain.DateOf(now.AddDate(0, 0, 1)),
	}
	for _, start := range days {
		for _, end := range days {
			for _, active := range []bool{true, false} {
				events := []domain.Event{user.Registered{Email: fmt.Sprintf("p%d@example.com", len(changes)),
					StartDate: start, EndDate: end, Source: user.SourceLocal}}
				if !active {
					events = append(events, user.Deactivated{})
				}
				changes = append(changes, events)
			}
		}
	}
	ids := accounts(t, pool, 0, changes...)
	models := NewReadModels(pool)
	found := 0
	for _, state := range []string{
		access.Active, access.Inactive, access.NotStarted, access.Expired, access.DirectoryDisabled,
	} {
		t.Run(state, func(t *testing.T) {
			list, err := models.Users(t.Context(), UserFilter{State: state}, PageRequest{Limit: MaxLimit}, now)
			if err != nil {
				t.Fatal(err)
			}
			for _, u := range list.Items {
				if u.State != state {
					t.Errorf("listed as %s: %s", state, show(t, u))
				}
				if (u.StateReason == nil) != (state == access.Active) {
					t.Errorf("%s without its reason", state)
				}
			}
			found += len(list.Items)
		})
	}
	if found != len(ids) {
		t.Errorf("%d of %d accounts are in a state", found, len(ids))
	}
}
func TestEveryItemStandsOnOnePage(t *testing.T) {
	t.Parallel()
	pool := pgtest.NewDatabase(t)
	var changes [][]domain.Event
	for i := range 50 { // many of the same name
		changes = append(changes, []domain.Event{
			user.Registered{
				Email: fmt.Sprintf("p%02d@example.com", i), FirstName: []string{"Anna", "anna", "Олена", ""}[i%4],
			},
		})
	}
	ids := accounts(t, pool, 0, changes...)
	models := NewReadModels(pool)
	for _, sort := range []string{"", "name", "-name", "email", "-email", "created_at", "-created_at"} {
		t.Run(cmp.Or(sort, "default"), func(t *testing.T) {
			var listed []uuid.UUID
			var names []string
			page := PageRequest{Limit: 7, Sort: sort}
			for {
				list, err := models.Users(t.Context(), UserFilter{}, page, time.Now())
				if err != nil {
					t.Fatal(err)
				}
				for _, u := range list.Items {
					listed, names = append(listed, u.ID), append(names, u.Email)
				}
				if list.NextCursor == nil {
					break
				}
				page.Cursor = *list.NextCursor
			}
			if strings.HasSuffix(sort, "email") {
				if sort == "-email" {
					slices.Reverse(names)
				}
				if !slices.IsSorted(names) {
					t.Errorf("sort %q: %v", sort, names)
				}
			}
			sortIDs := func(ids []uuid.UUID) []uuid.UUID {
				return slices.SortedFunc(slices.Values(ids), func(a, b uuid.UUID) int {
					return slices.Compare(a[:], b[:])
				})
			}
			if !slices.Equal(sortIDs(listed), sortIDs(ids)) {
				t.Errorf("sort %q lists %d of %d", sort, len(listed), len(ids))
			}
		})
	}
}

func TestPagingIsNotDisturbedByNewItems(t *testing.T) {
	t.Parallel()
	pool := pgtest.NewDatabase(t)
	registered := func(name string) []domain.Event {
		return []domain.Event{user.Registered{Email: name + "@example.com", FirstName: name}}
	}
	ids := accounts(t, pool, 0, registered("b"), registered("d"), registered("f"), registered("h"))
	models := NewReadModels(pool)
	first, err := models.Users(t.Context(), UserFilter{}, PageRequest{Limit: 2}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	accounts(t, pool, eventstore.Position(len(ids)), registered("a"), registered("c"), registered("g"))
	second, err := models.Users(t.Context(), UserFilter{}, PageRequest{Limit: 10, Cursor: *first.NextCursor},
		time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, u := range slices.Concat(first.Items, second.Items) {
		names = append(names, *u.FirstName)
	}
	if strings.Join(names, "") != "bdfgh" || second.NextCursor != nil {
		t.Fatal(names)
	}
}

func TestNamesSortAsPeopleExpect(t *testing.T) {
	t.Parallel()
	names := []string{"anna", "Anna", "Bea", "Éva", "Eve", "Zoë", "Ігор", "Їжак", "Юлія", "Яна"}
	for i := range names[1:] {
		if slices.Compare(nameKey(names[i]), nameKey(names[i+1])) >= 0 {
			t.Errorf("%s does not sort before %s", names[i], names[i+1])
		}
	}
}

func TestNoNameIsTooLongForAnIndex(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("\uFDFA", 200) // one character that sorts as eighteen
	if key := nameKey(long); len(key) > 1000 {
		t.Errorf("a key of %d bytes", len(key))
	}
}

func TestWrongCursorsAndSortsAreRefused(t *testing.T) {
	t.Parallel()
	pool := pgtest.NewDatabase(t)
	accounts(t, pool, 0, []domain.Event{user.Registered{Email: "a@example.com"}},
		[]domain.Event{user.Registered{Email: "b@example.com"}})
	models := NewReadModels(pool)
	list := func(page PageRequest) (List[User], error) {
		return models.Users(t.Context(), UserFilter{}, page, time.Now())
	}
	if _, err := list(PageRequest{Sort: "password"}); !errors.Is(err, ErrBadSort) ||
		!strings.Contains(err.Error(), "created_at, email, name") {
		t.Error(err)
	}
	if _, err := list(PageRequest{Sort: "--name"}); !errors.Is(err, ErrBadSort) {
		t.Error(err)
	}
	first, err := list(PageRequest{Limit: 1, Sort: "email"})
	if err != nil || first.NextCursor == nil {
		t.Fatal(first, err)
	}
	encoded := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	id := uuid.NewString()
	for _, cursor := range []string{
		"x", "%%%", *first.NextCursor, // of another order
		encoded("{}"), encoded("null"), encoded(`{"s":"name","k":null,"i":"` + id + `"}`),
		encoded(`{"s":"name","k":7,"i":"` + id + `"}`),
		encoded(`{"s":"name","k":"AAAA","i":"nobody"}`), encoded(`{"s":"name"}`),
	} {
		t.Run(cursor, func(t *testing.T) {
			if _, err := list(PageRequest{Cursor: cursor}); !errors.Is(err, ErrBadCursor) {
				t.Errorf("cursor %q: %v", cursor, err)
			}
		})
	}
	for _, cursor := range []string{
		encoded(`{"s":"email","k":"a\u0000","i":"` + id + `"}`),
		encoded(`{"s":"email","k":"a` + "\xff" + `","i":"` + id + `"}`),
	} {
		t.Run(cursor, func(t *testing.T) {
			if _, err := list(PageRequest{Sort: "email", Cursor: cursor}); err != nil && !errors.Is(err, ErrBadCursor) {
				t.Errorf("cursor %q: %v", cursor, err)
			}
		})
	}
}

func TestTheQueryLooksForPartsInAnyCase(t *testing.T) {
	t.Parallel()
	pool := pgtest.NewDatabase(t)
	accounts(t, pool, 0,
		[]domain.Event{user.Registered{Email: "olena@example.com", FirstName: "Олена", LastName: "Шевченко"}},
		[]domain.Event{user.Registered{Email: "percent@example.com", FirstName: "100%", LastName: `a\b`}},
		[]domain.Event{user.Registered{Email: "under_score@example.com", FirstName: "Anna"}})
	models := NewReadModels(pool)
	for query, want := range map[string]string{
		"шевч": "olena", "ОЛЕНА ШЕВ": "olena", "OLENA@": "olena", "%": "percent", `\`: "percent", "_": "under_score",
		"r_s":    "under_score",
		"nobody": "", "example.com": "olena percent under_score", "a\x00b": "", "\xff": "",
		"  ": "olena percent under_score",
	} {
		t.Run(query, func(t *testing.T) {
			list, err := models.Users(t.Context(), UserFilter{Query: query}, PageRequest{Sort: "email"}, time.Now())
			if err != nil {
				t.Errorf("%q: %v", query, err)
			}
			var found []string
			for _, u := range list.Items {
				name, _, _ := strings.Cut(u.Email, "@")
				found = append(found, name)
			}
			if strings.Join(found, " ") != want {
				t.Errorf("%q finds %v", query, found)
			}
		})
	}
}

func TestAccountsAreFiltered(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	ctx, root := t.Context(), admin(t, s)
	acme := s.has(t)(s.CreateCompany(ctx, as(root), company.Details{Name: "Acme"}))
	risk := s.has(t)(s.CreateGroup(ctx, as(root), group.Details{Name: "Risk"}))
	owner := s.has(t)(s.CreateRole(ctx, as(root), role.Details{Name: "Owner"}))
	in := s.has(t)(s.RegisterUser(ctx, as(root),
		commands.RegisterUser{Details: user.Details{Email: "in@example.com", CompanyID: acme},
			GroupIDs: []uuid.UUID{risk}, RoleIDs: []uuid.UUID{owner}}))
	left := s.has(t)(
		s.RegisterUser(ctx, as(root), commands.RegisterUser{Details: user.Details{Email: "left@example.com"},
			GroupIDs: []uuid.UUID{risk}, RoleIDs: []uuid.UUID{owner}}))
	s.has(t)(s.LeaveGroup(ctx, as(root), left, risk))
	s.has(t)(s.TakeRole(ctx, as(root), left, owner))
	device, _, err := s.PrepareTwoFactor(ctx, ownerOf(in), in)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	code, err := totp.GenerateCode(device.Secret, now)
	if err != nil {
		t.Fatal(err)
	}
	confirming := *s.Handler
	confirming.Now = func() time.Time { return now }
	_, result, err := confirming.ConfirmTwoFactor(ctx, ownerOf(in), in, code)
	s.has(t)(result, err)
	yes, no := true, false
	for name, tt := range map[string]struct {
		filter UserFilter
		want   string
	}{
		"company":       {UserFilter{CompanyID: &acme}, "in"},
		"group":         {UserFilter{GroupID: &risk}, "in"},
		"role":          {UserFilter{RoleID: &owner}, "in"},
		"superuser":     {UserFilter{Superuser: &yes}, "admin"},
		"no superuser":  {UserFilter{Superuser: &no}, "in left"},
		"two factor":    {UserFilter{TwoFactor: &yes}, "in"},
		"no two factor": {UserFilter{TwoFactor: &no}, "admin left"},
		"local":         {UserFilter{Source: user.SourceLocal}, "admin in left"},
		"directory":     {UserFilter{Source: user.SourceDirectory}, ""},
		"all at once": {
			UserFilter{
				CompanyID: &acme, GroupID: &risk, RoleID: &owner, State: access.Active, Query: "IN@", Superuser: &no,
			}, "in",
		},
		"strange state": {UserFilter{State: "asleep"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := s.Users(ctx, tt.filter, PageRequest{Sort: "email"}, s.clock())
			if err != nil {
				t.Fatal(err)
			}
			var found []string
			for _, u := range list.Items {
				name, _, _ := strings.Cut(u.Email, "@")
				found = append(found, name)
			}
			if strings.Join(found, " ") != tt.want {
				t.Errorf("found %v, want %q", found, tt.want)
			}
		})
	}
	s.has(t)(s.RetireGroup(ctx, as(root), risk, "no longer needed"))
	s.has(t)(s.RetireRole(ctx, as(root), owner, ""))
	s.has(t)(s.RetireCompany(ctx, as(root), acme, ""))
	groups, err := s.Groups(ctx, GroupFilter{Query: "ris", Retired: &yes}, PageRequest{})
	if err != nil || len(groups.Items) != 1 || groups.Items[0].MemberCount != 1 {
		t.Fatal(show(t, groups), err)
	}
	if groups, err = s.Groups(ctx, GroupFilter{CompanyID: &acme}, PageRequest{}); err != nil || len(groups.Items) != 0 {
		t.Fatal(show(t, groups), err)
	}
	if roles, err := s.Roles(ctx, RoleFilter{Query: "OWN", Retired: &yes},
		PageRequest{Sort: "-created_at"}); err != nil || len(roles.Items) != 1 {
		t.Fatal(show(t, roles), err)
	}
	if companies, err := s.Companies(ctx, CompanyFilter{Query: "acme", Retired: &no}, PageRequest{}); err != nil ||
		len(companies.Items) != 0 {
		t.Fatal(show(t, companies), err)
	}
}

func TestModulesAreSecBoardsOwnAndTheRegistered(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	ctx := t.Context()
	var last commands.Result
	for _, name := range []string{"Risks", "Risk register"} {
		var err error
		if last, err = s.RegisterModule(ctx, commands.Operator(), "risks", name); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, s.runner, last.Position)
	modules, err := s.Modules(ctx)
	if err != nil || len(modules) != len(domain.OwnModules)+1 ||
		modules[0] != (Module{"users", "Users", true, eventstore.NoStream}) {
		t.Fatal(modules, err)
	}
	if got := modules[len(modules)-1]; got != (Module{"risks", "Risk register", false, 1}) {
		t.Fatal(got)
	}
	if m, err := s.ModuleAsOf(ctx, "risks", s.clock().Add(-time.Second)); err != nil || m.Name != "Risks" {
		t.Fatal(m, err)
	}
	if m, err := s.Module(ctx, "mail"); err != nil || !m.Own {
		t.Fatal(m, err)
	}
	for _, key := range []string{"nothing", "a\x00b", ""} {
		t.Run(key, func(t *testing.T) {
			if _, err := s.Module(ctx, key); !errors.Is(err, ErrNotFound) {
				t.Errorf("%q: %v", key, err)
			}
		})
	}
	history, err := s.History(ctx, HistoryFilter{Kind: "module", ID: "risks"}, PageRequest{})
	if err != nil || len(history.Items) != 2 || *history.Items[0].Actor.Name == "" {
		t.Fatal(history, err)
	}
}

func TestAccessIsWhatGroupsInUseGrant(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	ctx, root := t.Context(), admin(t, s)
	grants := func(name string, p domain.Permissions) uuid.UUID {
		return s.has(t)(s.CreateGroup(ctx, as(root), group.Details{Name: name, Permissions: p}))
	}
	read, write := grants("Readers", domain.Permissions{"users": {View: true}}),
		grants("Writers", domain.Permissions{"users": {Edit: true}, "roles": {View: true}})
	old := grants("Old", domain.Permissions{"audit": {Export: true}})
	anna := s.has(t)(s.RegisterUser(ctx, as(root),
		commands.RegisterUser{
			Details: user.Details{Email: "anna@example.com"}, GroupIDs: []uuid.UUID{read, write, old},
		}))
	s.has(t)(s.RetireGroup(ctx, as(root), old, ""))
	answer, err := s.Access(ctx, anna, s.clock())
	if err != nil {
		t.Fatal(err)
	}
	if want := (domain.Permissions{"users": {View: true, Edit: true}, "roles": {View: true}}); show(t,
		answer.Granted.Anywhere()) != show(t, want) || answer.State != access.Active {
		t.Fatalf("%+v", answer)
	}
	s.has(t)(s.LeaveGroup(ctx, as(root), anna, write))
	if answer, err := s.Access(ctx, anna, s.clock()); err != nil ||
		show(t, answer.Granted.Anywhere()) != show(t, domain.Permissions{"users": {View: true}}) {
		t.Fatal(answer, err)
	}
	s.has(t)(s.DeactivateUser(ctx, as(root), anna, ""))
	if answer, err := s.Access(ctx, anna, s.clock()); err != nil || answer.State != access.Inactive {
		t.Fatal(answer, err)
	}
}

func TestTheHistoryIsFilteredAndPaged(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	ctx, root := t.Context(), admin(t, s)
	anna := s.has(t)(
		s.RegisterUser(ctx, as(root), commands.RegisterUser{Details: user.Details{Email: "anna@example.com"}}))
	registered := s.clock()
	for i := range 9 {
		phone := fmt.Sprint(i)
		caller := as(root)
		if i%3 == 0 {
			caller = commands.System()
		}
		s.has(t)(s.ChangeUser(ctx, caller, anna, commands.ChangeUser{Patch: user.Patch{Phone: &phone}}))
	}
	count := func(filter HistoryFilter) int {
		filter.Kind, filter.ID = user.Kind, anna.String()
		found := 0
		page := PageRequest{Limit: 4}
		for {
			list, err := s.History(ctx, filter, page)
			if err != nil {
				t.Fatal(err)
			}
			found += len(list.Items)
			for i := range list.Items[1:] {
				if list.Items[i].Position <= list.Items[i+1].Position {
					t.Error("not newest first")
				}
			}
			if list.NextCursor == nil {
				return found
			}
			page.Cursor = *list.NextCursor
		}
	}
	after := registered.Add(time.Second)
	for want, filter := range map[int]HistoryFilter{
		10: {IncludeSignIns: true}, 9: {Type: "user.phone"}, 7: {ActorID: root.Actor.ID}, 1: {To: &after},
		6: {From: &after, ActorID: root.Actor.ID},
	} {
		t.Run(fmt.Sprintf("%d entries", want), func(t *testing.T) {
			if got := count(filter); got != want {
				t.Errorf("%+v: %d, not %d", filter, got, want)
			}
		})
	}
	whole, err := s.History(ctx, HistoryFilter{Kind: user.Kind, ID: anna.String()}, PageRequest{Sort: "position"})
	if err != nil {
		t.Fatal(err)
	}
	third := whole.Items[2].At
	if until, from := count(HistoryFilter{To: &third}), count(HistoryFilter{From: &third}); until != 3 || from != 8 {
		t.Errorf("%d up to the third of ten, %d from it on", until, from)
	}
	if list, err := s.History(ctx, HistoryFilter{Kind: user.Kind, ID: "a\x00b", Type: "\xff"},
		PageRequest{}); err != nil || len(list.Items) != 0 {
		t.Fatal(list, err)
	}
}
