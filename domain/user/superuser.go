package user

import (
	"maps"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
)

func changeSuperuser(s State, by By, superuser *bool) ([]domain.Event, error) {
	switch {
	case superuser == nil || *superuser == s.Superuser:
		return nil, nil
	case !by.Superuser:
		return nil, domain.Refusef(domain.CodeForbidden, "only a superuser can make somebody a superuser")
	case *superuser:
		return []domain.Event{SuperuserGranted{}}, nil
	case by.Self:
		return nil, domain.Refusef(domain.CodeOwnAccount,
			"you can't revoke superuser from your own account: ask another superuser, so that one always remains")
	}
	return []domain.Event{SuperuserRevoked{}}, nil
}

// LimitsSuperuser says whether events end what lets an account do everything indefinitely: active, superuser, without
// a last day, and not from some later day on.
func LimitsSuperuser(s State, events []domain.Event) bool {
	if !s.Active || !s.Superuser || !s.Details.EndDate.IsZero() {
		return false
	}
	next := s
	next.Roles, next.Groups = maps.Clone(s.Roles), maps.Clone(s.Groups)
	for _, event := range events {
		next.Evolve(event)
	}
	begins := next.Details.StartDate
	return !next.Active || !next.Superuser || !next.Details.EndDate.IsZero() || begins != s.Details.StartDate &&
		!begins.IsZero()
}

// ExerciseSuperuser is written into the stream of the superuser who is about to limit another one, after that one's
// stream was read and before it is changed. It refuses whoever may not do everything indefinitely at that time.
//
// So of two superusers who limit each other at the same time at most one succeeds, whichever processes they use: if
// both had read the other's stream before the other exercised, both changes would meet a stream that has moved.
func ExerciseSuperuser(s State, other uuid.UUID, now time.Time) ([]domain.Event, error) {
	if !s.Superuser || !s.Details.EndDate.IsZero() || s.CanSignIn(now) != "" {
		return nil, domain.Refusef(domain.CodeForbidden, "only a superuser whose own account is active and has no "+
			"end date can limit another superuser, so that one always remains")
	}
	return []domain.Event{SuperuserExercised{AccountID: other}}, nil
}

// EasesTakeover says whether an event makes it easier for whoever caused it to sign in as the account: links go to its
// address, and which directory answers for it depends on its company and on the entry that it is bound to.
func EasesTakeover(event domain.Event) bool {
	switch event.(type) {
	case EmailChanged, TwoFactorReset, TwoFactorRequirementLifted, CompanyChanged, DirectoryUnlinked:
		return true
	}
	return false
}
