package httpapi

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/secboard/secboard/pause/pausetest"
	"github.com/secboard/secboard/projections/engine"
)

func TestRebuildOverHTTP(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.create(t, "/companies", map[string]any{"name": "Nova"})
	ended := func(started answered) answered {
		if started.status != http.StatusAccepted {
			t.Fatalf("%v: got %v, want %v", started, started.status, http.StatusAccepted)
		}
		path := strings.TrimPrefix(started.header.Get("Location"), basePath)
		if path != "/projections/rebuilds/"+started.text("id") {
			t.Errorf("path = %q, want %q", path, "/projections/rebuilds/"+started.text("id"))
		}
		var last answered
		pausetest.Until(t, "its end", func() bool {
			last = a.call(t, a.admin, http.MethodGet, path, nil)
			return last.status == http.StatusOK && last.json["ended_at"] != nil
		})
		return last
	}

	verified := ended(
		a.call(t, a.admin, http.MethodPost, "/projections/rebuilds", map[string]any{"all": true, "verify_only": true}))
	if got := verified.text("state"); got != engine.RebuildDone {
		t.Errorf("%v: got %q, want %q", verified, got, engine.RebuildDone)
	}
	if differences, _ := verified.json["differences"].([]any); len(differences) != 0 {
		t.Errorf("differences: %v", differences)
	}
	if verified.json["verify_only"] != true {
		t.Errorf("verify_only = %v, want true", verified.json["verify_only"])
	}
	if done, _ := verified.json["done"].(float64); done == 0 {
		t.Errorf("nothing was read: %v", verified)
	}
	if diff := cmp.Diff(verified.json["done"], verified.json["total"]); diff != "" {
		t.Errorf("total (-want +got):\n%s", diff)
	}

	_, err := a.pool.Exec(t.Context(), "UPDATE companies SET name = 'Changed by hand'")
	if err != nil {
		t.Fatal(err)
	}
	rebuilt := ended(a.call(t, a.admin, http.MethodPost, "/projections/rebuilds",
		map[string]any{"names": []string{"companies", "users"}}))
	if got := rebuilt.text("state"); got != engine.RebuildDone {
		t.Errorf("%v: got %q, want %q", rebuilt, got, engine.RebuildDone)
	}
	differences, _ := rebuilt.json["differences"].([]any)
	if len(differences) != 1 {
		t.Fatalf("differences has %d elements, want 1: %v", len(differences), differences)
	}
	difference, _ := differences[0].(map[string]any)
	if difference["table"] != "companies" {
		t.Errorf(`table = %q, want "companies"`, difference["table"])
	}
	if difference["column"] != "name" {
		t.Errorf(`column = %q, want "name"`, difference["column"])
	}
	if difference["live"] != `"Changed by hand"` {
		t.Errorf("live = %q, want %q", difference["live"], `"Changed by hand"`)
	}
	if difference["rebuilt"] != `"Nova"` {
		t.Errorf("rebuilt = %q, want %q", difference["rebuilt"], `"Nova"`)
	}
	companies := a.call(t, a.admin, http.MethodGet, "/companies", nil)
	if got := companies.items()[0]["name"]; got != "Nova" {
		t.Errorf(`companies.items()[0]["name"] = %q, want "Nova"`, got)
	}
	a.create(t, "/companies", map[string]any{"name": "Next"}) // and the projections go on

	for name, wrong := range map[string]map[string]any{
		"neither names nor all": {}, "names and all": {"names": []string{"users"}, "all": true},
		"an unknown name": {"names": []string{"nobody"}},
	} {
		t.Run(name, func(t *testing.T) {
			refused := a.call(t, a.admin, http.MethodPost, "/projections/rebuilds", wrong)
			if refused.status != http.StatusUnprocessableEntity {
				t.Errorf("%v: got %v, want %v", refused, refused.status, http.StatusUnprocessableEntity)
			}
		})
	}
	if got := a.call(t, a.admin, http.MethodGet, "/projections/rebuilds/"+uuid.NewString(),
		nil).status; got != http.StatusNotFound {
		t.Errorf("got %v, want %v", got, http.StatusNotFound)
	}
	if got := a.call(t, a.admin, http.MethodPost, "/projections/rebuilds/"+uuid.NewString()+"/abort",
		nil).status; got != http.StatusNotFound {
		t.Errorf("got %v, want %v", got, http.StatusNotFound)
	}
	again := a.call(t, a.admin, http.MethodPost, "/projections/rebuilds/"+rebuilt.text("id")+"/abort", nil)
	if got := again.text("state"); got != engine.RebuildDone {
		t.Errorf("%v: got %q, want %q", again, got, engine.RebuildDone)
	}
}
