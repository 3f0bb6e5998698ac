package commands_test

import (
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore/nodetest"
	"github.com/secboard/secboard/secrets"
)

const (
	rootEmail    = "root@example.com"
	rootPassword = "correct horse battery staple"
)

func TestInstancesThatStartTogetherMakeOneSuperuser(t *testing.T) {
	t.Parallel()
	log := nodetest.Connect(t)
	keys, err := secrets.LoadOrCreateKeyset(filepath.Join(t.TempDir(), "keyset.json"))
	if err != nil {
		t.Fatal(err)
	}
	hasher, err := secrets.NewHasher(8)
	if err != nil {
		t.Fatal(err)
	}
	var made atomic.Int64
	var instances sync.WaitGroup
	for range 4 {
		instances.Go(func() {
			first, err := commands.New(log, keys, hasher).Bootstrap(t.Context(), rootEmail, rootPassword)
			if err != nil {
				t.Error(err)
			}
			if first {
				made.Add(1)
			}
		})
	}
	instances.Wait()
	if accounts := len(registrations(t, log)[rootEmail]); accounts != 1 || made.Load() == 0 {
		t.Errorf("%d accounts were made by %d instances, want one", accounts, made.Load())
	}
}

func TestALaterStartBringsNoSuperuserBack(t *testing.T) {
	t.Parallel()
	log := nodetest.Connect(t)
	h := newHandler(t, log)
	if made, err := h.Bootstrap(t.Context(), rootEmail, "short"); made || err == nil {
		t.Errorf("a password that is too short: %v, %v", made, err)
	}
	if made, err := h.Bootstrap(t.Context(), rootEmail, rootPassword); !made || err != nil {
		t.Fatal(made, err)
	}
	// Somebody else has become superuser since, and the first account is closed.
	other := must(t)(h.CreateSuperuser(t.Context(), commands.Operator(), "other@example.com", rootPassword))
	found, _, err := h.EnsureSuperuser(t.Context(), commands.Operator(), rootEmail, rootPassword, "")
	if err != nil {
		t.Fatal(err)
	}
	no := false
	must(t)(h.ChangeUser(t.Context(), admin(), found, commands.ChangeUser{Patch: user.Patch{Active: &no}}))
	if made, err := h.Bootstrap(t.Context(), rootEmail, rootPassword); made || err != nil {
		t.Errorf("a later start: %v, %v", made, err)
	}
	account, err := h.Account(t.Context(), found)
	if err != nil || account.Active {
		t.Errorf("the closed account %s is active again beside %s: %v", found, other, err)
	}
}

func TestEnsureSuperuserLetsSomebodyBackIn(t *testing.T) {
	t.Parallel()
	h := newHandler(t, nodetest.Connect(t))
	id, account, err := h.EnsureSuperuser(t.Context(), commands.Operator(), rootEmail, rootPassword, "")
	if err != nil || !account.Superuser || !account.Active {
		t.Fatalf("%+v, %v", account, err)
	}
	for range signin.DefaultPolicy.Attempts { // enough for a lockout
		if _, err := h.SignIn(t.Context(), from("203.0.113.9"), rootEmail, "wrong"); err == nil {
			t.Fatal("a wrong password lets in")
		}
	}
	if _, err := h.SignIn(t.Context(), from("203.0.113.9"), rootEmail, rootPassword); err == nil {
		t.Fatal("there is no lockout to end")
	}
	again, _, err := h.EnsureSuperuser(t.Context(), commands.Operator(), rootEmail, newPassword, "")
	if err != nil || again != id {
		t.Fatal(again, err)
	}
	if _, err := h.SignIn(t.Context(), from("203.0.113.9"), rootEmail, newPassword); err != nil {
		t.Errorf("after it: %v", err)
	}
}
