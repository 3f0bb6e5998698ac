package commands

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
)

// ErrCredentials is the only answer to a refused sign-in, whatever the reason.
var ErrCredentials = &domain.Error{
	Code: domain.CodeInvalidCredentials, Detail: "the e-mail address, the password or the code is wrong",
}

// ErrDirectory says that the directory that keeps this account's password can't be reached.
var ErrDirectory = errors.New("the directory is unavailable")

// What a sign-in leads to.
const (
	NextSession        = ""                 // a session
	NextTwoFactor      = "two_factor"       // the second factor, with the challenge
	NextTwoFactorSetup = "two_factor_setup" // a session that may only set up two-factor
)

// SignedIn is the outcome of a sign-in that was not refused.
type SignedIn struct {
	UserID    uuid.UUID
	Next      string
	Challenge string    // with NextTwoFactor; signed, valid for a few minutes
	Session   uuid.UUID // the id of the session to start, otherwise
	Position  eventstore.Position
	// Revision is that of the account at its sign-in, Groups those of its groups. What ends all sessions, or gives the
	// members of a group more, and happened after it ends this one too.
	Revision eventstore.Revision
	Groups   map[uuid.UUID]eventstore.Revision
}

// SignIn checks an e-mail address and a password. A refusal is ErrCredentials; its true reason is in the history.
//
// The order is: the account is found, or a stand-in for none; its own password or that of a directory is
// checked (askDirectories); what the directory says about the person is taken over (syncAccount); then come the second
// factor and the session. At each step a refusal is recorded with its reason, and answered like all others, after the
// same time, and with ErrDirectory instead while nobody's address could be looked for in a directory.
func (h *Handler) SignIn(ctx context.Context, caller Caller, email, password string) (SignedIn, error) {
	began := time.Now()
	outcome, asked, err := h.signIn(ctx, caller, email, password)
	if errors.Is(err, ErrCredentials) && !asked {
		err = cmp.Or(h.askForNobody(ctx), err)
	}
	if errors.Is(err, ErrCredentials) || errors.Is(err, ErrDirectory) {
		h.delayRefusal(ctx, began)
	}
	return outcome, err
}

// signIn is SignIn without what makes all refusals alike. asked says whether all directories said that they don't know
// an address that no account has.
func (h *Handler) signIn(ctx context.Context, caller Caller, email, password string) (_ SignedIn, asked bool, _ error) {
	a, err := h.findAttempt(ctx, caller, email)
	if err != nil {
		return SignedIn{}, false, err
	}
	locked, err := h.glance(ctx, a)
	if err != nil {
		return SignedIn{}, false, err
	}
	if locked {
		return SignedIn{}, false, ErrCredentials // nor asks a directory, where guesses here must not lock anybody out
	}
	checked, err := h.checkPassword(ctx, a, password)
	if err != nil {
		return SignedIn{}, false, err
	}
	defer checked.done()
	outcome, err := h.afterPassword(ctx, caller, a, checked)
	return outcome, checked.unknown, err
}

// afterPassword continues a sign-in with what came of the password.
func (h *Handler) afterPassword(ctx context.Context, caller Caller, a attempt, checked passwordCheck) (SignedIn,
	error) {
	method, refusal := signin.ByPassword, checked.refusal
	if checked.directory != nil {
		var err error
		method = signin.ByDirectory
		if a, refusal, err = h.takeOverAnswer(ctx, caller, a, checked); err != nil {
			return SignedIn{}, err
		}
	}
	if refusal != "" {
		return SignedIn{}, h.refuse(ctx, caller, a, refusal)
	}
	return h.afterFirstFactor(ctx, caller, a, method)
}

// passwordCheck is the result of checking a password.
type passwordCheck struct {
	accepted  bool
	refusal   string           // why it was not accepted, as a reason of package signin
	directory *directoryAnswer // of the directory that found an entry; nil for a local password
	unknown   bool             // neither an account nor a directory knows the address
	recorded  func()           // to be called when the outcome is in the log; nil where nobody waits for that
}

