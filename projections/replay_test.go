package projections

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"pgregory.net/rapid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/claim"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/mailaccount"
	"github.com/secboard/secboard/domain/mailmessage"
	"github.com/secboard/secboard/domain/mailserver"
	"github.com/secboard/secboard/domain/module"
	"github.com/secboard/secboard/domain/role"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/feed"
	"github.com/secboard/secboard/postgres/pgtest"
	"github.com/secboard/secboard/projections/engine"
)

// A check of a property replays a whole history several times: fewer than rapid's 100 do, unless the command line says.
func init() {
	if err := flag.Set("rapid.checks", "15"); err != nil {
		panic(err)
	}
}

// story is a history that the deciders wrote, as the log would hold it.
type story struct {
	t         *rapid.T
	log       []eventstore.Envelope
	now       time.Time
	revisions map[string]eventstore.Revision
	companies map[uuid.UUID]company.State
	roles     map[uuid.UUID]role.State
	groups    map[uuid.UUID]group.State
	users     map[uuid.UUID]user.State
	modules   map[string]module.State
	servers   map[uuid.UUID]mailserver.State
	accounts  map[uuid.UUID]mailaccount.State
	mails     map[uuid.UUID]mailmessage.State
	directory map[uuid.UUID]directory.State
	actor     eventstore.Actor
}

func newStory(t *rapid.T) *story {
	return &story{
		t: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), revisions: map[string]eventstore.Revision{},
		companies: map[uuid.UUID]company.State{},
		roles:     map[uuid.UUID]role.State{}, groups: map[uuid.UUID]group.State{},
		users:   map[uuid.UUID]user.State{},
		modules: map[string]module.State{}, directory: map[uuid.UUID]directory.State{},
		servers: map[uuid.UUID]mailserver.State{}, accounts: map[uuid.UUID]mailaccount.State{},
		mails: map[uuid.UUID]mailmessage.State{}, actor: eventstore.Actor{Kind: eventstore.ActorOperator},
	}
}

