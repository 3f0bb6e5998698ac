package projections

import (
	"testing"

	"github.com/secboard/secboard/domain"
)

func TestNamesOfProjectionsAndTablesAreUnique(t *testing.T) {
	t.Parallel()
	projections, tables, streamed := map[string]bool{}, map[string]bool{}, 0
	for _, p := range Set().Projections {
		if projections[p.Name] {
			t.Errorf("two projections are called %s", p.Name)
		}
		projections[p.Name] = true
		for _, table := range p.Tables {
			if tables[table.Name] {
				t.Errorf("two projections write %s", table.Name)
			}
			tables[table.Name] = true
			if table.Streamed {
				streamed++
			}
		}
	}
	if streamed > 1 {
		t.Errorf("%d tables are streamed", streamed)
	}
}

func TestEveryOwnModuleHasANameForPeople(t *testing.T) {
	t.Parallel()
	for _, module := range domain.OwnModules {
		if ownNames[module] == "" {
			t.Errorf("the module %s has none", module)
		}
	}
}
