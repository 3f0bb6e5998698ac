package signin_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/scenario"
	"github.com/secboard/secboard/domain/signin"
)

const (
	home     = "203.0.113.1"
	attacker = "198.51.100.1"
)

var (
	start  = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	policy = signin.Policy{Attempts: 3, Within: 10 * time.Minute, For: 20 * time.Minute}
)

func attempt(after time.Duration, network string) signin.Attempt {
	return signin.Attempt{Now: start.Add(after), Network: network}
}

// log is a stream of sign-ins, as far as decisions know it: by the newest event.
type log struct {
	t      testing.TB
	events []domain.Event
}

func (l *log) state() (s signin.State) {
	if len(l.events) > 0 {
		s.Evolve(l.events[len(l.events)-1])
	}
	return s
}

func (l *log) wrong(after time.Duration, network string) []domain.Event {
	return l.record(signin.Fail(l.state(), attempt(after, network), signin.WrongPassword, policy))
}

func (l *log) record(events []domain.Event) []domain.Event {
	l.events = append(l.events, events...)
	return events
}

func (l *log) enter(after time.Duration, network string) {
	l.t.Helper()
	events, ok := signin.Succeed(l.state(), attempt(after, network), signin.Entry{Method: signin.ByPassword}, policy)
	if !ok {
		l.t.Fatal("refused")
	}
	l.record(events)
}

func (l *log) challenge(after time.Duration) uuid.UUID {
	id := uuid.New()
	l.record(signin.Challenge(l.state(), attempt(after, home), id, policy))
	return id
}

func (l *log) wrongCode(after time.Duration, challenge uuid.UUID) []domain.Event {
	return l.record(signin.FailCode(l.state(), attempt(after, home), challenge, signin.WrongCode, policy))
}

// decided leaves out what the events carry, which later decisions show.
var decided = cmp.Options{cmpopts.EquateEmpty(), cmpopts.IgnoreTypes(signin.Memory{})}

func expect(t *testing.T, got []domain.Event, want ...domain.Event) {
	t.Helper()
	if diff := cmp.Diff(want, got, decided); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
}

var failed = signin.Failed{Reason: signin.WrongPassword}

func TestTheLastOfTooManyGuessesLocksItsNetworkOut(t *testing.T) {
	t.Parallel()
	l := log{t: t}
	expect(t, l.wrong(0, attacker), failed)
	expect(t, l.wrong(9*time.Minute, attacker), failed)
	expect(t, l.wrong(10*time.Minute, home), failed)
	expect(t, l.wrong(18*time.Minute, attacker), failed,
		signin.LockoutBegan{Network: attacker, Until: start.Add(38 * time.Minute)})
	// While it lasts, nothing fills the log.
	expect(t, l.wrong(19*time.Minute, attacker))
	state := l.state()
	for name, test := range map[string]struct {
		attempt signin.Attempt
		locked  bool
	}{
		"the network that guessed": {attempt(38*time.Minute-1, attacker), true},
		"another one":              {attempt(19*time.Minute, home), false},
		"after it":                 {attempt(38*time.Minute, attacker), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if state.Locked(test.attempt) != test.locked {
				t.Errorf("locked: %t", !test.locked)
			}
		})
	}
	expect(t, l.wrong(38*time.Minute, attacker), failed)
}

func TestGuessesFarApartDontAddUp(t *testing.T) {
	t.Parallel()
	l := log{t: t}
	for i := range 20 {
		expect(t, l.wrong(time.Duration(i)*policy.Within, attacker), failed)
	}
}

func TestWhoKnowsThePasswordDoesntGuess(t *testing.T) {
	t.Parallel()
	for _, reason := range []string{signin.Inactive, signin.NotStarted, signin.Expired} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			l := log{t: t}
			for range 2 * policy.Attempts {
				expect(t, l.record(signin.Fail(l.state(), attempt(0, home), reason, policy)),
					signin.Failed{Reason: reason})
			}
		})
	}
}