// write records what a decider decided; a refusal writes nothing.
func (s *story) write(stream string, events []domain.Event, err error) []domain.Event {
	var refused *domain.Error
	var invalid *domain.Invalid
	if errors.As(err, &refused) || errors.As(err, &invalid) {
		return nil
	}
	if err != nil {
		s.t.Fatal(err)
	}
	// Later than all before: the row at a time is then that after all events up to it.
	s.now = s.now.Add(time.Duration(rapid.IntRange(1, int(36*time.Hour/time.Second)).Draw(s.t, "pause")) * time.Second)
	expected := eventstore.NoStream
	if revision, exists := s.revisions[stream]; exists {
		expected = revision
	}
	command := uuid.New()
	proposed, err := eventstore.Encode(stream, expected, events, eventstore.Metadata{
		At: s.now, Actor: s.actor, IP: "192.0.2.1", CommandID: command, CorrelationID: command, CausationID: command,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	for i, p := range proposed {
		s.revisions[stream] = expected + 1 + eventstore.Revision(i)
		s.log = append(s.log, eventstore.Decode(eventstore.Recorded{
			ID: p.ID, Stream: stream, Revision: s.revisions[stream], Position: eventstore.Position(10*len(s.log) + 10),
			Type: p.Type, Created: s.now, Data: p.Data, Metadata: p.Metadata,
		}))
	}
	return events
}

// on decides about one of the aggregates and keeps its new state.
func on[ID comparable, S any, P interface {
	*S
	Evolve(domain.Event)
}](s *story, kind string, states map[ID]S, id ID, decide func(S) ([]domain.Event, error)) {
	state := states[id]
	events, err := decide(state)
	for _, event := range s.write(fmt.Sprint(kind, "-", id), events, err) {
		P(&state).Evolve(event)
	}
	states[id] = state
}

var someName = rapid.SampledFrom([]string{"Олена", "Žofie", "Anna", "anna", "O'Brien", "Ng", "Ünal", "王",
	"50% _\\ off"})

func draw[T any](s *story, what string, g *rapid.Generator[T]) T { return g.Draw(s.t, what) }

// known picks one of the ids, or none.
func known[S any](s *story, states map[uuid.UUID]S) (uuid.UUID, bool) {
	ids := slices.SortedFunc(maps.Keys(states), func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	if len(ids) == 0 {
		return uuid.Nil, false
	}
	return draw(s, "which", rapid.SampledFrom(ids)), true
}

// maybe is a pointer to a drawn value, or nil.
func maybe[T any](s *story, what string, g *rapid.Generator[T]) *T {
	if !draw(s, what+"?", rapid.Bool()) {
		return nil
	}
	value := draw(s, what, g)
	return &value
}

func everyModule(string) bool { return true }

// step is one thing that happens.
func (s *story) step() {
	root := user.By{Superuser: true}
	permissions := rapid.Custom(func(t *rapid.T) domain.Permissions {
		return domain.Permissions{
			rapid.SampledFrom(domain.OwnModules).Draw(t, "module"): {View: true, Edit: rapid.Bool().Draw(t, "edit")},
		}
	})
	what := draw(s, "what", rapid.SampledFrom(strings.Fields(
		"company company= role role= group group= module user user user= user= user= join join join leave leave give "+
			"give take retire directory directory= follow follow mirror unlink server server= account account= mail "+
			"mail= mail= mail=")))
	s.mailStep(what)
	switch what {
	case "company":
		on(s, company.Kind, s.companies, uuid.New(), func(c company.State) ([]domain.Event, error) {
			return company.Create(c, company.Details{Name: draw(s, "name", someName)})
		})
	case "role":
		on(s, role.Kind, s.roles, uuid.New(), func(r role.State) ([]domain.Event, error) {
			return role.Create(r, role.Details{Name: draw(s, "name", someName), Widgets: []string{"map"}})
		})
	case "group":
		in, _ := known(s, s.companies)
		if draw(s, "global", rapid.Bool()) {
			in = uuid.Nil
		}
		on(s, group.Kind, s.groups, uuid.New(), func(g group.State) ([]domain.Event, error) {
			return group.Create(g, group.Details{Name: draw(s, "name", someName), CompanyID: in,
				Permissions: draw(s, "permissions", permissions)}, everyModule)
		})
	case "directory":
		on(s, directory.Kind, s.directory, uuid.New(), func(d directory.State) ([]domain.Event, error) {
			settings := directory.Defaults
			settings.Name, settings.URLs, settings.BaseDN, settings.BindDN = draw(s, "name", someName),
				[]string{"ldaps://dc.example.com"}, "DC=x", "CN=x"
			return directory.Connect(d, directory.By{Superuser: draw(s, "superuser", rapid.Bool())}, settings,
				domain.Sealed("sealed"))
		})
	case "module":
		key := draw(s, "key", rapid.SampledFrom([]string{"risks", "assets"}))
		on(s, module.Kind, s.modules, key, func(m module.State) ([]domain.Event, error) {
			return module.Register(m, key, draw(s, "name", someName))
		})
	case "user":
		id := uuid.New()
		if draw(s, "fence", rapid.IntRange(0, 4)) == 0 {
			s.write(domain.StreamName(user.Kind, id), []domain.Event{claim.Contested{Claim: "email-x"}}, nil)
		}
		in, _ := known(s, s.companies)
		on(s, user.Kind, s.users, id, func(u user.State) ([]domain.Event, error) {
			return user.Register(u, root, user.Details{
				Email: fmt.Sprintf("U%d@example.com", len(s.users)), FirstName: draw(s, "first", someName),
				CompanyID: in,
			}, user.Grants{Inactive: draw(s, "inactive", rapid.Bool())})
		})
		s.actor = eventstore.Actor{Kind: eventstore.ActorUser, ID: id.String()}
	}
	if id, ok := known(s, s.companies); ok && what == "company=" {
		on(s, company.Kind, s.companies, id, func(c company.State) ([]domain.Event, error) {
			if draw(s, "password", rapid.Bool()) {
				return company.SetCabinetPassword(c, domain.Sealed("sealed"))
			}
			return company.Change(c, company.Patch{Name: maybe(s, "name", someName)})
		})
	}
	if id, ok := known(s, s.roles); ok && what == "role=" {
		on(s, role.Kind, s.roles, id, func(r role.State) ([]domain.Event, error) {
			return role.Change(r, role.Patch{Name: maybe(s, "name", someName), Description: maybe(s, "text", someName),
				Widgets: maybe(s, "widgets", rapid.SampledFrom([][]string{nil, {"map", "list"}}))})
		})
	}
	if id, ok := known(s, s.groups); ok && (what == "group=" || what == "retire") {
		on(s, group.Kind, s.groups, id, func(g group.State) ([]domain.Event, error) {
			if what == "retire" {
				return group.Retire(g, "no longer needed")
			}
			return group.Change(g, group.Patch{
				Name: maybe(s, "name", someName), Permissions: maybe(s, "permissions", permissions),
				CompanyID: maybe(s, "global", rapid.Just(uuid.Nil)),
			}, everyModule)
		})
	}
	directoryID, hasDirectory := known(s, s.directory)
	if hasDirectory && what == "directory=" {
		on(s, directory.Kind, s.directory, directoryID, func(d directory.State) ([]domain.Event, error) {
			if draw(s, "check", rapid.Bool()) {
				return directory.EndCheck(d,
					directory.Findings{Accounts: 9, Close: draw(s, "close", rapid.IntRange(0, 9))}, false)
			}
			none := ""
			return directory.Change(d, directory.By{Superuser: draw(s, "superuser", rapid.Bool())}, directory.Patch{
				Name: maybe(s, "name", someName), Enabled: maybe(s, "enabled", rapid.Bool()), BindDN: &none,
				BindPassword: &domain.Sealed{},
			})
		})
	}
	id, ok := known(s, s.users)
	if !ok {
		return
	}
	roleID, hasRole := known(s, s.roles)
	groupID, hasGroup := known(s, s.groups)
	if in, member := known(s, s.users[id].Groups); member && what == "leave" {
		groupID, hasGroup = in, true
	}
	if given, has := known(s, s.users[id].Roles); has && what == "take" {
		roleID, hasRole = given, true
	}
	on(s, user.Kind, s.users, id, func(u user.State) ([]domain.Event, error) {
		switch {
		case what == "user=" && draw(s, "password", rapid.IntRange(0, 4)) == 0:
			return user.SetPassword(u, domain.Sealed("sealed"))
		case what == "user=" && draw(s, "move", rapid.IntRange(0, 4)) == 0:
			to, _ := known(s, s.companies)
			return user.Change(u, root, user.Patch{CompanyID: &to, Groups: &[]user.Group{}})
		case what == "user=":
			days := rapid.SampledFrom(
				[]domain.Date{{}, domain.DateOf(s.now.AddDate(0, 0, 9)), domain.DateOf(s.now.AddDate(0, 0, 20))})
			return user.Change(u, root, user.Patch{
				FirstName: maybe(s, "first", someName), LastName: maybe(s, "last", someName),
				Phone:     maybe(s, "phone", rapid.StringMatching(`[0-9]{0,5}`)),
				StartDate: maybe(s, "start", days), EndDate: maybe(s, "end", days),
				Active: maybe(s, "active", rapid.Bool()), Superuser: maybe(s, "superuser", rapid.Bool()),
				RequireTwoFactor: maybe(s, "two factor", rapid.Bool()),
			})
		case what == "join" && hasGroup:
			g := s.groups[groupID]
			return user.JoinGroup(u, root,
				user.Group{
					ID: groupID, Name: g.Name, CompanyID: g.CompanyID, Permissions: g.Permissions, Retired: g.Retired,
				})
		case what == "leave" && hasGroup:
			return user.LeaveGroup(u, root, groupID)
		case what == "give" && hasRole:
			return user.GiveRole(u, root, user.Role{ID: roleID, Name: s.roles[roleID].Name})
		case what == "follow" && hasDirectory:
			g := s.groups[groupID]
			return user.SyncFromDirectory(u, user.DirectoryEntry{
				DirectoryID: directoryID, Vouched: true, Synced: true,
				Missed: draw(s, "missed", rapid.SampledFrom([][]string{nil, {"a", "b"}})),
				Entry: directory.Entry{DN: "CN=" + draw(s, "dn", someName), GUID: "guid of " +
					id.String(), Email: u.Details.Email, LastName: draw(s, "last", someName)},
				Groups: []user.Group{
					{ID: groupID, Name: g.Name, CompanyID: g.CompanyID, Retired: g.Retired || !hasGroup},
				},
			})
		case what == "mirror":
			reason := draw(s, "closed", rapid.SampledFrom([]string{"", user.ClosedDisabled, user.ClosedVanished}))
			return user.SyncClosing(u, u.Directory.ID, true, u.Directory.GUID, reason)
		case what == "unlink":
			return user.UnlinkDirectory(u, root, "a new entry")
		case what == "take" && hasRole:
			return user.TakeRole(u, root, roleID)
		}
		return nil, domain.Refusef("nothing", "to do")
	})
}

// mailStep is something that happens to a mail server, a mail account or a mail.
func (s *story) mailStep(what string) {
	server, hasServer := known(s, s.servers)
	account, hasAccount := known(s, s.accounts)
	mail, hasMail := known(s, s.mails)
	port := rapid.IntRange(1, 3)
	switch {
	case what == "server":
		on(s, mailserver.Kind, s.servers, uuid.New(), func(m mailserver.State) ([]domain.Event, error) {
			return mailserver.Create(m, mailserver.Details{Name: draw(s, "name", someName), Host: "smtp.example.com",
				Port: draw(s, "port", port), Security: mailserver.TLS})
		})
	case what == "server=" && hasServer:
		on(s, mailserver.Kind, s.servers, server, func(m mailserver.State) ([]domain.Event, error) {
			return mailserver.Change(m,
				mailserver.Patch{Name: maybe(s, "name", someName), Port: maybe(s, "port", port)})
		})
	case what == "account" && hasServer:
		on(s, mailaccount.Kind, s.accounts, uuid.New(), func(m mailaccount.State) ([]domain.Event, error) {
			return mailaccount.Create(m, mailaccount.Details{ServerID: server, Address: "a@example.com"},
				draw(s, "password", rapid.SampledFrom([]domain.Sealed{nil, domain.Sealed("sealed")})))
		})
	case what == "account=" && hasAccount:
		on(s, mailaccount.Kind, s.accounts, account, func(m mailaccount.State) ([]domain.Event, error) {
			if draw(s, "retire", rapid.IntRange(0, 4)) == 0 {
				return mailaccount.Retire(m, "no longer needed")
			}
			return mailaccount.Change(m, mailaccount.Patch{DisplayName: maybe(s, "name", someName),
				Password: maybe(s, "password", rapid.SampledFrom([]domain.Sealed{nil, domain.Sealed("sealed")}))})
		})
	case what == "mail":
		on(s, mailmessage.Kind, s.mails, uuid.New(), func(m mailmessage.State) ([]domain.Event, error) {
			return mailmessage.Queue(m, mailmessage.Queued{
				Feature: mailmessage.SecurityNotice, Notice: mailmessage.NoticeLockedOut, To: "b@example.com",
				Subject: draw(s, "subject", someName),
				At:      s.now, ExpiresAt: s.now.Add(mailmessage.Patience), UserID: uuid.Max,
			})
		})
	case what == "mail=" && hasMail:
		on(s, mailmessage.Kind, s.mails, mail, func(m mailmessage.State) ([]domain.Event, error) {
			return s.mailAttempt(m, account)
		})
	}
}

// mailAttempt is the next thing that happens to a mail.
func (s *story) mailAttempt(m mailmessage.State, account uuid.UUID) ([]domain.Event, error) {
	switch draw(s, "attempt", rapid.IntRange(0, 6)) {
	case 0:
		return mailmessage.Retry(m, s.now)
	case 1:
		return mailmessage.GiveUp(m, "useless"), nil
	case 2:
		return mailmessage.Postpone(m, "no account", m.DueAt, 0.123456789), nil
	case 3:
		return mailmessage.Succeed(m, m.Attempts), nil
	case 4:
		outcome := mailmessage.Outcome{
			Reason: "busy", InDoubt: draw(s, "doubt", rapid.Bool()), Permanent: draw(s, "permanent", rapid.Bool()),
		}
		return mailmessage.Fail(m, m.Attempts, outcome, s.now, 0.123456789), nil
	default:
		events, _ := mailmessage.Begin(m, account, m.DueAt, m.DueAt.Add(time.Minute+time.Nanosecond))
		return events, nil
	}
}

// play applies a log in pages of a size to a database.
func play(t testing.TB, pool *pgxpool.Pool, after eventstore.Position, log []eventstore.Envelope, size int) {
	t.Helper()
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	for events := range slices.Chunk(log, size) {
		page := feed.Page{After: after, Events: events}
		for _, p := range Set().Projections {
			if err := p.ApplyPage(t.Context(), conn, page); err != nil {
				t.Fatalf("%s, page after %d: %v", p.Name, after, err)
			}
		}
		after = page.Position()
	}
}

// emptyReadModels takes a database back to its beginning.
func emptyReadModels(t testing.TB, pool *pgxpool.Pool) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), "TRUNCATE checkpoints, "+strings.Join(tableNames(), ", ")); err != nil {
		t.Fatal(err)
	}
	makeCheckpoints(t, pool)
}

