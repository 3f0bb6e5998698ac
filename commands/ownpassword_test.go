package commands_test

import (
	"context"
	"testing"

	"github.com/alexedwards/argon2id"
	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
)

// changedMeanwhile is a log in which something happens before the n-th reading of an account's stream.
type changedMeanwhile struct {
	eventstore.Log
	stream string
	reads  int
	happen func()
}

func (l *changedMeanwhile) ReadStream(ctx context.Context, stream string) ([]eventstore.Recorded, error) {
	if stream == l.stream {
		if l.reads--; l.reads == 0 {
			l.happen()
		}
	}
	return l.Log.ReadStream(ctx, stream)
}

func TestThePasswordIsChangedAlsoWhereItsHashIsRenewed(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	stream := domain.StreamName(user.Kind, s.anna)
	weak, err := argon2id.CreateHash(password,
		&argon2id.Params{Memory: 1 << 10, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32})
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := s.Keys.Seal([]byte(weak), stream)
	if err != nil {
		t.Fatal(err)
	}
	recorded, err := s.log.ReadStream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	revision := recorded[len(recorded)-1].Revision
	proposed, err := eventstore.Encode(stream, revision, []domain.Event{user.PasswordRehashed{Hash: sealed}},
		eventstore.Metadata{
			At: s.clock.Now(), Actor: eventstore.Actor{Kind: eventstore.ActorSystem}, CommandID: uuid.New(),
		})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.log.Append(t.Context(), stream, revision, proposed); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ChangeOwnPassword(t.Context(), admin(), s.anna, password, newPassword); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SignIn(t.Context(), from("192.0.2.1"), annasEmail, newPassword); err != nil {
		t.Error(err)
	}
}

func TestWhatHappensBesideAChangeOfTheOwnPassword(t *testing.T) {
	t.Parallel()
	phone := "123"
	for name, test := range map[string]struct {
		happen  func(story)
		refused bool
	}{
		"something else": {func(s story) {
			must(t)(s.ChangeUser(t.Context(), admin(), s.anna, commands.ChangeUser{Patch: user.Patch{Phone: &phone}}))
		}, false},
		"another password": {func(s story) { s.setPassword(t, "the password of a third") }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStory(t)
			// Before the reading on which the change is decided: the first and the second ask for the password.
			// It happens in another instance, for which this one does not wait.
			meanwhile := commands.New(&changedMeanwhile{
				Log: s.log, stream: domain.StreamName(user.Kind, s.anna), reads: 3, happen: func() { test.happen(s) },
			}, s.Keys, s.Hasher)
			meanwhile.Now = s.Handler.Now
			_, err := meanwhile.ChangeOwnPassword(t.Context(), admin(), s.anna, password, newPassword)
			if wasRefused := refused(err, domain.CodeRevisionMismatch); wasRefused != test.refused || !wasRefused &&
				err != nil {
				t.Error(err)
			}
		})
	}
}
