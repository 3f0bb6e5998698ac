package commands

import (
	"context"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/signin"
)

// checkCabinetPassword says whether a password is that of a company's cabinet. Wrong ones count for the network that
// they come from and the company, and for nobody's account. The hashing is the same for every company and for none.
func (h *Handler) checkCabinetPassword(ctx context.Context, caller Caller, id uuid.UUID, password string) (bool,
	error) {
	guesses := attempt{
		Attempt: signin.Attempt{Now: h.Now(), Network: signin.Network(caller.IP)}, id: id,
		stream: domain.StreamName(signin.Kind, uuid.NewSHA1(id, []byte("cabinet"))),
	}
	stream := domain.StreamName(company.Kind, id)
	found, err := load[company.State](ctx, h.Log, stream)
	if err != nil {
		return false, err
	}
	hash := ""
	if found.State.CabinetPassword.Set() && !found.State.Retired {
		opened, err := h.Keys.Open(found.State.CabinetPassword, stream)
		if err != nil {
			return false, err
		}
		hash = string(opened)
	}
	fits, err := h.Hasher.Check(ctx, password, hash)
	if err != nil {
		return false, err
	}
	_, err = h.decide(ctx, caller, guesses, func(s signin.State) ([]domain.Event, error) {
		if s.Locked(guesses.Attempt) {
			fits = false
		}
		if fits {
			return nil, nil
		}
		return signin.Fail(s, guesses.Attempt, signin.WrongCabinetPassword, h.Lockout()), nil
	})
	return fits, err
}
