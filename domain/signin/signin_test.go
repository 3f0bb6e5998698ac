package signin_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/signin"
)

var (
	start  = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	policy = signin.Policy{Attempts: 3, Within: 10 * time.Minute, For: 20 * time.Minute}
)

// loggedAt is an event with the time and the address in its metadata.
type loggedAt struct {
	after time.Duration
	ip    string
	event domain.Event
}

func given(events ...loggedAt) signin.State {
	var state signin.State
	for _, e := range events {
		state.EvolveAt(e.event, start.Add(e.after), e.ip)
	}
	return state
}

func wrong(after time.Duration, ip string) loggedAt {
	return loggedAt{after, ip, signin.Failed{Reason: signin.WrongPassword}}
}

func attempt(after time.Duration, ip string) signin.Attempt {
	return signin.Attempt{Now: start.Add(after), IP: ip}
}

func expect(t *testing.T, got []domain.Event, want ...domain.Event) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
}

func TestTheLastOfTooManyGuessesBeginsALockout(t *testing.T) {
	state := given(wrong(0, "a"), wrong(time.Minute, "b"))
	failed := signin.Failed{Reason: signin.WrongPassword}
	expect(t, signin.Fail(given(wrong(0, "a")), attempt(time.Minute, "b"), signin.WrongPassword, policy), failed)
	expect(t, signin.Fail(state, attempt(2*time.Minute, "c"), signin.WrongPassword, policy),
		failed, signin.LockoutBegan{Until: start.Add(22 * time.Minute)})
	// the first is too long ago
	expect(t, signin.Fail(state, attempt(10*time.Minute, "c"), signin.WrongPassword, policy), failed)
	expect(t, signin.Fail(state, attempt(2*time.Minute, "c"), signin.Inactive, policy),
		signin.Failed{Reason: signin.Inactive})
}

func TestASuccessStartsCountingAnew(t *testing.T) {
	state := given(wrong(0, "a"), wrong(time.Second, "a"), loggedAt{2 * time.Second, "a", signin.Succeeded{}})
	expect(t, signin.Fail(state, attempt(3*time.Second, "a"), signin.WrongPassword, policy),
		signin.Failed{Reason: signin.WrongPassword})
}

func TestALockoutRefusesWithoutFillingTheLogAndOpensByItself(t *testing.T) {
	state := given(loggedAt{0, "a", signin.LockoutBegan{Until: start.Add(20 * time.Minute)}})
	expect(t, signin.Fail(state, attempt(time.Minute, "b"), signin.WrongPassword, policy))
	for after, locked := range map[time.Duration]bool{0: true, 20*time.Minute - 1: true, 20 * time.Minute: false} {
		t.Run(after.String(), func(t *testing.T) {
			if state.Locked(attempt(after, "b")) != locked {
				t.Errorf("after %s: locked is %t", after, !locked)
			}
		})
	}
}

// Whoever guesses a superuser's password locks the own address out, and nobody else.
func TestASuperuserIsLockedOutByAddress(t *testing.T) {
	state := given(wrong(0, "attacker"), wrong(time.Second, "attacker"))
	third := signin.Attempt{Now: start.Add(2 * time.Second), IP: "attacker", PerIP: true}
	events := signin.Fail(state, third, signin.WrongPassword, policy)
	lockout := signin.LockoutBegan{Until: start.Add(20*time.Minute + 2*time.Second), IP: "attacker"}
	expect(t, events, signin.Failed{Reason: signin.WrongPassword}, lockout)
	state.EvolveAt(lockout, third.Now, "attacker")
	if !state.Locked(third) || state.Locked(signin.Attempt{Now: third.Now, IP: "home", PerIP: true}) {
		t.Error("the lockout must meet the attacker's address alone")
	}
	other := signin.Attempt{Now: start.Add(2 * time.Second), IP: "home", PerIP: true}
	expect(t, signin.Fail(given(wrong(0, "attacker"), wrong(time.Second, "attacker")), other, signin.WrongPassword,
		policy),
		signin.Failed{Reason: signin.WrongPassword})
}

func TestAnAdministratorEndsALockout(t *testing.T) {
	state := given(loggedAt{0, "a", signin.LockoutBegan{Until: start.Add(20 * time.Minute), Step: 7}})
	expect(t, signin.Unlock(state, start.Add(time.Minute)), signin.Unlocked{Step: state.LastStep})
	expect(t, signin.Unlock(state, start.Add(20*time.Minute)))
	state.EvolveAt(signin.Unlocked{}, start.Add(time.Minute), "a")
	if state.Locked(attempt(time.Minute, "a")) {
		t.Error("still locked out")
	}
}