// done says that the outcome is in the log.
func (c passwordCheck) done() {
	if c.recorded != nil {
		c.recorded()
	}
}

// checkPassword compares with the account's own password, or asks the directories where there is none. The hashing is
// the same for every account and for none.
func (h *Handler) checkPassword(ctx context.Context, a attempt, password string) (passwordCheck, error) {
	hash := ""
	if a.account.Password.Set() {
		opened, err := h.Keys.Open(a.account.Password, domain.StreamName(user.Kind, a.id))
		if err != nil {
			return passwordCheck{}, err
		}
		hash = string(opened)
	}
	matches, err := h.Hasher.Check(ctx, password, hash)
	switch {
	case err != nil:
		return passwordCheck{}, err
	case hash == "" && h.Directory != nil:
		return h.askAbout(ctx, a, password)
	case !matches && a.account.Exists && hash == "":
		return passwordCheck{refusal: signin.NoPassword}, nil
	case !matches:
		return passwordCheck{refusal: signin.WrongPassword}, nil
	}
	return passwordCheck{accepted: true}, h.renewHash(ctx, a, password, hash)
}

// renewHash stores the password with today's parameters when its hash has others.
func (h *Handler) renewHash(ctx context.Context, a attempt, password, hash string) error {
	if h.Hasher.UpToDate(hash) {
		return nil
	}
	renewed, err := h.Hasher.Hash(ctx, password)
	if err != nil {
		return err
	}
	stream := domain.StreamName(user.Kind, a.id)
	sealed, err := h.Keys.Seal([]byte(renewed), stream)
	if err != nil {
		return err
	}
	_, err = change(ctx, h, System(), stream, func(s user.State) ([]domain.Event, error) {
		return user.RehashPassword(s, a.account.Password, sealed)
	})
	return err
}

// afterFirstFactor asks for the second factor, or starts the session of an account that has none.
func (h *Handler) afterFirstFactor(ctx context.Context, caller Caller, a attempt, method string) (SignedIn, error) {
	caller = asOwner(caller, a.id)
	if reason := a.account.CanSignIn(a.Now); reason != "" {
		return SignedIn{}, h.refuse(ctx, caller, a, reason)
	}
	var err error
	if a.seal, err = h.sealOf(ctx, a.account); err != nil {
		return SignedIn{}, err
	}
	if method == signin.ByPassword && a.account.PasswordDoubtful && a.seal.mayDoSomething() {
		return SignedIn{}, h.refuse(ctx, caller, a, signin.PasswordDoubtful)
	}
	if !a.account.TwoFactor.Challenges() {
		return h.startSession(ctx, caller, a, signin.Entry{Method: method})
	}
	var asked uuid.UUID
	result, err := h.decideWithID(ctx, caller, a, func(s signin.State, id uuid.UUID) ([]domain.Event, error) {
		if guessable(method) && s.Locked(a.Attempt) {
			return nil, ErrCredentials
		}
		asked = id
		return signin.Challenge(s, a.Attempt, id, h.Lockout()), nil
	})
	if err != nil {
		return SignedIn{}, err
	}
	challenge, err := h.challenge(a.id, asked, a.seal, a.Now)
	return SignedIn{UserID: a.id, Next: NextTwoFactor, Challenge: challenge, Position: result.Position}, err
}

// guessable says whether a way to sign in takes a secret that people choose: a lockout doesn't meet a link.
func guessable(method string) bool { return method != signin.ByFirstLogin }

// SignInWithCode answers a challenge with a code of the authenticator app. Each code works once.
func (h *Handler) SignInWithCode(ctx context.Context, caller Caller, challenge, code string) (SignedIn, error) {
	return h.answerChallenge(ctx, caller, challenge, func(a attempt) (signin.Entry, string, error) {
		step, refusal, err := h.checkCode(a, code)
		return signin.Entry{Method: signin.ByCode, Step: step}, refusal, err
	})
}

