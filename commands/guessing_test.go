package commands_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/nodetest"
)

// owner is Anna, signed in at home.
func (s story) owner() commands.Caller {
	caller := from("203.0.113.1")
	caller.Actor = eventstore.Actor{Kind: eventstore.ActorUser, ID: s.anna.String()}
	return caller
}

// another is a second instance on the same log.
func (s story) another() *commands.Handler {
	h := commands.New(s.log, s.Keys, s.Hasher)
	h.Now, h.Pause = s.Handler.Now, s.Pause
	return h
}

// wrongCode is none that the device shows about now.
func wrongCode(t *testing.T, secret string, s story) string {
	t.Helper()
	near := make([]string, 0, 5)
	for step := range 5 {
		near = append(near, code(t, secret, s.clock.Now().Add(time.Duration(step-2)*30*time.Second)))
	}
	for i := range 100 {
		if wrong := fmt.Sprintf("%06d", i); !slices.Contains(near, wrong) {
			return wrong
		}
	}
	t.Fatal("every code is right")
	return ""
}

func (s story) count(t *testing.T, reason string) (n int) {
	t.Helper()
	for _, r := range s.reasons(t, s.anna) {
		if r == reason {
			n++
		}
	}
	return n
}

// Guesses that come at once, at two instances, are no more than those that come one after the other: of the right
// secret, as many are accepted as would be if it came at that place in the log.
func TestGuessesAtOnceAreNoMoreThanOneAfterTheOther(t *testing.T) {
	t.Parallel()
	attempts := signin.DefaultPolicy.Attempts
	for name, test := range map[string]struct {
		guess  func(context.Context, story, *commands.Handler) error
		right  func(context.Context, story) error
		reason string
		most   int
	}{
		"password of a sign-in": {func(ctx context.Context, s story, h *commands.Handler) error {
			_, err := h.SignIn(ctx, from("203.0.113.1"), annasEmail, "wrong")
			return err
		}, func(ctx context.Context, s story) error {
			_, err := s.SignIn(ctx, from("203.0.113.1"), annasEmail, password)
			return err
		}, signin.WrongPassword, attempts},
		"own password": {func(ctx context.Context, s story, h *commands.Handler) error {
			_, err := h.ChangeOwnPassword(ctx, s.owner(), s.anna, "wrong", newPassword)
			return err
		}, func(ctx context.Context, s story) error {
			_, err := s.ChangeOwnPassword(ctx, s.owner(), s.anna, password, newPassword)
			return err
		}, signin.WrongPassword, attempts},
		"password that switches two-factor off": {func(ctx context.Context, s story, h *commands.Handler) error {
			_, err := h.DisableTwoFactor(ctx, s.owner(), s.anna, "wrong")
			return err
		}, func(ctx context.Context, s story) error {
			_, err := s.DisableTwoFactor(ctx, s.owner(), s.anna, password)
			return err
		}, signin.WrongPassword, attempts},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStory(t)
			s.enroll(t)
			instances := []*commands.Handler{s.Handler, s.another()}
			var all sync.WaitGroup
			for i := range 30 {
				all.Go(func() {
					if err := test.guess(t.Context(), s, instances[i%2]); err == nil {
						t.Error("a wrong password was accepted")
					}
				})
			}
			all.Wait()
			for range test.most {
				_ = test.guess(t.Context(), s, s.Handler) // refused
			}
			if n := s.count(t, test.reason); n != test.most {
				t.Errorf("%d guesses were checked, want %d", n, test.most)
			}
			if err := test.right(t.Context(), s); err == nil {
				t.Error("the right one was accepted after too many wrong ones")
			}
		})
	}
}

// heldBack is a log that answers the first reading of the newest attempts before, and the others after, a signal: what
// is checked meanwhile is checked at the same time.
type heldBack struct {
	eventstore.Log
	stream  string
	reads   atomic.Int32
	proceed chan struct{}
}

func (l *heldBack) ReadNewest(ctx context.Context, stream string, n int) ([]eventstore.Recorded, error) {
	if stream == l.stream && l.reads.Add(1) == 2 {
		<-l.proceed
	}
	return l.Log.ReadNewest(ctx, stream, n)
}

