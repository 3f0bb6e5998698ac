// Package bulk makes up the log of a large installation for measurements: as many events and accounts as asked for,
// always the same for a seed. Every event is one that the deciders would have written, with its claim where it has a
// unique value.
package bulk

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/claim"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/installation"
	"github.com/secboard/secboard/domain/role"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
)

// Options of a log.
type Options struct {
	Events   int // at least Smallest(Accounts)
	Accounts int
	Seed     uint64
	Keyset   string // fingerprint, for the first event
	// ClaimName makes the second part of a claim's stream name; secrets.Keyset.Name does.
	ClaimName func(kind, value string) (string, error)
	// SealPassword gives the sealed hash of Password for an account's stream. nil: nobody has a password.
	SealPassword func(stream string) (domain.Sealed, error)
}

// The first WithPassword accounts can sign in, with Password; their addresses begin with "person.<n>@".
const (
	WithPassword = 200
	Password     = "only for measurements"
)

func (o Options) passwords() int {
	if o.SealPassword == nil {
		return 0
	}
	return min(o.Accounts, WithPassword)
}

const (
	companies        = 50
	roles            = 20
	groupsPerCompany = 20
	globalGroups     = 20
	perClaim         = 3 // events of whatever has a unique value: reserved, recorded, confirmed

	organisation = 1 + perClaim*(companies+roles+groupsPerCompany*companies+globalGroups)
)

// Smallest is the least number of events that a log with so many accounts has.
func Smallest(accounts int) int {
	return organisation + perClaim*accounts + min(accounts, WithPassword)
}

// start is when the log begins; its events are spread over the five years behind it.
var start = time.Date(2021, 1, 4, 8, 0, 0, 0, time.UTC)

const span = 5 * 365 * 24 * time.Hour

// account is what the next event about it depends on.
type account struct {
	id         uuid.UUID
	company    int
	revision   eventstore.Revision
	signIns    eventstore.Revision
	groups     []int
	role       int // -1: none
	lastName   string
	department string
	position   string
	phone      string
	inactive   bool
}

type unit struct {
	id      uuid.UUID
	name    string
	company int // of a group; -1: global
}

type writer struct {
	Options
	random    *rand.Rand
	yield     func(eventstore.Append, error) bool
	written   int
	stopped   bool
	actor     eventstore.Actor
	companies []unit
	roles     []unit
	groups    []unit
	accounts  []account
}

// Appends gives the log as appends in its order.
func Appends(options Options) iter.Seq2[eventstore.Append, error] {
	return func(yield func(eventstore.Append, error) bool) {
		random := rand.New(rand.NewPCG(options.Seed, 1)) //nolint:gosec // the same data for a seed is what is wanted
		w := &writer{
			Options: options, random: random, yield: yield, actor: eventstore.Actor{Kind: eventstore.ActorOperator},
		}
		if options.Events < Smallest(options.Accounts) {
			yield(eventstore.Append{},
				fmt.Errorf("%d accounts need at least %d events", options.Accounts, Smallest(options.Accounts)))
			return
		}
		w.organisation()
		for w.written < w.Events && !w.stopped {
			// Registrations are spread evenly over what is left.
			missing := w.Accounts - len(w.accounts)
			steps := w.Events - w.written - (perClaim-1)*missing - max(0, w.passwords()-len(w.accounts))
			if len(w.accounts) == 0 || w.random.IntN(steps) < missing {
				w.register()
			} else {
				w.change(&w.accounts[w.random.IntN(len(w.accounts))])
			}
		}
	}
}

func (w *writer) now() time.Time {
	return start.Add(time.Duration(float64(span) * float64(w.written) / float64(w.Events))).Truncate(time.Microsecond)
}

// newID is a UUIDv7 of the log's time and seed.
func (w *writer) newID() uuid.UUID {
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:], uint64(w.now().UnixMilli())<<16|0x7000|w.random.Uint64()&0xfff)
	binary.BigEndian.PutUint64(id[8:], w.random.Uint64()>>2|1<<63)
	return id
}

