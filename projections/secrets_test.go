package projections

import (
	"testing"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain/company"
)

func TestNoSecretReachesTheReadModels(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	ctx := t.Context()
	s.has(t)(s.CreateSuperuser(ctx, commands.Operator(), "root@example.com", "correct horse battery"))
	acme := s.has(t)(s.CreateCompany(ctx, commands.Operator(), company.Details{Name: "Acme"}))
	s.has(t)(s.SetCabinetPassword(ctx, commands.Operator(), acme, "another long secret"))
	stored := func(condition string) (n int) {
		if err := s.pool.QueryRow(ctx, "SELECT count(*) FROM history WHERE "+condition).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if stored("data ? 'hash'") != 2 || stored("data->>'hash' IS NOT NULL") != 0 {
		t.Fatal("the history holds hashes")
	}
	if c, err := s.Company(ctx, acme); err != nil || !c.HasCabinetPassword {
		t.Fatal(c, err)
	}
	if c, err := s.CompanyAsOf(ctx, acme, s.clock()); err != nil || !c.HasCabinetPassword {
		t.Fatal(c, err)
	}
}
