package commands_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/nodetest"
)

const (
	olenasEmail    = "olena@acme.example"
	olenasPassword = "in the directory"
)

var errDown = errors.New("connection refused")

// fakePerson is an entry of a fake directory server, with its password.
type fakePerson struct {
	directory.Entry
	password string
	refusal  string // why the server refuses the right password
}

// fakeServer is a directory server as commands see it.
type fakeServer struct {
	people       map[string]*fakePerson // by the address under which they are found
	down         error
	asked        int
	tried        int    // by tests and checks
	bindPassword string // that it was asked with
	before       func() // runs before a sign-in is answered
}

// directoryStory is a handler with fake directories: it stands in for the servers and for the index of the read models.
type directoryStory struct {
	*commands.Handler
	*clock
	log      eventstore.Log
	servers  map[string]*fakeServer // by the name of the connection
	ids      map[string]uuid.UUID   // likewise
	enabled  []uuid.UUID
	groups   []uuid.UUID
	indexErr error
	paused   time.Duration
}

func newDirectoryStory(t *testing.T) *directoryStory {
	t.Helper()
	client := nodetest.Connect(t)
	s := &directoryStory{
		Handler: newHandler(t, client), clock: &clock{}, log: client, servers: map[string]*fakeServer{},
		ids: map[string]uuid.UUID{},
	}
	s.now.Store(time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC).Unix())
	s.Handler.Now = s.clock.Now
	s.Directory, s.DirectoryIndex = fakeDirectory{s}, s
	var pausing sync.Mutex
	s.Pause = func(_ context.Context, d time.Duration) bool {
		pausing.Lock()
		defer pausing.Unlock()
		s.paused += d
		return true
	}
	return s
}

// connect adds a directory in which Olena is; a superuser approves it unless the caller is none.
func (s *directoryStory) connect(t *testing.T, name string, caller commands.Caller,
	change func(*commands.ConnectDirectory)) *fakeServer {
	t.Helper()
	command := commands.ConnectDirectory{Settings: directory.Defaults, BindPassword: "bind"}
	command.Name, command.URLs, command.BaseDN, command.BindDN = name, []string{"ldaps://" + name + ".example"},
		"DC=acme,DC=example", "CN=SecBoard"
	if change != nil {
		change(&command)
	}
	s.ids[name] = must(t)(s.ConnectDirectory(t.Context(), caller, command))
	if command.Enabled {
		s.enabled = append(s.enabled, s.ids[name])
	}
	s.servers[name] = &fakeServer{people: map[string]*fakePerson{olenasEmail: olena()}}
	return s.servers[name]
}

func olena() *fakePerson {
	return &fakePerson{password: olenasPassword, Entry: directory.Entry{
		DN: "CN=Olena", GUID: "guid of Olena", Email: olenasEmail, FirstName: "Olena", LastName: "Kovalenko",
	}}
}

// clerk is somebody who may connect directories, and is no superuser.
func clerk(t *testing.T, s *directoryStory) commands.Caller {
	t.Helper()
	return person(t, s.Handler, uuid.New(), domain.Permissions{"directory": all})
}

func root(*testing.T, *directoryStory) commands.Caller { return admin() }

func (s *directoryStory) server(server directory.Server) *fakeServer {
	f := s.servers[server.Name]
	f.bindPassword = server.BindPassword
	return f
}

func (s *directoryStory) SignIn(ctx context.Context, email, password string) (commands.SignedIn, error) {
	return s.Handler.SignIn(ctx, commands.System(), email, password)
}

// fakeDirectory keeps the methods of commands.Directory apart from the handler's.
type fakeDirectory struct{ *directoryStory }