// An account without a password is guessed at as any other: its stream stays as short.
func TestGuessesAtAnAccountWithoutAPasswordCount(t *testing.T) {
	t.Parallel()
	l := log{t: t}
	for range 100 {
		l.record(signin.Fail(l.state(), attempt(0, home), signin.NoPassword, policy))
	}
	if len(l.events) != policy.Attempts+1 {
		t.Errorf("%d events", len(l.events))
	}
}

func TestASuccessForgetsTheGuessesOfItsNetworkAlone(t *testing.T) {
	t.Parallel()
	l := log{t: t}
	for range policy.Attempts - 1 {
		l.wrong(0, home)
		l.wrong(0, attacker)
	}
	l.enter(time.Second, home)
	expect(t, l.wrong(2*time.Second, home), failed)
	if events := l.wrong(2*time.Second, attacker); len(events) != 2 {
		t.Errorf("the owner's success gave the attacker more guesses: %v", events)
	}
}

func TestAddressesWithoutAnAccountAreToldApart(t *testing.T) {
	t.Parallel()
	l := log{t: t}
	of := func(who string) signin.Attempt {
		return signin.Attempt{Now: start, Network: attacker, Of: who}
	}
	for range policy.Attempts {
		l.record(signin.Fail(l.state(), of("a"), signin.WrongPassword, policy))
	}
	if !l.state().Locked(of("a")) || l.state().Locked(of("b")) {
		t.Error("an address is locked out as if it were another one, or not at all")
	}
}

func TestLockoutsEndEarly(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		end  func(signin.State, time.Time, signin.Policy) []domain.Event
		want domain.Event
	}{
		"by an administrator":        {signin.Unlock, signin.Unlocked{}},
		"by a reset of the password": {signin.ResetPassword, signin.PasswordReset{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := log{t: t}
			expect(t, test.end(l.state(), start, policy))
			for range signin.MostCodes {
				l.wrongCode(0, uuid.Nil)
			}
			expect(t, test.end(l.state(), start, policy)) // not what wrong codes led to
			for range policy.Attempts {
				l.wrong(0, home)
			}
			expect(t, test.end(l.state(), start.Add(policy.For), policy))
			expect(t, l.record(test.end(l.state(), start.Add(time.Minute), policy)), test.want)
			if l.state().Locked(attempt(time.Minute, home)) {
				t.Error("still locked out")
			}
			if !l.state().CodesRefused(start.Add(time.Minute)) {
				t.Error("wrong codes were forgotten")
			}
		})
	}
}

func TestWrongCodesCountForTheAccountWhateverTheChallenge(t *testing.T) {
	t.Parallel()
	l := log{t: t}
	wrong := signin.Failed{Reason: signin.WrongCode}
	for i := range signin.MostCodes - 1 {
		expect(t, l.wrongCode(time.Duration(i)*time.Minute, l.challenge(time.Duration(i)*time.Minute)), wrong)
		l.enter(time.Duration(i)*time.Minute, home) // successes give no more guesses
	}
	expect(t, l.wrongCode(10*time.Minute, l.challenge(10*time.Minute)), wrong,
		signin.LockoutBegan{Codes: true, Until: start.Add(signin.CodesWithin)})
	expect(t, l.wrongCode(11*time.Minute, l.challenge(11*time.Minute)))
	// An hour after the first there is one more, until the second is an hour ago, too.
	expect(t, l.wrongCode(signin.CodesWithin, l.challenge(signin.CodesWithin)), wrong,
		signin.LockoutBegan{Codes: true, Until: start.Add(signin.CodesWithin + time.Minute)})
}

func TestAChallengeTakesFiveTries(t *testing.T) {
	t.Parallel()
	l := log{t: t}
	id, other := l.challenge(0), l.challenge(0)
	for range 4 {
		l.wrongCode(0, id)
	}
	if !l.state().Answerable(id, start) {
		t.Error("void after four tries")
	}
	l.wrongCode(0, id)
	if l.state().Answerable(id, start) || !l.state().Answerable(other, start) {
		t.Error("after five tries this challenge is void, and no other")
	}
	expect(t, l.wrongCode(0, id))
}

