package commands_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/commands/rightstest"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/approval"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/settings"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
)

// crowd are people who change things, and each other's rights to do so, all at the same time.
type crowd struct {
	*rights
	people, groups []uuid.UUID

	mu        sync.Mutex
	proposals []uuid.UUID
}

func newCrowd(t *testing.T) *crowd {
	t.Helper()
	c := &crowd{rights: newRights(t)}
	permissions := []domain.Permissions{
		{"users": all}, {"groups": all}, {"users": all, "groups": all, "risks": {View: true}}, riskDelete,
		{"users": all, "companies": all, "settings": all}, {"mail": all, "users": {View: true}},
	}
	for i, p := range permissions {
		c.groups = append(c.groups, c.group(t, []uuid.UUID{uuid.Nil, c.acme, c.nova}[i%3], p),
			c.group(t, []uuid.UUID{c.acme, c.nova, uuid.Nil}[i%3], p))
	}
	for i := range 9 {
		command := register(uuid.NewString() + "@example.com")
		command.Details.CompanyID = []uuid.UUID{c.acme, c.nova, uuid.Nil}[i%3]
		command.Superuser = i < 2
		c.people = append(c.people, must(t)(c.RegisterUser(t.Context(), admin(), command)))
	}
	return c
}

func pick[T any](random *rand.Rand, from []T) T { return from[random.IntN(len(from))] }

// act does something at random, whether or not it may.
func (c *crowd) act(t *testing.T, random *rand.Rand, by commands.Caller) {
	ctx := t.Context()
	who, in := pick(random, c.people), pick(random, c.groups)
	company := pick(random, []uuid.UUID{c.acme, c.nova, uuid.Nil})
	change := func(patch user.Patch) {
		c.ChangeUser(ctx, by, who, commands.ChangeUser{Patch: patch}) //nolint:errcheck // most may not
	}
	switch random.IntN(17) {
	case 0:
		c.JoinGroup(ctx, by, who, in) //nolint:errcheck // most may not
	case 1:
		c.LeaveGroup(ctx, by, who, in) //nolint:errcheck // as above
	case 2:
		change(user.Patch{Superuser: new(random.IntN(2) == 0)})
	case 3:
		change(user.Patch{Active: new(random.IntN(3) > 0)})
	case 4:
		c.ChangeUser(ctx, by, who, commands.ChangeUser{ //nolint:errcheck // as above
			Patch: user.Patch{CompanyID: &company}, GroupIDs: &[]uuid.UUID{},
		})
	case 5:
		change(user.Patch{Email: new(uuid.NewString() + "@example.com")})
	case 6, 7:
		change(user.Patch{Phone: new(uuid.NewString())})
	case 8, 9:
		p := domain.Permissions{pick(random, []string{"users", "groups", "risks", "mail"}): all}
		c.ChangeGroup(ctx, by, in, group.Patch{Permissions: &p}) //nolint:errcheck // as above
	case 10:
		c.ChangeGroup(ctx, by, in, group.Patch{CompanyID: new(uuid.Nil)}) //nolint:errcheck // as above
	case 11:
		c.CreateGroup(ctx, by, group.Details{ //nolint:errcheck // as above
			Name: uuid.NewString(), CompanyID: company, Permissions: domain.Permissions{"users": all},
		})
	case 12:
		command := register(uuid.NewString() + "@example.com")
		command.Details.CompanyID, command.GroupIDs = company, []uuid.UUID{in}
		c.RegisterUser(ctx, by, command) //nolint:errcheck // as above
	case 14:
		c.Propose(ctx, by, commands.Proposal{ //nolint:errcheck // as above
			Operation: "change-user", SubjectID: who, Reason: "asked by phone",
		})
		c.mu.Lock()
		defer c.mu.Unlock()
		c.proposals = append(c.proposals, by.CommandID)
	case 15, 16:
		c.mu.Lock()
		proposals := append([]uuid.UUID{uuid.New()}, c.proposals...)
		c.mu.Unlock()
		c.Confirm(ctx, by, pick(random, proposals), func(ctx context.Context, //nolint:errcheck // as above
			by commands.Caller, proposal approval.State) (commands.Result, error) {
			patch := user.Patch{Email: new(uuid.NewString() + "@example.com"), Phone: new(uuid.NewString())}
			return c.ChangeUser(ctx, by, proposal.SubjectID, commands.ChangeUser{Patch: patch})
		})
	case 13:
		c.ChangeSite(ctx, by, settings.SitePatch{Name: new(uuid.NewString())}) //nolint:errcheck // as above
	}
}

// However rights are given and taken away while they are used: in the order of the log, nobody ever did what that
// person had no right to at that moment.
func TestNobodyEverDidWithoutARight(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		c := newCrowd(t)
		random := rand.New(rand.NewPCG(seed, 20))
		var acting sync.WaitGroup
		for range 8 {
			own := rand.New(rand.NewPCG(seed, random.Uint64()))
			acting.Go(func() {
				for range 60 {
					by := superuser(pick(own, c.people))
					if own.IntN(6) == 0 {
						by = admin() // so that there are always some rights
					}
					c.act(t, own, by)
				}
			})
		}
		acting.Wait()
		var judge rightstest.Judge
		byPeople := map[string]int{}
		for recorded, err := range c.log.ReadAll(t.Context(), 0) {
			if err != nil {
				t.Fatal(err)
			}
			e := eventstore.Decode(recorded)
			if wrong := judge.Follow(e); wrong != nil {
				t.Errorf("seed %d: %s", seed, wrong)
			}
			if e.Meta.Actor.Kind == eventstore.ActorUser {
				byPeople[e.Type]++
			}
		}
		for _, happened := range []string{"user.phone_changed", "user.group_joined", "group.permissions_changed"} {
			if byPeople[happened] == 0 {
				t.Errorf("seed %d: nobody caused %s, so the test shows little: %v", seed, happened, byPeople)
			}
		}
	}
}

// The judge is not blind: it sees what was written past the commands.
func TestTheJudgeSeesAMissingRight(t *testing.T) {
	t.Parallel()
	r := newRights(t)
	clerk := r.with(t, r.acme, editUsers)
	theirs := r.account(t, r.nova)
	stream := domain.StreamName(user.Kind, theirs)
	recorded, err := r.log.ReadStream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	at := recorded[len(recorded)-1].Revision
	proposed, err := eventstore.Encode(stream, at, []domain.Event{user.Deactivated{}},
		eventstore.Metadata{At: r.Now(), Actor: clerk.Actor, CommandID: uuid.New()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.log.Append(t.Context(), stream, at, proposed); err != nil {
		t.Fatal(err)
	}
	var judge rightstest.Judge
	var wrong []string
	for recorded, err := range r.log.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if v := judge.Follow(eventstore.Decode(recorded)); v != nil {
			wrong = append(wrong, v.Why)
		}
	}
	if !slices.Equal(wrong, []string{"lacked users.edit"}) {
		t.Errorf("%q", wrong)
	}
}