func (f fakeDirectory) SignIn(_ context.Context, server directory.Server,
	email, password string) (directory.Entry, error) {
	d := f.server(server)
	if strings.HasSuffix(email, "@nobody.invalid") { // for a refusal that is to look like all others
		if d.down != nil {
			return directory.Entry{}, d.down
		}
		return directory.Entry{}, &directory.Refused{Reason: directory.Unknown}
	}
	d.asked++
	if d.before != nil {
		d.before()
	}
	if d.down != nil {
		return directory.Entry{}, d.down
	}
	found := d.people[strings.ToLower(email)]
	switch {
	case found == nil:
		return directory.Entry{}, &directory.Refused{Reason: directory.Unknown}
	case found.Refusal() != "":
		return found.Entry, &directory.Refused{Reason: found.Refusal()}
	case found.refusal != "":
		return found.Entry, &directory.Refused{Reason: found.refusal}
	case found.password != password:
		return directory.Entry{}, &directory.Refused{Reason: directory.WrongPassword}
	}
	return found.Entry, nil
}

func (f fakeDirectory) Test(_ context.Context, server directory.Server,
	email, _ string) ([]directory.Step, *directory.Entry, error) {
	d := f.server(server)
	d.tried++
	if d.down != nil {
		return nil, nil, d.down
	}
	steps := []directory.Step{{Step: directory.StepSearch, OK: d.people[email] != nil}}
	if found := d.people[email]; found != nil {
		return steps, &found.Entry, nil
	}
	return steps, nil, nil
}

func (f fakeDirectory) Entries(_ context.Context, server directory.Server) iter.Seq2[directory.Entry, error] {
	d := f.server(server)
	d.tried++
	return func(yield func(directory.Entry, error) bool) {
		if d.down != nil {
			yield(directory.Entry{}, d.down)
			return
		}
		for _, found := range d.people {
			if !yield(found.Entry, nil) {
				return
			}
		}
	}
}

func (s *directoryStory) EnabledDirectories(context.Context) ([]uuid.UUID, error) {
	return slices.Clone(s.enabled), s.indexErr
}

func (s *directoryStory) GroupsLike(context.Context, []string) ([]uuid.UUID, error) {
	return s.groups, s.indexErr
}

func (s *directoryStory) AccountsOfEntry(ctx context.Context, guid string) ([]uuid.UUID, error) {
	return s.linked(ctx, func(e user.DirectoryLinked) bool { return e.GUID == guid })
}

func (s *directoryStory) AccountsOfDirectory(ctx context.Context, id, after uuid.UUID, limit int) ([]uuid.UUID, error) {
	ids, err := s.linked(ctx, func(e user.DirectoryLinked) bool { return e.DirectoryID == id })
	ids = slices.DeleteFunc(ids, func(id uuid.UUID) bool { return slices.Compare(id[:], after[:]) <= 0 })
	return ids[:min(len(ids), limit)], err
}

// linked lists, in order, the accounts that were ever bound so; commands must look for themselves whether they still
// are.
func (s *directoryStory) linked(ctx context.Context, so func(user.DirectoryLinked) bool) ([]uuid.UUID, error) {
	var ids []uuid.UUID
	for recorded, err := range s.log.ReadAll(ctx, 0) {
		if err != nil {
			return nil, err
		}
		e := eventstore.Decode(recorded)
		if event, ok := e.Event.(user.DirectoryLinked); ok && so(event) {
			_, id := domain.SplitStream(e.Stream)
			ids = append(ids, uuid.MustParse(id))
		}
	}
	slices.SortFunc(ids, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	return slices.Compact(ids), s.indexErr
}

// recorded lists what the history says of all sign-ins, the oldest first.
func (s *directoryStory) recorded(t *testing.T) (all []string) {
	t.Helper()
	for recorded, err := range s.log.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		switch e := eventstore.Decode(recorded).Event.(type) {
		case signin.Failed:
			all = append(all, e.Reason)
		case signin.Succeeded:
			all = append(all, "in by "+e.Method)
		case signin.LockoutBegan:
			all = append(all, "LOCKED")
		}
	}
	return all
}

// account finds an account by its e-mail address.
func (s *directoryStory) account(t *testing.T, email string) (id uuid.UUID, account user.State) {
	t.Helper()
	for _, streams := range registrations(t, s.log) {
		for _, stream := range streams {
			_, text := domain.SplitStream(stream)
			if state := accountOf(t, s.log, uuid.MustParse(text)); state.Details.Email == email {
				return uuid.MustParse(text), state
			}
		}
	}
	return uuid.Nil, user.State{}
}