// append writes events after the expected revision.
func (w *writer) append(stream string, expected eventstore.Revision, events ...domain.Event) {
	if w.stopped {
		return
	}
	command := w.newID()
	meta := eventstore.Metadata{
		At: w.now(), Actor: w.actor, CommandID: command, CorrelationID: command, CausationID: command,
	}
	if w.actor.Kind == eventstore.ActorUser {
		meta.Session, meta.IP = w.newID().String(), fmt.Sprintf("192.0.2.%d", 1+w.random.IntN(254))
		meta.UserAgent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	}
	proposed, err := eventstore.Encode(stream, expected, events, meta)
	w.written += len(events)
	w.stopped = !w.yield(eventstore.Append{Stream: stream, Expected: expected, Events: proposed}, err) || err != nil
}

// claimed writes the first event of a stream and, around it, the claim of its unique value.
func (w *writer) claimed(stream string, key claim.Key, event domain.Event) {
	name, err := w.ClaimName(key.Kind, key.Value)
	if err != nil {
		w.stopped = true
		w.yield(eventstore.Append{}, err)
		return
	}
	claimStream := key.Kind + "-" + name
	w.append(claimStream, eventstore.NoStream, claim.Reserved{Owner: stream, At: w.now()})
	w.append(stream, eventstore.NoStream, event)
	w.append(claimStream, 0, claim.Confirmed{})
}

func (w *writer) organisation() {
	w.append(installation.Stream, eventstore.NoStream, installation.Initialized{Keyset: w.Keyset})
	for n := range companies {
		c := unit{id: w.newID(), name: fmt.Sprintf("Company %d", n)}
		w.claimed(domain.StreamName(company.Kind, c.id), company.NameClaim(c.name), company.Created{Name: c.name})
		w.companies = append(w.companies, c)
	}
	for n := range roles {
		r := unit{id: w.newID(), name: fmt.Sprintf("Role %d", n)}
		w.claimed(domain.StreamName(role.Kind, r.id), role.NameClaim(r.name),
			role.Created{Name: r.name, Widgets: []string{"risks", "measures"}})
		w.roles = append(w.roles, r)
	}
	for n := range groupsPerCompany*companies + globalGroups {
		g, of := unit{id: w.newID(), name: fmt.Sprintf("Group %d", n), company: n / groupsPerCompany}, uuid.Nil
		if g.company < companies {
			of = w.companies[g.company].id
		} else {
			g.company = -1
		}
		module := domain.OwnModules[n%len(domain.OwnModules)]
		w.claimed(domain.StreamName(group.Kind, g.id), group.NameClaim(of, g.name), group.Created{
			Name: g.name, Description: "Access to " + module, CompanyID: of,
			Permissions: domain.Permissions{module: {View: true, Edit: n%3 == 0, Export: n%5 == 0}},
		})
		w.groups = append(w.groups, g)
	}
}

var (
	firstNames = strings.Fields("Олена Андрій Ірина Богдан Žofie Anna Boris Chiara Dmytro Elif Farid Greta Hanna " +
		"Ivan Jana Karim Lena Marek Nadia Oleh")
	lastNames = strings.Fields("Коваленко Шевченко Novák Müller Rossi Yılmaz García Smith Kowalski Ng Silva Petrov " +
		"Haddad Larsen Dubois")
	departments = strings.Split("Risk management|Compliance|Information security|Internal audit|Operations|Finance",
		"|")
	positions = strings.Split("Analyst|Senior analyst|Auditor|Engineer|Head of department|Assistant", "|")
)

func (w *writer) one(of []string) string { return of[w.random.IntN(len(of))] }

func (w *writer) phone() string { return fmt.Sprintf("+380 44 %07d", w.random.IntN(10_000_000)) }