func TestAChallengeWorksOnceAndForFiveMinutes(t *testing.T) {
	t.Parallel()
	l := log{t: t}
	id, other := l.challenge(0), l.challenge(0)
	events, _ := signin.Succeed(l.state(), attempt(0, home), signin.Entry{Method: signin.ByCode, Challenge: id}, policy)
	l.record(events)
	if l.state().Answerable(id, start) || !l.state().Answerable(other, start.Add(signin.ChallengeLife)) ||
		l.state().Answerable(other, start.Add(signin.ChallengeLife+1)) || l.state().Answerable(uuid.New(), start) {
		t.Error("a challenge works once, and as long as it says")
	}
}

func TestACodeWorksOnceWhateverHappenedSince(t *testing.T) {
	t.Parallel()
	memory := signin.Memory{Step: 40}
	for _, later := range []domain.Event{
		signin.Succeeded{Memory: memory}, signin.Challenged{Memory: memory}, signin.Failed{Memory: memory},
		signin.LockoutBegan{Memory: memory}, signin.Unlocked{Memory: memory}, signin.PasswordReset{Memory: memory},
		signin.SignedOut{Memory: memory},
	} {
		t.Run(later.EventType(), func(t *testing.T) {
			t.Parallel()
			l := log{t, []domain.Event{later}}
			l.wrong(0, attacker)
			l.record(signin.SignOut(l.state(), start, uuid.New(), policy))
			for step, works := range map[int64]bool{39: false, 40: false, 41: true} {
				entry := signin.Entry{Method: signin.ByCode, Step: step}
				if _, ok := signin.Succeed(l.state(), attempt(0, home), entry, policy); ok != works {
					t.Errorf("the code of step %d works: %t", step, ok)
				}
			}
		})
	}
}

func TestASessionStarts(t *testing.T) {
	t.Parallel()
	entry := signin.Entry{Session: uuid.New(), Method: signin.ByPassword, Limited: true}
	scenario.Given[signin.State]().When(func(s signin.State) ([]domain.Event, error) {
		events, _ := signin.Succeed(s, attempt(0, home), entry, policy)
		return events, nil
	}).Then(t, signin.Succeeded{Session: entry.Session, Method: entry.Method, Limited: true,
		Memory: signin.Memory{Known: []string{home}}})
}

// Networks that guess together are slowed down, but for those from which somebody signed in before; and nobody is shut
// out, wherever the owner is.
func TestGuessingFromManyNetworksIsSlowedDown(t *testing.T) {
	t.Parallel()
	l := log{t: t}
	l.enter(0, home)
	guesses := 0
	for i := range 1000 {
		for range 2 * policy.Attempts {
			if len(l.wrong(time.Minute, fmt.Sprintf("10.0.%d.%d", i/256, i%256))) > 0 {
				guesses++
			}
		}
	}
	if most := 10*policy.Attempts + 2*990; guesses != most {
		t.Errorf("%d guesses from 1000 networks, want %d", guesses, most)
	}
	state := l.state()
	fresh := attempt(time.Minute, "192.0.2.1")
	if !state.Slowed(fresh, policy) || state.Locked(fresh) {
		t.Error("a new network has to wait, and may sign in")
	}
	if known := attempt(time.Minute, home); state.Slowed(known, policy) || state.Locked(known) {
		t.Error("where the owner signed in before, there is nothing to wait for")
	}
	if state.Slowed(attempt(time.Minute+policy.For, "192.0.2.1"), policy) {
		t.Error("it lasts longer than what led to it")
	}
	data, err := json.Marshal(l.events[len(l.events)-1])
	if err != nil || len(data) > 32<<10 {
		t.Errorf("an event of %d bytes, %v", len(data), err)
	}
}