// makeCheckpoints adds the rows of projections that have none yet.
func makeCheckpoints(t testing.TB, pool *pgxpool.Pool) {
	t.Helper()
	for _, p := range Set().Projections {
		if _, err := pool.Exec(t.Context(), "INSERT INTO checkpoints (name) VALUES ($1) ON CONFLICT DO NOTHING",
			p.Name); err != nil {
			t.Fatal(err)
		}
	}
}

// playAtOnce has two workers apply a log, each in its own pages and regardless of the other, as two instances would
// that both believe that it is theirs to do.
func playAtOnce(t testing.TB, pool *pgxpool.Pool, log []eventstore.Envelope) {
	t.Helper()
	var working sync.WaitGroup
	projections := Set().Projections
	for worker, size := range []int{3, 5} {
		working.Go(func() {
			conn, err := pool.Acquire(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Release()
			for n := range projections {
				p := projections[(n+worker)%len(projections)]
				var failed error // of the page after page.After
				for page := (feed.Page{}); ; {
					before := page.After
					page = feed.Page{}
					const position = "SELECT position FROM checkpoints WHERE name = $1"
					if err := conn.QueryRow(t.Context(), position, p.Name).Scan(&page.After); err != nil {
						t.Error(err)
						return
					}
					if failed != nil && page.After == before { // else the other worker was quicker
						t.Errorf("%s: %v", p.Name, failed)
						return
					}
					for _, e := range log {
						if e.Position > page.After && len(page.Events) < size {
							page.Events = append(page.Events, e)
						}
					}
					if len(page.Events) == 0 {
						break
					}
					failed = p.ApplyPage(t.Context(), conn, page)
				}
			}
		})
	}
	working.Wait()
}

// written is a log that has all its events already.
type written struct {
	eventstore.Log
	events []eventstore.Envelope
}

func (w written) ReadAll(_ context.Context, after eventstore.Position) iter.Seq2[eventstore.Recorded, error] {
	return func(yield func(eventstore.Recorded, error) bool) {
		for _, e := range w.events {
			if e.Position > after && !yield(e.Recorded, nil) {
				return
			}
		}
	}
}

func TestPagesOfAnySizeAndARebuildGiveTheSameRows(t *testing.T) {
	t.Parallel()
	small, middle, large, two, rebuilt := pgtest.NewDatabase(t), pgtest.NewDatabase(t), pgtest.NewDatabase(t),
		pgtest.NewDatabase(t), pgtest.NewDatabase(t)
	pools := map[string]*pgxpool.Pool{
		"pages of 7": middle, "pages of 500": large, "two workers": two, "a rebuild": rebuilt,
	}
	rapid.Check(t, func(rt *rapid.T) {
		s := newStory(rt)
		for range rapid.IntRange(10, 60).Draw(rt, "steps") {
			s.step()
		}
		emptyReadModels(t, small)
		for _, pool := range pools {
			emptyReadModels(t, pool)
		}
		play(t, small, 0, s.log, 1)
		play(t, middle, 0, s.log, 7)
		play(t, large, 0, s.log, 500)
		playAtOnce(t, two, s.log)
		// The live rows are behind when the rebuild comes.
		play(t, rebuilt, 0, s.log[:rapid.IntRange(0, len(s.log)).Draw(rt, "applied before")], 500)
		r, err := engine.RunRebuild(t.Context(), Set(), rebuilt, written{events: s.log},
			engine.RebuildRequest{Mode: engine.ModeRebuild}, nil)
		if err != nil || len(r.Differences) > 0 || len(r.NotCompared) > 0 {
			rt.Fatal(show(t, r), err)
		}
		one := tableHashes(t, small)
		for how, pool := range pools {
			if other := tableHashes(t, pool); !maps.Equal(one, other) {
				rt.Fatalf("%d events in pages of 1:\n%s\n%s:\n%s", len(s.log), show(t, one), how, show(t, other))
			}
		}
	})
}

// moment is what the live rows showed at a time.
type moment struct {
	at        time.Time
	users     map[uuid.UUID]string
	companies map[uuid.UUID]string
	roles     map[uuid.UUID]string
	groups    map[uuid.UUID]string
	servers   map[uuid.UUID]string
	accounts  map[uuid.UUID]string
	mails     map[uuid.UUID]string
}

func newMoment(at time.Time) moment {
	empty := func() map[uuid.UUID]string { return map[uuid.UUID]string{} }
	return moment{at, empty(), empty(), empty(), empty(), empty(), empty(), empty()}
}

func TestTheRowsOfAnEarlierTimeAreThoseThatWereLive(t *testing.T) {
	t.Parallel()
	pool := pgtest.NewDatabase(t)
	models := NewReadModels(pool)
	rapid.Check(t, func(rt *rapid.T) {
		ctx := t.Context()
		emptyReadModels(t, pool)
		s := newStory(rt)
		var moments []moment
		for range rapid.IntRange(5, 40).Draw(rt, "steps") {
			applied := len(s.log)
			after := eventstore.Position(0)
			if applied > 0 {
				after = s.log[applied-1].Position
			}
			s.step()
			play(t, pool, after, s.log[applied:], 100)
			m := newMoment(s.now)
			collect(t, m.users, s.users, func(id uuid.UUID) (User, error) { return models.User(ctx, id, s.now) })
			collect(t, m.companies, s.companies, func(id uuid.UUID) (Company, error) { return models.Company(ctx, id) })
			collect(t, m.roles, s.roles, func(id uuid.UUID) (Role, error) { return models.Role(ctx, id) })
			collect(t, m.groups, s.groups, func(id uuid.UUID) (Group, error) { return models.Group(ctx, id) })
			collect(t, m.servers, s.servers, func(id uuid.UUID) (MailServer, error) {
				return models.MailServer(ctx, id)
			})
			collect(t, m.accounts, s.accounts, func(id uuid.UUID) (MailAccount, error) {
				return models.MailAccount(ctx, id)
			})
			collect(t, m.mails, s.mails, func(id uuid.UUID) (MailMessage, error) { return models.MailMessage(ctx, id) })
			moments = append(moments, m)
		}
		for _, m := range moments {
			then := newMoment(m.at)
			collect(t, then.users, s.users, func(id uuid.UUID) (User, error) { return models.UserAsOf(ctx, id, m.at) })
			collect(t, then.companies, s.companies, func(id uuid.UUID) (Company, error) {
				return models.CompanyAsOf(ctx, id, m.at)
			})
			collect(t, then.roles, s.roles, func(id uuid.UUID) (Role, error) { return models.RoleAsOf(ctx, id, m.at) })
			collect(t, then.groups, s.groups, func(id uuid.UUID) (Group, error) {
				return models.GroupAsOf(ctx, id, m.at)
			})
			collect(t, then.servers, s.servers, func(id uuid.UUID) (MailServer, error) {
				return models.MailServerAsOf(ctx, id, m.at)
			})
			collect(t, then.accounts, s.accounts, func(id uuid.UUID) (MailAccount, error) {
				return models.MailAccountAsOf(ctx, id, m.at)
			})
			collect(t, then.mails, s.mails, func(id uuid.UUID) (MailMessage, error) {
				return models.MailMessageAsOf(ctx, id, m.at)
			})
			for _, pair := range [][2]map[uuid.UUID]string{
				{m.users, then.users}, {m.companies, then.companies}, {m.roles, then.roles}, {m.groups, then.groups},
				{m.servers, then.servers}, {m.accounts, then.accounts}, {m.mails, then.mails},
			} {
				if !maps.Equal(pair[0], pair[1]) {
					rt.Fatalf("at %s live:\n%v\nas of that time:\n%v", m.at, pair[0], pair[1])
				}
			}
		}
	})
}

// collect shows those of the known aggregates that exist.
func collect[S, T any](t testing.TB, into map[uuid.UUID]string, states map[uuid.UUID]S,
	get func(uuid.UUID) (T, error)) {
	t.Helper()
	for id := range states {
		value, err := get(id)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		into[id] = show(t, value)
	}
}
