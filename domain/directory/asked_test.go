package directory_test

import (
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain/directory"
)

func TestWhoIsAskedAboutSomebody(t *testing.T) {
	t.Parallel()
	nova, other := uuid.UUID{1}, uuid.UUID{2}
	var all []directory.Connection
	names := map[uuid.UUID]string{}
	add := func(name string, company uuid.UUID, vouched bool, change func(*directory.Connection)) uuid.UUID {
		c := directory.Connection{
			ID: uuid.New(), State: directory.State{Exists: true, Vouched: vouched, Settings: settings()},
		}
		c.State.Settings.CompanyID = company
		if change != nil {
			change(&c)
		}
		all, names[c.ID] = append(all, c), name
		return c.ID
	}
	off := add("off", uuid.Nil, true, func(c *directory.Connection) { c.State.Settings.Enabled = false })
	add("retired", nova, true, func(c *directory.Connection) { c.CompanyRetired = true })
	unsure := add("unsure", nova, false, nil)
	add("unsure all", uuid.Nil, false, nil)
	everybody := add("all", uuid.Nil, true, nil)
	add("nova", nova, true, nil)
	elsewhere := add("other", other, true, nil)

	for name, c := range map[string]struct {
		who              directory.Person
		asked, unvouched []string
	}{
		"not known yet": {
			directory.Person{}, []string{"nova", "other", "all", "unsure", "unsure all"}, nil,
		},
		"known": {
			directory.Person{Known: true, CompanyID: nova}, []string{"nova", "all", "unsure", "unsure all"}, nil,
		},
		"no company": {directory.Person{Known: true}, []string{"all", "unsure all"}, nil},
		"with rights": {directory.Person{Known: true, CompanyID: nova, Rights: true}, []string{
			"nova", "all",
		}, []string{"unsure", "unsure all"}},
		"bound": {
			directory.Person{Known: true, CompanyID: nova, ConnectionID: everybody}, []string{"all"}, nil,
		},
		"bound to one of another company": {
			directory.Person{Known: true, CompanyID: nova, ConnectionID: elsewhere, Rights: true}, []string{"other"},
			nil,
		},
		"bound unvouched": {
			directory.Person{Known: true, CompanyID: nova, ConnectionID: unsure}, []string{"unsure"}, nil,
		},
		"bound unvouched, with rights": {
			directory.Person{Known: true, CompanyID: nova, ConnectionID: unsure, Rights: true}, nil, []string{"unsure"},
		},
		"bound to one that is off": {
			directory.Person{Known: true, CompanyID: nova, ConnectionID: off}, []string{"nova", "all"}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			asked, unvouched := directory.Asked(all, c.who)
			named := func(connections []directory.Connection) (is []string) {
				for _, c := range connections {
					is = append(is, names[c.ID])
				}
				return is
			}
			if got := named(asked); !slices.Equal(got, c.asked) {
				t.Errorf("asked are %q, want %q", got, c.asked)
			}
			if got := named(unvouched); !slices.Equal(got, c.unvouched) {
				t.Errorf("unvouched are %q, want %q", got, c.unvouched)
			}
		})
	}
}