func TestAnIPv6SiteGuessesAsFewNetworksDo(t *testing.T) {
	t.Parallel()
	l := log{t: t}
	guesses := 0
	for i := range 1000 {
		if len(l.wrong(0, fmt.Sprintf("2001:db8:1:%x::/64", i))) > 0 {
			guesses++
		}
	}
	if guesses != 4*policy.Attempts {
		t.Errorf("%d guesses from one site", guesses)
	}
	if l.state().Locked(attempt(0, "2001:db8:2:1::/64")) {
		t.Error("another site is locked out")
	}
}

func TestOneConnectionsAddressesAreOneNetwork(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		a, b string
		same bool
	}{
		"one /64":       {"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true},
		"another /64":   {"2001:db8:1:2::1", "2001:db8:1:3::1", false},
		"IPv4":          {"203.0.113.9", "203.0.113.9", true},
		"another IPv4":  {"203.0.113.9", "203.0.113.8", false},
		"IPv4 in IPv6":  {"203.0.113.9", "::ffff:203.0.113.9", true},
		"other in IPv6": {"::ffff:203.0.113.8", "::ffff:203.0.113.9", false},
		"with a zone":   {"fe80::1%eth0", "fe80::1", true},
		"none":          {"", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if same := signin.Network(test.a) == signin.Network(test.b); same != test.same {
				t.Errorf("%s, %s", signin.Network(test.a), signin.Network(test.b))
			}
		})
	}
}

// A naive count, of the whole history, of who may guess: it agrees with what the newest event carries.
func TestTheNewestEventDecidesAsTheWholeHistoryDoes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		networks := rapid.SampledFrom([]string{"10.0.0.1", "10.0.0.2", "10.0.0.3"})
		l, now := log{t: t}, time.Duration(0)
		wrong, last, until := map[string]int{}, map[string]time.Duration{}, map[string]time.Duration{}
		for range rapid.IntRange(1, 60).Draw(rt, "attempts") {
			now += time.Duration(rapid.IntRange(0, 900).Draw(rt, "seconds")) * time.Second
			network := networks.Draw(rt, "network")
			if locked := now < until[network]; l.state().Locked(attempt(now, network)) != locked {
				rt.Fatalf("after %s %s is locked out: %t", now, network, !locked)
			}
			if now >= until[network] && until[network] > 0 || now-last[network] >= policy.Within {
				wrong[network] = 0
			}
			if now < until[network] {
				l.wrong(now, network)
				continue
			}
			delete(until, network)
			switch rapid.IntRange(0, 9).Draw(rt, "what") {
			case 0:
				l.enter(now, network)
				wrong[network] = 0
			case 1:
				if events := l.record(signin.Unlock(l.state(), start.Add(now), policy)); len(events) > 0 {
					clear(wrong)
					clear(until)
				}
			default:
				l.wrong(now, network)
				wrong[network]++
				last[network] = now
				if wrong[network] == policy.Attempts {
					until[network] = now + policy.For
				}
			}
		}
	})
}

// What an event carries is written in one way for ever.
func TestMemoryIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	const written = `{"memory":{"step":7,"places":[{"network":"a","wrong":3,"last":"2026-11-23T09:00:00Z",` +
		`"until":"2026-11-23T10:00:00Z"}],"codes":["2026-11-23T09:00:00Z"],` +
		`"open":[{"id":"00000000-0000-0000-0000-000000000000","at":"2026-11-23T09:00:00Z","tries":1}],"known":["b"]}}`
	event := signin.Challenged{Memory: signin.Memory{
		Step:   7,
		Places: []signin.Place{{Network: "a", Wrong: 3, Last: start, Until: start.Add(time.Hour)}},
		Codes:  []time.Time{start}, Open: []signin.Open{{At: start, Tries: 1}}, Known: []string{"b"},
	}}
	data, err := json.Marshal(event)
	if err != nil || string(data) != written {
		t.Errorf("%s, %v", data, err)
	}
	var read signin.Challenged
	if err := json.Unmarshal([]byte(written), &read); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(event, read); diff != "" {
		t.Error(diff)
	}
}

