package commands_test

import (
	"testing"

	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain/user"
)

func TestWhichChangesEndSessions(t *testing.T) {
	t.Parallel()
	own := uuid.New()
	inSession := func() commands.Caller { caller := admin(); caller.Session = own.String(); return caller }
	change := func(patch user.Patch) func(*testing.T, story) (commands.Result, error) {
		return func(t *testing.T, s story) (commands.Result, error) {
			return s.ChangeUser(t.Context(), inSession(), s.anna, commands.ChangeUser{Patch: patch})
		}
	}
	for name, test := range map[string]struct {
		do   func(*testing.T, story) (commands.Result, error)
		ends bool
		kept uuid.UUID
	}{
		"a name":      {change(user.Patch{FirstName: new("Anna")}), false, uuid.Nil},
		"deactivated": {change(user.Patch{Active: new(false)}), true, uuid.Nil},
		"its own password": {func(t *testing.T, s story) (commands.Result, error) {
			return s.ChangeOwnPassword(t.Context(), inSession(), s.anna, password, newPassword)
		}, true, own},
		"a reset link": {func(t *testing.T, s story) (commands.Result, error) {
			return s.UseResetLink(t.Context(), admin(), s.resetToken(t), newPassword)
		}, true, uuid.Nil},
		"two-factor reset": {func(t *testing.T, s story) (commands.Result, error) {
			s.enroll(t)
			return s.ResetTwoFactor(t.Context(), inSession(), s.anna, "lost")
		}, true, uuid.Nil},
		"all sessions ended": {func(t *testing.T, s story) (commands.Result, error) {
			return s.EndSessions(t.Context(), inSession(), s.anna)
		}, true, uuid.Nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			result, err := test.do(t, newStory(t))
			if err != nil || result.EndsSessions != test.ends || result.KeptSession != test.kept {
				t.Errorf("%+v, %v; want %v, kept %s", result, err, test.ends, test.kept)
			}
		})
	}
}

func TestACommandRepeatedSaysAgainThatSessionsEnd(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	caller := admin()
	must(t)(s.DeactivateUser(t.Context(), caller, s.anna, ""))
	if again, err := s.DeactivateUser(t.Context(), caller, s.anna, ""); err != nil || !again.EndsSessions {
		t.Errorf("repeated: %+v, %v", again, err)
	}
}