// checkCode gives the step of a code of the device, or why it is refused.
func (h *Handler) checkCode(a attempt, code string) (step int64, refusal string, err error) {
	secret, err := h.Keys.Open(a.account.TwoFactor.Secret, domain.StreamName(user.Kind, a.id))
	if err != nil {
		return 0, "", err
	}
	step, ok := stepOf(string(secret), code, a.Now)
	switch {
	case !ok:
		return 0, signin.WrongCode, nil
	case step <= a.account.TwoFactor.Step:
		return 0, signin.CodeUsed, nil
	}
	return step, "", nil
}

// SignInWithBackupCode answers a challenge with a backup code, which is void afterwards. That it is used is decided
// where the challenge is, with the session, so that of several at once one signs in; then the account is told.
func (h *Handler) SignInWithBackupCode(ctx context.Context, caller Caller, challenge, code string) (SignedIn, error) {
	var name string
	outcome, err := h.answerChallenge(ctx, caller, challenge, func(a attempt) (signin.Entry, string, error) {
		var err error
		if name, err = h.backupCodeName(a.id, code); err != nil {
			return signin.Entry{}, "", err
		}
		if !slices.Contains(a.account.TwoFactor.Codes, name) {
			return signin.Entry{}, signin.WrongBackupCode, nil
		}
		return signin.Entry{Method: signin.ByBackupCode, BackupCode: name}, "", nil
	})
	if err != nil {
		return SignedIn{}, err
	}
	used, err := change(ctx, h, asOwner(caller, outcome.UserID), domain.StreamName(user.Kind, outcome.UserID),
		func(s user.State) ([]domain.Event, error) { return user.UseBackupCode(s, name), nil })
	outcome.Position = max(outcome.Position, used.Position)
	return outcome, err
}

// answerChallenge signs in with what answers a challenge. check gives how, or why it is refused.
func (h *Handler) answerChallenge(ctx context.Context, caller Caller, challenge string,
	check func(attempt) (entry signin.Entry, refusal string, err error)) (SignedIn, error) {
	a, id, err := h.findChallenged(ctx, caller, challenge)
	if err != nil {
		return SignedIn{}, err
	}
	state, _, err := h.newestAttempts(ctx, a)
	if err != nil {
		return SignedIn{}, err
	}
	if state.CodesRefused(a.Now) || !state.Answerable(id, a.Now) {
		return SignedIn{}, ErrCredentials
	}
	entry, refusal, err := check(a)
	if err != nil {
		return SignedIn{}, err
	}
	if refusal != "" {
		return SignedIn{}, h.refuseCode(ctx, caller, a, id, refusal)
	}
	entry.Challenge = id
	return h.startSession(ctx, caller, a, entry)
}

// findChallenged finds the account of a challenge, and the challenge's id; a wrong or late one is refused as everything
// is.
func (h *Handler) findChallenged(ctx context.Context, caller Caller, challenge string) (attempt, uuid.UUID, error) {
	var a attempt
	id, ok, err := h.openChallenge(challenge, func(id uuid.UUID) (seal, error) {
		var err error
		if a, err = h.attemptFor(ctx, caller, id); err == nil {
			a.seal, err = h.sealOf(ctx, a.account)
		}
		return a.seal, err
	}, h.Now())
	switch {
	case err != nil:
		return attempt{}, uuid.Nil, err
	case !ok, !a.account.TwoFactor.Challenges():
		return attempt{}, uuid.Nil, ErrCredentials
	}
	if reason := a.account.CanSignIn(a.Now); reason != "" {
		return attempt{}, uuid.Nil, h.refuseCode(ctx, caller, a, id, reason)
	}
	return a, id, nil
}

var errCodeUsed = errors.New("the code, or the backup code, was used before")