// A right password that was checked while others were counted comes after them.
func TestARightPasswordComesAfterTheWrongOnesThatWereCountedMeanwhile(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	held := &heldBack{Log: s.log, stream: domain.StreamName(signin.Kind, s.anna), proceed: make(chan struct{})}
	slow := s.another()
	slow.Log = held
	changed := make(chan error)
	go func() {
		_, err := slow.ChangeOwnPassword(t.Context(), s.owner(), s.anna, password, newPassword)
		changed <- err
	}()
	for range signin.DefaultPolicy.Attempts {
		if _, err := s.SignIn(t.Context(), s.owner(), annasEmail, "wrong"); !errors.Is(err, commands.ErrCredentials) {
			t.Error(err)
		}
	}
	close(held.proceed)
	if err := <-changed; !refusedField(err, domain.CodeLockedOut) {
		t.Errorf("the password was changed: %v", err)
	}
}

func refusedField(err error, code domain.Code) bool {
	invalid, ok := errors.AsType[*domain.Invalid](err)
	return ok && slices.ContainsFunc(invalid.Fields, func(f domain.FieldError) bool { return f.Code == code })
}

func TestThereAreTenWrongCodesAnHourWhateverTheChallenges(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]string{"codes": signin.WrongCode, "backup codes": signin.WrongBackupCode} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStory(t)
			secret, codes := s.enroll(t)
			wrong := wrongCode(t, secret, s)
			var all sync.WaitGroup
			for i := range 6 {
				challenge, h := s.challenge(t), []*commands.Handler{s.Handler, s.another()}[i%2]
				for range 10 {
					all.Go(func() {
						answer := h.SignInWithCode
						if kind == signin.WrongBackupCode {
							answer = h.SignInWithBackupCode
						}
						if _, err := answer(t.Context(), admin(), challenge, wrong); !errors.Is(err,
							commands.ErrCredentials) {
							t.Error(err)
						}
					})
				}
			}
			all.Wait()
			if n := s.count(t, kind); n != signin.MostCodes {
				t.Errorf("%d codes were checked", n)
			}
			if _, err := s.Unlock(t.Context(), admin(), s.anna); err != nil {
				t.Error(err)
			}
			s.setPassword(t, password)
			late := s.challenge(t)
			if _, err := s.SignInWithCode(t.Context(), admin(), late, code(t, secret, s.clock.Now())); err == nil {
				t.Error("an unlocking and a reset give more codes")
			}
			if _, err := s.SignInWithBackupCode(t.Context(), admin(), late, codes[0]); err == nil {
				t.Error("an unlocking and a reset give more backup codes")
			}
			s.advance(signin.CodesWithin)
			if _, err := s.SignInWithCode(t.Context(), admin(), s.challenge(t),
				code(t, secret, s.clock.Now())); err != nil {
				t.Errorf("an hour later: %v", err)
			}
		})
	}
}

func TestAChallengeTakesFiveTriesAndWorksOnce(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	secret, codes := s.enroll(t)
	tried := s.challenge(t)
	for range 5 {
		_, _ = s.SignInWithCode(t.Context(), admin(), tried, wrongCode(t, secret, s)) // refused
	}
	if _, err := s.SignInWithCode(t.Context(), admin(), tried, code(t, secret, s.clock.Now())); !errors.Is(err,
		commands.ErrCredentials) {
		t.Errorf("a sixth try: %v", err)
	}
	used := s.challenge(t)
	if _, err := s.SignInWithCode(t.Context(), admin(), used, code(t, secret, s.clock.Now())); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SignInWithBackupCode(t.Context(), admin(), used, codes[0]); !errors.Is(err,
		commands.ErrCredentials) {
		t.Errorf("a challenge works twice: %v", err)
	}
	if _, err := s.SignInWithBackupCode(t.Context(), admin(), s.challenge(t), codes[0]); err != nil {
		t.Errorf("the backup code was used up by a challenge that is void: %v", err)
	}
}

func TestWrongCodesOfANewDeviceCount(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	device, _, err := s.PrepareTwoFactor(t.Context(), admin(), s.anna)
	if err != nil {
		t.Fatal(err)
	}
	for range signin.MostCodes {
		if _, _, err := s.ConfirmTwoFactor(t.Context(), admin(), s.anna,
			wrongCode(t, device.Secret, s)); !refusedField(err, domain.CodeWrongCode) {
			t.Errorf("a wrong code: %v", err)
		}
	}
	if _, _, err := s.ConfirmTwoFactor(t.Context(), admin(), s.anna,
		code(t, device.Secret, s.clock.Now())); !refusedField(err, domain.CodeLockedOut) {
		t.Errorf("the right one after too many wrong ones: %v", err)
	}
}

