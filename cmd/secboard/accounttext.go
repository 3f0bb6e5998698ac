package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/secboard/secboard/projections"
)

// showAccount prints an account and what it may do.
func (p *program) showAccount(u projections.User, items []projections.AccessItem) error {
	rows := [][]string{{"id", u.ID.String()}, {"email", u.Email}}
	add := func(name string, value *string) {
		if value != nil {
			rows = append(rows, []string{name, *value})
		}
	}
	add("first_name", u.FirstName)
	add("last_name", u.LastName)
	add("phone", u.Phone)
	if u.Company != nil {
		rows = append(rows, []string{"company", u.Company.Name})
	}
	add("department", u.Department)
	add("position", u.Position)
	if u.StartDate != nil {
		rows = append(rows, []string{"start_date", u.StartDate.String()})
	}
	if u.EndDate != nil {
		rows = append(rows, []string{"end_date", u.EndDate.String()})
	}
	rows = append(rows, []string{"state", u.State})
	add("state_reason", u.StateReason)
	rows = append(rows, []string{"superuser", yesNo(u.Superuser)}, []string{"two_factor", twoFactorText(u.TwoFactor)},
		[]string{"roles", refNames(u.Roles)}, []string{"groups", refNames(u.Groups)})
	if u.LastSignInAt != nil {
		rows = append(rows, []string{"last_sign_in_at", u.LastSignInAt.Format(time.RFC3339)})
	}
	rows = append(rows, []string{"created_at", u.CreatedAt.Format(time.RFC3339)},
		[]string{"changed_at", u.UpdatedAt.Format(time.RFC3339)})
	if err := p.table(rows); err != nil {
		return err
	}
	if len(items) == 0 {
		return p.printf("\nNo permissions.\n")
	}
	if err := p.printf("\n"); err != nil {
		return err
	}
	access := [][]string{{"MODULE", "ACTION", "VIA", "GIVEN", "BY"}}
	for _, item := range items {
		access = append(access, append([]string{item.Module, string(item.Action)}, viaCells(item.Via)...))
	}
	return p.table(access)
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

func twoFactorText(f projections.TwoFactor) string {
	switch {
	case f.Enrolled:
		return fmt.Sprintf("enrolled, %d backup codes left", f.BackupCodesLeft)
	case f.Required:
		return "required, not set up"
	}
	return "not used"
}

func refNames(refs []projections.Ref) string {
	names := make([]string, len(refs))
	for i, ref := range refs {
		names[i] = ref.Name
	}
	return strings.Join(names, ", ")
}

// viaCells are the grants of an action: by what, when the first of them was given and by whom.
func viaCells(via []projections.Grant) []string {
	var names []string
	for _, grant := range via {
		name := "superuser"
		if grant.Name != nil {
			name = *grant.Name
		}
		names = append(names, name)
	}
	first := slices.MinFunc(via, func(a, b projections.Grant) int { return a.GivenAt.Compare(b.GivenAt) })
	return []string{strings.Join(names, ", "), first.GivenAt.Format(time.RFC3339), actorText(first.GivenBy)}
}

func actorText(a projections.Actor) string {
	switch {
	case a.Name != nil:
		return printable(*a.Name)
	case a.ID != nil:
		return a.Kind + " " + *a.ID
	}
	return a.Kind
}
