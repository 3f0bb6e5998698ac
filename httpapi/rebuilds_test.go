package httpapi

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/secboard/secboard/projections/engine"
)

func TestRebuildOverHTTP(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.create(t, "/companies", map[string]any{"name": "Nova"})
	ended := func(started answered) answered {
		require.Equal(t, http.StatusAccepted, started.status, started)
		path := strings.TrimPrefix(started.header.Get("Location"), basePath)
		assert.Equal(t, "/projections/rebuilds/"+started.text("id"), path)
		var last answered
		require.Eventually(t, func() bool {
			last = a.call(t, a.admin, http.MethodGet, path, nil)
			return last.status == http.StatusOK && last.json["ended_at"] != nil
		}, patience, 20*time.Millisecond)
		return last
	}

	verified := ended(a.call(t, a.admin, http.MethodPost, "/projections/rebuilds", map[string]any{"all": true, "verify_only": true}))
	assert.Equal(t, engine.RebuildDone, verified.text("state"), verified)
	assert.Empty(t, verified.json["differences"])
	assert.Equal(t, true, verified.json["verify_only"])
	assert.NotZero(t, verified.json["done"])
	assert.Equal(t, verified.json["done"], verified.json["total"])

	_, err := a.pool.Exec(t.Context(), "UPDATE companies SET name = 'Changed by hand'")
	require.NoError(t, err)
	rebuilt := ended(a.call(t, a.admin, http.MethodPost, "/projections/rebuilds", map[string]any{"names": []string{"companies", "users"}}))
	assert.Equal(t, engine.RebuildDone, rebuilt.text("state"), rebuilt)
	differences, _ := rebuilt.json["differences"].([]any)
	require.Len(t, differences, 1)
	difference, _ := differences[0].(map[string]any)
	assert.Equal(t, "companies", difference["table"])
	assert.Equal(t, "name", difference["column"])
	assert.Equal(t, `"Changed by hand"`, difference["live"])
	assert.Equal(t, `"Nova"`, difference["rebuilt"])
	companies := a.call(t, a.admin, http.MethodGet, "/companies", nil)
	assert.Equal(t, "Nova", companies.items()[0]["name"])
	a.create(t, "/companies", map[string]any{"name": "Next"}) // and the projections go on

	for _, wrong := range []map[string]any{{}, {"names": []string{"users"}, "all": true}, {"names": []string{"nobody"}}} {
		refused := a.call(t, a.admin, http.MethodPost, "/projections/rebuilds", wrong)
		assert.Equal(t, http.StatusUnprocessableEntity, refused.status, refused)
	}
	assert.Equal(t, http.StatusNotFound, a.call(t, a.admin, http.MethodGet, "/projections/rebuilds/"+uuid.NewString(), nil).status)
	assert.Equal(t, http.StatusNotFound, a.call(t, a.admin, http.MethodPost, "/projections/rebuilds/"+uuid.NewString()+"/abort", nil).status)
	again := a.call(t, a.admin, http.MethodPost, "/projections/rebuilds/"+rebuilt.text("id")+"/abort", nil)
	assert.Equal(t, engine.RebuildDone, again.text("state"), again)
}
