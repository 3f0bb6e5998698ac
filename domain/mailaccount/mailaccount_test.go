package mailaccount_test

import (
	"testing"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/mailaccount"
	"github.com/secboard/secboard/domain/scenario"
)

var (
	server  = uuid.MustParse("01983c1c-2b7a-7c1e-9d5e-2f6a0c9b7e11")
	details = mailaccount.Details{
		ServerID: server, Address: "accounts@example.com", DisplayName: "Нова", Username: "accounts",
	}
	sealed = domain.Sealed("sealed")
)

func TestCreating(t *testing.T) {
	t.Parallel()
	create := func(d mailaccount.Details, password domain.Sealed) func(mailaccount.State) ([]domain.Event, error) {
		return func(s mailaccount.State) ([]domain.Event, error) { return mailaccount.Create(s, d, password) }
	}
	scenario.Given[mailaccount.State]().When(create(details, nil)).Then(t, mailaccount.Created(details))
	scenario.Given[mailaccount.State]().When(create(details, sealed)).Then(t, mailaccount.Created(details),
		mailaccount.PasswordSet{Password: sealed})
	scenario.Given[mailaccount.State](mailaccount.Created(details)).When(create(details, sealed)).Then(t)
	scenario.Given[mailaccount.State]().When(
		create(mailaccount.Details{Address: "a\r\n@example.com", DisplayName: "x\r\nBcc: y", Username: "\x00"}, nil)).
		ThenInvalid(t, "server_id", "address", "display_name", "username")
}

func TestChanging(t *testing.T) {
	t.Parallel()
	change := func(patch mailaccount.Patch) func(mailaccount.State) ([]domain.Event, error) {
		return func(s mailaccount.State) ([]domain.Event, error) { return mailaccount.Change(s, patch) }
	}
	other, address, empty, none := uuid.Max, " mail@example.com ", "", domain.Sealed(nil)
	created := mailaccount.Created(details)
	scenario.Given[mailaccount.State](created).When(change(mailaccount.Patch{})).Then(t)
	scenario.Given[mailaccount.State](created).When(
		change(mailaccount.Patch{ServerID: &other, Address: &address, Username: &empty, Password: &sealed})).Then(t,
		mailaccount.ServerChanged{ServerID: domain.Changed[uuid.UUID]{From: server, To: other}},
		mailaccount.SenderChanged{
			Address: domain.Changed[string]{From: "accounts@example.com", To: "mail@example.com"},
		},
		mailaccount.UsernameChanged{Username: domain.Changed[string]{From: "accounts"}},
		mailaccount.PasswordSet{Password: sealed},
	)
	scenario.Given[mailaccount.State](created).When(change(mailaccount.Patch{Password: &none})).Then(t)
	scenario.Given[mailaccount.State](created,
		mailaccount.PasswordSet{Password: sealed}).When(change(mailaccount.Patch{Password: &none})).
		Then(t, mailaccount.PasswordRemoved{})
	scenario.Given[mailaccount.State]().When(change(mailaccount.Patch{})).ThenRefused(t, domain.CodeNotFound)
	scenario.Given[mailaccount.State](created,
		mailaccount.Retired{}).When(change(mailaccount.Patch{Address: &address})).ThenRefused(t, domain.CodeRetired)
}

func TestRetiring(t *testing.T) {
	t.Parallel()
	retire := func(s mailaccount.State) ([]domain.Event, error) { return mailaccount.Retire(s, " not needed ") }
	scenario.Given[mailaccount.State]().When(retire).ThenRefused(t, domain.CodeNotFound)
	scenario.Given[mailaccount.State](mailaccount.Created(details)).When(retire).Then(t,
		mailaccount.Retired{Reason: "not needed"})
	scenario.Given[mailaccount.State](mailaccount.Created(details), mailaccount.Retired{}).When(retire).Then(t)
}