// Every event carries the step of the newest code, so that the newest part of a long stream is enough.
func TestACodeWorksOnceWhateverHappenedSince(t *testing.T) {
	session := uuid.New()
	for _, later := range []domain.Event{
		signin.Succeeded{Step: 40}, signin.Challenged{Step: 40}, signin.Failed{Step: 40}, signin.LockoutBegan{Step: 40},
		signin.Unlocked{Step: 40}, signin.SignedOut{Step: 40},
	} {
		t.Run("after "+later.EventType(), func(t *testing.T) {
			state := given(loggedAt{0, "a", later})
			for _, used := range []int64{39, 40} {
				if _, ok := signin.Succeed(state, session, signin.ByCode, false, used); ok {
					t.Errorf("the code of step %d works again", used)
				}
			}
			events, ok := signin.Succeed(state, session, signin.ByCode, false, 41)
			if !ok {
				t.Error("the next code does not work")
			}
			expect(t, events, signin.Succeeded{Session: session, Method: signin.ByCode, Step: 41})
			events, _ = signin.Succeed(state, session, signin.ByPassword, true, 0)
			expect(t, events, signin.Succeeded{Session: session, Method: signin.ByPassword, Limited: true, Step: 40})
		})
	}
}

func TestWhatIsEnoughDecidesAsTheWholeDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		perIP := rapid.Bool().Draw(t, "per IP")
		now := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
		addresses := rapid.SampledFrom([]string{"10.0.0.1", "10.0.0.2"})
		type recorded struct {
			event domain.Event
			at    time.Time
			ip    string
		}
		var stream []recorded
		fold := func(events []recorded) (s signin.State) {
			for _, e := range events {
				s.EvolveAt(e.event, e.at, e.ip)
			}
			return s
		}
		for range rapid.IntRange(1, 40).Draw(t, "attempts") {
			now = now.Add(time.Duration(rapid.IntRange(0, 400).Draw(t, "seconds")) * time.Second)
			attempt := signin.Attempt{Now: now, IP: addresses.Draw(t, "ip"), PerIP: perIP}
			whole := fold(stream)
			part := fold(stream[max(0, len(stream)-signin.Glance):])
			step := rapid.Int64Range(0, 30).Draw(t, "step")
			decide := func(s signin.State) []domain.Event {
				if s.Locked(attempt) {
					return nil
				}
				events, fits := signin.Succeed(s, uuid.Nil, signin.ByCode, false, step)
				if !fits {
					return signin.Fail(s, attempt, signin.CodeUsed, signin.DefaultPolicy)
				}
				return events
			}
			if rapid.IntRange(0, 3).Draw(t, "right one time in four") > 0 {
				decide = func(s signin.State) []domain.Event {
					return signin.Fail(s, attempt, signin.WrongPassword, signin.DefaultPolicy)
				}
			}
			decided := decide(whole)
			if part.Enough(attempt) {
				if diff := cmp.Diff(decided, decide(part)); diff != "" {
					t.Fatalf("the newest %d events decide otherwise than all %d:\n%s", signin.Glance, len(stream), diff)
				}
			}
			for _, event := range signin.Carry(whole, decided, now, attempt.IP, signin.DefaultPolicy) {
				stream = append(stream, recorded{event, now, attempt.IP})
			}
		}
	})
}

// Every event carries the guesses, so the newest decide as all do that carry none, whatever comes in between and from
// however many addresses.
func TestTheNewestEventsDecideAsTheWholeStreamDoes(t *testing.T) {
	addresses := make([]string, 30)
	for i := range addresses {
		addresses[i] = fmt.Sprintf("198.51.100.%d", i)
	}
	rapid.Check(t, func(t *rapid.T) {
		now, perIP := start, rapid.Bool().Draw(t, "per IP")
		var whole signin.State
		var carrying []loggedAt
		for range rapid.IntRange(20, 150).Draw(t, "attempts") {
			now = now.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "seconds")) * time.Second)
			attempt := signin.Attempt{Now: now, IP: rapid.SampledFrom(addresses).Draw(t, "ip"), PerIP: perIP}
			newest := rapid.IntRange(1, signin.Window).Draw(t, "newest")
			part := given(carrying[max(0, len(carrying)-newest):]...)
			if whole.LockedUntil(attempt) != part.LockedUntil(attempt) {
				t.Fatalf("the newest %d of %d events say locked until %s, all say %s", newest, len(carrying),
					part.LockedUntil(attempt), whole.LockedUntil(attempt))
			}
			decide := func(s signin.State) []domain.Event {
				return signin.Fail(s, attempt, signin.WrongPassword, policy)
			}
			switch rapid.IntRange(0, 20).Draw(t, "what") {
			case 0:
				decide = func(s signin.State) []domain.Event {
					events, _ := signin.Succeed(s, uuid.Nil, signin.ByPassword, false, 0)
					return events
				}
			case 1:
				decide = func(s signin.State) []domain.Event { return signin.Unlock(s, now) }
			case 2, 3, 4, 5:
				decide = func(signin.State) []domain.Event {
					return []domain.Event{signin.Failed{Reason: "no_reset_link"}}
				}
			case 6:
				decide = func(signin.State) []domain.Event { return []domain.Event{signin.SignedOut{}} }
			}
			decided := decide(whole)
			if diff := cmp.Diff(decided, decide(part), cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("the newest %d events decide otherwise than all %d:\n%s", newest, len(carrying), diff)
			}
			for _, event := range decided {
				whole.EvolveAt(event, now, attempt.IP)
			}
			for _, event := range signin.Carry(part, decided, now, attempt.IP, policy) {
				carrying = append(carrying, loggedAt{now.Sub(start), attempt.IP, event})
			}
		}
	})
}