func TestAResetPasswordEndsTheLockoutThatWrongOnesBrought(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	for range 6 {
		_, _ = s.SignIn(t.Context(), admin(), annasEmail, "wrong") // refused
	}
	s.setPassword(t, newPassword)
	if _, err := s.SignIn(t.Context(), admin(), annasEmail, newPassword); err != nil {
		t.Error(err)
	}
}

// Wrong cabinet passwords count for the network and the company: no account loses its links or its sign-in by them.
func TestWrongCabinetPasswordsCountForTheirNetworkAndCompany(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	ctx := t.Context()
	var people []string
	var ids []uuid.UUID
	for _, name := range []string{"acme", "nova"} {
		owner := must(t)(s.CreateCompany(ctx, admin(), company.Details{Name: name}))
		must(t)(s.SetCabinetPassword(ctx, admin(), owner, "the cabinet of "+name))
		email := "borys@" + name + ".example"
		ids = append(ids, must(t)(s.RegisterUser(ctx, admin(),
			commands.RegisterUser{Details: user.Details{Email: email, CompanyID: owner}})))
		people = append(people, email)
	}
	usable := func(caller commands.Caller, i int, cabinet string) bool {
		t.Helper()
		if err := s.RequestFirstLogin(ctx, caller, people[i], cabinet, "uk"); err != nil {
			t.Fatal(err)
		}
		token, err := s.FirstLoginToken(ids[i], caller.CommandID)
		if err != nil {
			t.Fatal(err)
		}
		usable, err := s.FirstLoginUsable(ctx, token)
		if err != nil {
			t.Fatal(err)
		}
		return usable
	}
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() { usable(from("198.51.100.1"), 0, "wrong") })
	}
	all.Wait()
	if usable(from("198.51.100.1"), 0, "the cabinet of acme") {
		t.Error("the network goes on guessing")
	}
	if !usable(from("203.0.113.1"), 0, "the cabinet of acme") {
		t.Error("another network is locked out")
	}
	if !usable(from("198.51.100.1"), 1, "the cabinet of nova") {
		t.Error("another company is locked out")
	}
	if err := s.RequestFirstLogin(ctx, from("198.51.100.1"), "nobody@acme.example", "wrong", "uk"); err != nil {
		t.Error(err)
	}
}

// Whoever asks for made-up addresses begins few streams, and only so many events for each network and address.
func TestAddressesWithoutAnAccountShareFewStreams(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	before := streams(t, s.log)
	for i := range 400 {
		email := fmt.Sprintf("nobody-%d@acme.example", i)
		if _, err := s.SignIn(t.Context(), from("198.51.100.1"), email, password); !errors.Is(err,
			commands.ErrCredentials) {
			t.Fatal(err)
		}
	}
	if n := streams(t, s.log) - before; n > 256 || n < 100 {
		t.Errorf("%d new streams", n)
	}
	events := recorded(t, s.log)
	for range 50 {
		_, _ = s.SignIn(t.Context(), from("198.51.100.2"), "nobody@acme.example", "wrong") // refused
		_, _ = s.SignIn(t.Context(), from("198.51.100.2"), annasEmail, "wrong")            // refused
	}
	each := signin.DefaultPolicy.Attempts + 1
	if n := recorded(t, s.log) - events; n != 2*each {
		t.Errorf("%d events for 100 attempts, want %d for each address", n, each)
	}
}

func streams(t *testing.T, log eventstore.Log) int {
	t.Helper()
	seen := map[string]bool{}
	for e, err := range log.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(e.Stream, signin.Kind+"-") {
			seen[e.Stream] = true
		}
	}
	return len(seen)
}

func recorded(t *testing.T, log eventstore.Log) (n int) {
	t.Helper()
	for e, err := range log.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(e.Stream, signin.Kind+"-") {
			n++
		}
	}
	return n
}

// Where many networks guess, an attempt from one that the account doesn't know waits, and is checked all the same.
func TestAttemptsWaitWhereManyNetworksGuess(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	var waited time.Duration
	if _, err := s.SignIn(t.Context(), from("203.0.113.1"), annasEmail, password); err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		_, _ = s.SignIn(t.Context(), from(fmt.Sprintf("192.0.2.%d", i)), annasEmail, "wrong") // refused
	}
	s.Pause = func(_ context.Context, d time.Duration) bool { waited += d; return true }
	for ip, want := range map[string]time.Duration{"203.0.113.1": 0, "203.0.113.2": signin.SlowFor} {
		waited = 0
		if _, err := s.SignIn(t.Context(), from(ip), annasEmail, password); err != nil || waited != want {
			t.Errorf("%s waited %s, %v", ip, waited, err)
		}
	}
}