// startSession records the start of a session. Whether a challenge can still be answered is decided again: each of its
// answers is either in the log already, or has not been told to anybody.
func (h *Handler) startSession(ctx context.Context, caller Caller, a attempt, entry signin.Entry) (SignedIn, error) {
	outcome := SignedIn{UserID: a.id, Revision: a.revision, Groups: a.seal.groups}
	entry.BackupCodes = a.account.TwoFactor.Codes
	if a.account.TwoFactorRequired && !a.account.TwoFactor.Enrolled {
		outcome.Next, entry.Limited = NextTwoFactorSetup, true
	}
	result, err := h.decideWithID(ctx, asOwner(caller, a.id), a,
		func(s signin.State, id uuid.UUID) ([]domain.Event, error) {
			switch {
			case entry.Challenge != uuid.Nil && (s.CodesRefused(a.Now) || !s.Answerable(entry.Challenge, a.Now)):
				return nil, ErrCredentials
			case entry.Challenge == uuid.Nil && guessable(entry.Method) && s.Locked(a.Attempt):
				return nil, ErrCredentials
			}
			outcome.Session, entry.Session = id, id
			events, ok := signin.Succeed(s, a.Attempt, entry, h.Lockout())
			if !ok {
				return nil, errCodeUsed
			}
			return events, nil
		})
	if errors.Is(err, errCodeUsed) {
		return SignedIn{}, h.refuseCode(ctx, caller, a, entry.Challenge, signin.CodeUsed)
	}
	outcome.Position = result.Position
	return outcome, err
}

// refuse records the true reason and answers what everybody is answered.
func (h *Handler) refuse(ctx context.Context, caller Caller, a attempt, reason string) error {
	_, err := h.decide(ctx, caller, a, func(s signin.State) ([]domain.Event, error) {
		return signin.Fail(s, a.Attempt, reason, h.Lockout()), nil
	})
	if err != nil {
		return err
	}
	return ErrCredentials
}

// refuseCode is refuse for what comes after a right password.
func (h *Handler) refuseCode(ctx context.Context, caller Caller, a attempt, challenge uuid.UUID, reason string) error {
	_, err := h.decide(ctx, caller, a, func(s signin.State) ([]domain.Event, error) {
		return signin.FailCode(s, a.Attempt, challenge, reason, h.Lockout()), nil
	})
	if err != nil {
		return err
	}
	return ErrCredentials
}

// SignOut records that a session was ended by its owner.
func (h *Handler) SignOut(ctx context.Context, caller Caller, id, session uuid.UUID) (Result, error) {
	a, err := h.attemptFor(ctx, caller, id)
	if err != nil {
		return Result{}, err
	}
	return h.decide(ctx, caller, a, func(s signin.State) ([]domain.Event, error) {
		return signin.SignOut(s, a.Now, session, h.Lockout()), nil
	})
}

// Unlock ends an account's lockouts after wrong passwords.
func (h *Handler) Unlock(ctx context.Context, caller Caller, id uuid.UUID) (Result, error) {
	a, err := h.attemptFor(ctx, caller, id)
	if err != nil {
		return Result{}, err
	}
	if !a.account.Exists {
		return Result{}, domain.Refusef(domain.CodeNotFound, "there is no such account")
	}
	if err := h.permitUnlock(ctx, caller, a.id, a.account); err != nil || caller.Dry {
		return Result{ID: id.String()}, err
	}
	return h.decide(ctx, caller, a, func(s signin.State) ([]domain.Event, error) {
		return signin.Unlock(s, a.Now, h.Lockout()), nil
	})
}

// unlockAfterReset ends the lockouts that wrong guesses at the former password led to.
func (h *Handler) unlockAfterReset(ctx context.Context, caller Caller, id uuid.UUID) error {
	a, err := h.attemptFor(ctx, caller, id)
	if err != nil {
		return err
	}
	_, err = h.decide(ctx, asOwner(caller, id), a, func(s signin.State) ([]domain.Event, error) {
		return signin.ResetPassword(s, a.Now, h.Lockout()), nil
	})
	return err
}