func (w *writer) register() {
	n := len(w.accounts)
	a := account{
		id: w.newID(), company: w.random.IntN(companies), signIns: eventstore.NoStream, role: -1, phone: w.phone(),
		lastName: w.one(lastNames), department: w.one(departments), position: w.one(positions),
	}
	email := fmt.Sprintf("person.%d@company%d.example", n, a.company)
	w.claimed(domain.StreamName(user.Kind, a.id), user.EmailClaim(email), user.Registered{
		Email: email, FirstName: w.one(firstNames), LastName: a.lastName, Phone: a.phone,
		CompanyID:  w.companies[a.company].id,
		Department: a.department, Position: a.position, Source: user.SourceLocal,
	})
	if n < w.passwords() {
		w.setPassword(&a)
	}
	w.accounts = append(w.accounts, a)
	w.actor = eventstore.Actor{
		Kind: eventstore.ActorUser, ID: w.accounts[w.random.IntN(min(len(w.accounts), 100))].id.String(),
	}
}

func (w *writer) setPassword(a *account) {
	stream := domain.StreamName(user.Kind, a.id)
	hash, err := w.SealPassword(stream)
	if err != nil {
		w.stopped = true
		w.yield(eventstore.Append{}, err)
		return
	}
	w.append(stream, a.revision, user.PasswordSet{Hash: hash})
	a.revision++
}

// change writes one event about an account: in 100 of them about 55 memberships, 24 sign-ins, 6 roles, 15 of the
// profile.
func (w *writer) change(a *account) {
	stream := domain.StreamName(user.Kind, a.id)
	event := w.event(a)
	if event == nil {
		w.append(domain.StreamName(signin.Kind, a.id), a.signIns,
			signin.Succeeded{Session: w.newID(), Method: signin.ByPassword})
		a.signIns++
		return
	}
	w.append(stream, a.revision, event)
	a.revision++
}

// event is nil for a sign-in, which has a stream of its own.
func (w *writer) event(a *account) domain.Event {
	switch chance := w.random.IntN(100); {
	case chance < 55:
		return w.membership(a)
	case chance < 79 || a.inactive && chance < 99:
		return nil
	case chance < 85 && a.role < 0:
		a.role = w.random.IntN(roles)
		return user.RoleGiven{RoleID: w.roles[a.role].id, RoleName: w.roles[a.role].name}
	case chance < 85:
		taken := w.roles[a.role]
		a.role = -1
		return user.RoleTaken{RoleID: taken.id, RoleName: taken.name}
	case chance < 88:
		return user.NameChanged{LastName: changed(&a.lastName, a.lastName+"-"+w.one(lastNames), 40, w.one(lastNames))}
	case chance < 92:
		return user.PhoneChanged{Phone: changed(&a.phone, w.phone()+"0", 40, "")}
	case chance < 95:
		return user.DepartmentChanged{
			Department: changed(&a.department, w.one(departments)+" "+w.one(positions), 60, ""),
		}
	case chance < 99:
		return user.PositionChanged{Position: changed(&a.position, w.one(positions)+", "+w.one(departments), 60, "")}
	case a.inactive:
		a.inactive = false
		return user.Activated{}
	}
	a.inactive = true
	return user.Deactivated{Reason: "on leave"}
}

// changed replaces a value. One that would be longer than limit becomes short instead.
func changed(value *string, to string, limit int, short string) domain.Changed[string] {
	if len(to) > limit || to == *value {
		to = short + "1"
	}
	change := domain.Changed[string]{From: *value, To: to}
	*value = to
	return change
}

func (w *writer) membership(a *account) domain.Event {
	const most = 5
	choice := w.random.IntN(groupsPerCompany + globalGroups)
	index := a.company*groupsPerCompany + choice
	if choice >= groupsPerCompany {
		index = companies*groupsPerCompany + choice - groupsPerCompany
	}
	for i, in := range a.groups {
		if in == index || len(a.groups) == most {
			left := w.groups[in]
			a.groups = append(a.groups[:i], a.groups[i+1:]...)
			return user.GroupLeft{GroupID: left.id, GroupName: left.name}
		}
	}
	a.groups = append(a.groups, index)
	return user.GroupJoined{GroupID: w.groups[index].id, GroupName: w.groups[index].name}
}