// A backup code works once, also while the account has not been told yet that it was used.
func TestABackupCodeWorksOnce(t *testing.T) {
	t.Parallel()
	l := &log{t: t}
	use := func(code string, unused ...string) bool {
		events, ok := signin.Succeed(l.state(), attempt(0, home),
			signin.Entry{Method: signin.ByBackupCode, BackupCode: code, BackupCodes: unused}, policy)
		l.record(events)
		return ok
	}
	if !use("a", "a", "b") {
		t.Error("an unused code was refused")
	}
	if use("a", "a", "b") {
		t.Error("it worked twice")
	}
	if !use("b", "a", "b") || use("a", "a", "b") {
		t.Error("after another one it works again")
	}
	if !use("c", "c") {
		t.Error("one of a new set was refused")
	}
	if got := l.state().Used; !slices.Equal(got, []string{"c"}) {
		t.Errorf("%v are remembered, also those that the account knows to be used", got)
	}
}

// Anybody may ask for links, as often as they like.
func TestWishesForLinksAreBounded(t *testing.T) {
	t.Parallel()
	l := &log{t: t}
	ask := func(after time.Duration, of, seal string, firstLogin bool) []domain.Event {
		a := attempt(after, attacker)
		a.Of = of
		return l.record(signin.AskForLink(l.state(), a,
			signin.Wish{Link: uuid.New(), FirstLogin: firstLogin, Language: "uk", Seal: seal}, policy))
	}
	for range 1000 {
		ask(0, "", "", true)
	}
	if got := len(l.events); got != signin.MostLinks+1 {
		t.Errorf("1000 wishes for which no link is sent are %d events", got)
	}
	limited, ok := l.events[len(l.events)-1].(signin.LinksLimited)
	if !ok || !limited.Until.Equal(start.Add(signin.LinksWithin)) {
		t.Errorf("the last of them is %+v", l.events[len(l.events)-1])
	}
	if got := ask(0, "somebody else", "", false); len(got) != 1 {
		t.Errorf("another address that shares the stream is limited, too: %v", got)
	}
	for range 1000 {
		ask(time.Minute, "", "1", false)
	}
	if got := len(l.state().Links); got != signin.MostLinks {
		t.Errorf("1000 wishes are %d links", got)
	}
	if got := ask(signin.LinksWithin+time.Minute, "", "1", false); len(got) != 1 {
		t.Errorf("for ever: %v", got)
	}
	if got := len(l.state().Links); got != signin.MostLinks+1 {
		t.Errorf("%d links are left", got)
	}
	newest := l.state().Links[signin.MostLinks]
	later := start.Add(signin.LinksWithin + time.Minute + signin.LinkLife)
	for name, c := range map[string]struct {
		firstLogin, usable bool
		at                 time.Time
	}{
		"until it expires":    {false, true, later.Add(-time.Second)},
		"not afterwards":      {false, false, later},
		"not for another use": {true, false, start.Add(signin.LinksWithin + time.Minute)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, ok := l.state().Link(newest.ID, c.firstLogin, c.at); ok != c.usable {
				t.Errorf("usable: %t", ok)
			}
		})
	}
}

func TestACodeConfirmsOnce(t *testing.T) {
	t.Parallel()
	l := &log{t: t}
	confirm := func(step int64) bool {
		events, ok := signin.Confirm(l.state(), attempt(0, home), step, policy)
		l.record(events)
		return ok
	}
	if !confirm(7) || confirm(7) || confirm(6) || !confirm(8) {
		t.Error("a code confirmed twice, or a later one not at all")
	}
	entry := signin.Entry{Method: signin.ByCode, Step: 8}
	if _, ok := signin.Succeed(l.state(), attempt(0, home), entry, policy); ok {
		t.Error("what confirmed a change signs in, too")
	}
}
