package projections

import (
	"strings"
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
		if own, ok := ownModule(module); !ok || !own.Own || !strings.EqualFold(own.Name, module) || own.Name == module {
			t.Errorf("the module %s is called %q", module, own.Name)
		}
	}
	if _, ok := ownModule("risks"); ok {
		t.Error("a module of the host platform counts as own")
	}
}