// A directory counts guesses, too, and locks its own accounts out: it is asked about no more than SecBoard lets
// through, also when they come at once.
func TestGuessesAtOnceAskADirectoryNoMoreOften(t *testing.T) {
	t.Parallel()
	s := newDirectoryStory(t)
	known(t, s)
	s.servers["hq"].asked = 0
	arrived, answer := make(chan struct{}, 30), make(chan struct{})
	asked := atomic.Int32{}
	s.Directory = blockingDirectory{fakeDirectory{s}, func(email string) {
		if email == olenasEmail {
			asked.Add(1)
			arrived <- struct{}{}
			<-answer
		}
	}}
	var all sync.WaitGroup
	refused := make(chan struct{}, 30)
	for range 30 {
		all.Go(func() {
			if _, err := s.SignIn(t.Context(), olenasEmail, "wrong"); !errors.Is(err, commands.ErrCredentials) {
				t.Error(err)
			}
			refused <- struct{}{}
		})
	}
	most := signin.DefaultPolicy.Attempts
	for range most {
		<-arrived
	}
	for range 30 - most { // those that were not asked about don't wait
		<-refused
	}
	close(answer)
	all.Wait()
	if n := int(asked.Load()); n != most {
		t.Errorf("the directory was asked about %d guesses", n)
	}
}

// blockingDirectory lets the test see each question before it is answered.
type blockingDirectory struct {
	commands.Directory
	before func(email string)
}

func (d blockingDirectory) SignIn(ctx context.Context, server directory.Server,
	email, password string) (directory.Entry, error) {
	d.before(email)
	if strings.HasSuffix(email, "@nobody.invalid") {
		return directory.Entry{}, &directory.Refused{Reason: directory.Unknown}
	}
	return directory.Entry{}, &directory.Refused{Reason: directory.WrongPassword}
}

// The share of the time that a sign-in takes after 200,000 wrong ones and wishes for links, of that after none. In
// turn, because the machine is not equally busy all the time.
//
//	go test ./commands -run "^$" -bench SignInAfterAFlood -benchtime 500x
func BenchmarkSignInAfterAFlood(b *testing.B) {
	const guesses, page = 200_000, 500
	s := newHandler(b, nodetest.Connect(b))
	flooded, quiet := "flooded@acme.example", "quiet@acme.example"
	ids := map[string]uuid.UUID{}
	for _, email := range []string{flooded, quiet} {
		result, err := s.CreateSuperuser(b.Context(), commands.Operator(), email, password)
		if err != nil {
			b.Fatal(err)
		}
		ids[email] = uuid.MustParse(result.ID)
	}
	stream, expected := domain.StreamName(signin.Kind, ids[flooded]), eventstore.NoStream
	var state signin.State
	for i := 0; i < guesses; {
		var events []domain.Event
		for ; len(events) < page; i++ {
			attempt := signin.Attempt{Network: fmt.Sprintf("10.0.%d.%d", i/250%250, i%250)}
			attempt.Now = time.Now().Add(time.Duration(i-guesses) * 5 * time.Minute)
			caused := signin.Fail(state, attempt, signin.WrongPassword, signin.DefaultPolicy)
			if i%2 == 0 {
				caused = signin.AskForLink(state, attempt, signin.Wish{Link: uuid.New(), Seal: "1"},
					signin.DefaultPolicy)
			}
			if len(caused) > 0 {
				state.Evolve(caused[len(caused)-1])
			}
			events = append(events, caused...)
		}
		proposed, err := eventstore.Encode(stream, expected, events,
			eventstore.Metadata{At: time.Now(), CommandID: uuid.New()})
		if err != nil {
			b.Fatal(err)
		}
		appended, err := s.Log.Append(b.Context(), stream, expected, proposed)
		if err != nil {
			b.Fatal(err)
		}
		expected = appended.Revision
	}
	people, took := []string{flooded, quiet}, map[string][]time.Duration{}
	for b.Loop() {
		for _, email := range people {
			began := time.Now()
			if _, err := s.SignIn(b.Context(), from("203.0.113.1"), email, password); err != nil {
				b.Fatal(err)
			}
			took[email] = append(took[email], time.Since(began))
		}
		slices.Reverse(people)
	}
	median := func(email string) float64 {
		slices.Sort(took[email])
		return float64(took[email][len(took[email])/2])
	}
	b.ReportMetric(median(flooded)/median(quiet), "flooded/quiet")
}