// However many addresses there are, each has the guesses that the policy gives it, and no event grows beyond measure.
func TestManyAddressesGuessNoMoreThanThePolicyGivesEach(t *testing.T) {
	for _, addresses := range []int{18, 80, 1000} {
		t.Run(fmt.Sprintf("from %d addresses", addresses), func(t *testing.T) {
			var stream []loggedAt
			guesses := 0
			for i := range 30 * 14 { // as fast as requests for one account are let in
				attempt := signin.Attempt{
					Now: start.Add(time.Duration(i) * 2 * time.Second), IP: fmt.Sprint(i % addresses), PerIP: true,
				}
				state := given(stream[max(0, len(stream)-signin.Window):]...)
				events := signin.Carry(state, signin.Fail(state, attempt, signin.WrongPassword, signin.DefaultPolicy),
					attempt.Now, attempt.IP, signin.DefaultPolicy)
				if len(events) > 0 {
					guesses++
				}
				for _, event := range events {
					stream = append(stream, loggedAt{attempt.Now.Sub(start), attempt.IP, event})
				}
			}
			if most := min(5*addresses, 30*14); guesses != most {
				t.Errorf("there were %d guesses, want %d", guesses, most)
			}
		})
	}
	var state signin.State
	for i := range 2000 {
		state.EvolveAt(signin.Failed{Reason: signin.WrongPassword}, start, fmt.Sprint(i))
		state.EvolveAt(signin.LockoutBegan{IP: fmt.Sprint(i), Until: start.Add(time.Hour)}, start, fmt.Sprint(i))
	}
	carried := signin.Carry(state, []domain.Event{signin.Challenged{}}, start, "", policy)[0]
	data, err := json.Marshal(carried)
	if err != nil || len(data) > 64<<10 {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}

// What an event carries is written in one way for ever.
func TestCarriedGuessesAreReadAsTheyWereWritten(t *testing.T) {
	const written = `{"guesses":[{"ip":"a","at":"2026-11-23T09:00:00Z","old":true},` +
		`{"ip":"b","until":"2026-11-23T10:00:00Z"}]}`
	event := signin.Challenged{
		Guesses: []signin.Guess{{IP: "a", At: start, Old: true}, {IP: "b", Until: start.Add(time.Hour)}},
	}
	data, err := json.Marshal(event)
	if err != nil || string(data) != written {
		t.Errorf("%s, %v", data, err)
	}
	var read signin.Challenged
	if err := json.Unmarshal([]byte(written), &read); err != nil {
		t.Fatal(err)
	}
	expect(t, []domain.Event{read}, event)
}

func TestOneConnectionsAddressesAreOnePlace(t *testing.T) {
	t.Parallel()
	for a, b := range map[string]string{
		"2001:db8:1:2::1": "2001:db8:1:2:ffff::9", "203.0.113.9": "203.0.113.9", "": "",
	} {
		t.Run(a, func(t *testing.T) {
			if signin.Network(a) != signin.Network(b) {
				t.Errorf("%s and %s: %s, %s", a, b, signin.Network(a), signin.Network(b))
			}
		})
	}
	if signin.Network("2001:db8:1:2::1") == signin.Network("2001:db8:1:3::1") ||
		signin.Network("203.0.113.9") == signin.Network("203.0.113.8") {
		t.Error("two networks are one place")
	}
	var state signin.State
	attempt := func(last int) signin.Attempt {
		return signin.Attempt{
			Now: start.Add(time.Duration(last) * time.Second), IP: signin.Network(fmt.Sprintf("2001:db8::%d", last)),
			PerIP: true,
		}
	}
	policy := signin.DefaultPolicy
	for i := range policy.Attempts {
		for _, event := range signin.Fail(state, attempt(i), signin.WrongPassword, policy) {
			state.EvolveAt(event, attempt(i).Now, fmt.Sprintf("2001:db8::%d", i))
		}
	}
	if !state.Locked(attempt(policy.Attempts)) {
		t.Error("another address of the same network may go on guessing")
	}
}
