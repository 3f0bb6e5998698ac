package httpapi

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The path of a new installation: a company, a group that may view and export risks, a person in it, changes, and the
// history that tells all of it.
func TestFromACompanyToTheHistoryOfAPerson(t *testing.T) {
	t.Parallel()
	a := newAPI(t)

	registered := a.call(t, a.admin, http.MethodPut, "/modules/risks", map[string]any{"name": "Risks"})
	require.Equal(t, http.StatusCreated, registered.status, registered)
	again := a.call(t, a.admin, http.MethodPut, "/modules/risks", map[string]any{"name": "Risks"})
	assert.Equal(t, http.StatusOK, again.status, "the second time it changes nothing")

	company := a.create(t, "/companies", map[string]any{"name": "Nova Energy"})
	analysts := a.create(t, "/groups", map[string]any{
		"name": "Risk analysts", "company_id": company, "permissions": map[string]any{"risks": map[string]any{"view": true, "export": true}},
	})
	auditors := a.create(t, "/groups", map[string]any{"name": "Auditors", "permissions": map[string]any{"risks": map[string]any{"view": true}}})
	role := a.create(t, "/roles", map[string]any{"name": "Analyst", "widgets": []string{"open_risks"}})

	created := a.call(t, a.admin, http.MethodPost, "/users", map[string]any{
		"email": "Olena.Kovalenko@example.com", "first_name": "Олена", "last_name": "Коваленко", "company_id": company,
		"start_date": "2020-01-01", "end_date": "2090-12-31", "group_ids": []string{analysts}, "role_ids": []string{role},
	})
	require.Equal(t, http.StatusCreated, created.status, created)
	id := created.text("id")
	path := "/users/" + id
	assert.Equal(t, basePath+path, created.header.Get("Location"))
	assert.Equal(t, "active", created.text("state"))
	assert.NotEmpty(t, created.header.Get("Secboard-Position"))
	assert.Equal(t, created.header.Get("ETag"), a.call(t, a.admin, http.MethodGet, path, nil).header.Get("ETag"))

	between := time.Now().UTC()
	changed := a.call(t, a.admin, http.MethodPatch, path, map[string]any{
		"last_name": "Шевченко", "end_date": "2027-06-30", "group_ids": []string{auditors}, "phone": nil,
	}, with{"X-Forwarded-For", "203.0.113.9"})
	require.Equal(t, http.StatusOK, changed.status, changed)
	assert.Equal(t, "Шевченко", changed.text("last_name"))
	assert.Equal(t, "2027-06-30", changed.text("end_date"))

	history := a.call(t, a.admin, http.MethodGet, path+"/history", nil)
	require.Equal(t, http.StatusOK, history.status, history)
	fields := map[string][2]any{}
	var types []string
	for _, entry := range history.items() {
		types = append(types, entry["type"].(string))
		actor := entry["actor"].(map[string]any)
		assert.Equal(t, a.adminID.String(), actor["id"])
		assert.Equal(t, "127.0.0.1", entry["ip"], "nobody trusts the X-Forwarded-For of a client")
		for _, change := range entry["changes"].([]any) {
			c := change.(map[string]any)
			name := c["field"].(string) + "/" + entry["type"].(string)
			if _, newer := fields[name]; !newer {
				fields[name] = [2]any{c["from"], c["to"]}
			}
		}
	}
	assert.Equal(t, "user.registered", types[len(types)-1], "newest first")
	assert.Equal(t, [2]any{"Коваленко", "Шевченко"}, fields["last_name/user.name_changed"])
	assert.Equal(t, [2]any{"2090-12-31", "2027-06-30"}, fields["end_date/user.access_period_changed"])
	assert.Equal(t, [2]any{"Risk analysts", nil}, fields["groups/user.group_left"])
	assert.Equal(t, [2]any{nil, "Auditors"}, fields["groups/user.group_joined"])

	onlyGroups := a.call(t, a.admin, http.MethodGet, path+"/history?type=user.group&limit=1", nil)
	require.Len(t, onlyGroups.items(), 1)
	rest := a.call(t, a.admin, http.MethodGet, path+"/history?type=user.group&limit=50&cursor="+onlyGroups.text("next_cursor"), nil)
	assert.Len(t, rest.items(), 2)

	for filter, n := range map[string]int{
		"from=2090-01-01": 0, "to=2020-01-01": 0, "actor_id=" + a.adminID.String(): len(types), "actor_id=" + id: 0,
		"from=" + between.Format(time.RFC3339Nano): len(types) - 3, "to=" + between.Format(time.RFC3339Nano): 3, "include=sign_ins": len(types),
	} {
		assert.Len(t, a.call(t, a.admin, http.MethodGet, path+"/history?"+filter, nil).items(), n, filter)
	}

	earlier := a.call(t, a.admin, http.MethodGet, path+"?as_of="+between.Format(time.RFC3339Nano), nil)
	require.Equal(t, http.StatusOK, earlier.status, earlier)
	assert.Equal(t, "Коваленко", earlier.text("last_name"))
	assert.Equal(t, []any{analysts}, earlier.json["group_ids"])
	assert.Equal(t, http.StatusNotFound, a.call(t, a.admin, http.MethodGet, path+"?as_of=2020-01-01", nil).status)

	members := a.call(t, a.admin, http.MethodGet, "/groups/"+analysts+"/members", nil)
	assert.Empty(t, members.items())
	before := a.call(t, a.admin, http.MethodGet, "/groups/"+analysts+"/members?as_of="+between.Format(time.RFC3339Nano), nil)
	require.Len(t, before.items(), 1, before)
	assert.Equal(t, "Olena.Kovalenko@example.com", before.items()[0]["email"])

	for path, instead := range map[string]string{
		path: "/deactivate", "/companies/" + company: "/retire", "/groups/" + analysts: "/retire", "/roles/" + role: "/retire",
	} {
		deleted := a.call(t, a.admin, http.MethodDelete, path, nil)
		assert.Equal(t, http.StatusMethodNotAllowed, deleted.status)
		assert.Equal(t, "history_is_kept", deleted.text("code"))
		assert.Contains(t, deleted.text("detail"), instead)
		assert.Equal(t, "GET, PATCH", deleted.header.Get("Allow"))
	}
}

func TestEverythingThatCanBeRetired(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for _, kind := range []string{"companies", "roles", "groups"} {
		id := a.create(t, "/"+kind, map[string]any{"name": "Старий"})
		renamed := a.call(t, a.admin, http.MethodPatch, "/"+kind+"/"+id, map[string]any{"name": "Old"})
		require.Equal(t, http.StatusOK, renamed.status, renamed)
		same := a.call(t, a.admin, http.MethodPost, "/"+kind, map[string]any{"name": "Old"})
		assert.Equal(t, http.StatusConflict, same.status)
		assert.Equal(t, "name_taken", same.text("code"))

		retired := a.call(t, a.admin, http.MethodPost, "/"+kind+"/"+id+"/retire", map[string]any{"reason": "merged"})
		require.Equal(t, http.StatusOK, retired.status, retired)
		assert.Equal(t, true, retired.json["retired"])
		again := a.call(t, a.admin, http.MethodPost, "/"+kind+"/"+id+"/retire", nil)
		assert.Equal(t, retired.header.Get("ETag"), again.header.Get("ETag"), "doing it again writes nothing")
		change := a.call(t, a.admin, http.MethodPatch, "/"+kind+"/"+id, map[string]any{"name": "New"})
		assert.Equal(t, "retired", change.text("code"))
		a.create(t, "/"+kind, map[string]any{"name": "Old"})

		listed := a.call(t, a.admin, http.MethodGet, "/"+kind+"?retired=true&sort=-name&query=OL", nil)
		require.Len(t, listed.items(), 1, listed)
		assert.Equal(t, id, listed.items()[0]["id"])
		was := a.call(t, a.admin, http.MethodGet, "/"+kind+"/"+id+"?as_of="+time.Now().UTC().Format(time.DateOnly), nil)
		assert.Equal(t, "Old", was.text("name"), "a date is the end of that day")
		history := a.call(t, a.admin, http.MethodGet, "/"+kind+"/"+id+"/history", nil)
		assert.Len(t, history.items(), 3, history)
	}
}

func TestRolesAndGroupsOfAnAccountOneByOne(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	company := a.create(t, "/companies", map[string]any{"name": "Nova"})
	other := a.create(t, "/companies", map[string]any{"name": "Terra"})
	id := a.create(t, "/users", map[string]any{"email": "anna@example.com", "company_id": company})
	role := a.create(t, "/roles", map[string]any{"name": "Analyst"})
	group := a.create(t, "/groups", map[string]any{"name": "Analysts", "company_id": company})
	foreign := a.create(t, "/groups", map[string]any{"name": "Analysts", "company_id": other})

	for _, step := range []struct {
		method, path string
		status       int
		field        string
		want         []any
	}{
		{http.MethodPut, "/roles/" + role, 200, "role_ids", []any{role}},
		{http.MethodPut, "/groups/" + group, 200, "group_ids", []any{group}},
		{http.MethodPut, "/groups/" + group, 200, "group_ids", []any{group}},
		{http.MethodDelete, "/roles/" + role, 200, "role_ids", []any{}},
		{http.MethodDelete, "/groups/" + group, 200, "group_ids", []any{}},
	} {
		answer := a.call(t, a.admin, step.method, "/users/"+id+step.path, nil)
		require.Equal(t, step.status, answer.status, answer)
		assert.Equal(t, step.want, answer.json[step.field])
	}
	refused := a.call(t, a.admin, http.MethodPut, "/users/"+id+"/groups/"+foreign, nil)
	assert.Equal(t, http.StatusConflict, refused.status)
	assert.Equal(t, "group_of_other_company", refused.text("code"))
	unknown := a.call(t, a.admin, http.MethodPut, "/users/"+id+"/roles/"+id, nil)
	assert.Equal(t, http.StatusNotFound, unknown.status)
	assert.Equal(t, 4, a.count(t, `SELECT count(*) FROM history WHERE subject_id = $1 AND (type LIKE 'user.role%' OR type LIKE 'user.group%')`, id))
}

func TestACabinetPasswordIsNeverReadable(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	company := a.create(t, "/companies", map[string]any{"name": "Nova"})
	const password = "blue-cabinet-with-nine-doors"
	set := a.call(t, a.admin, http.MethodPut, "/companies/"+company+"/cabinet-password", map[string]any{"password": password}, with{"Idempotency-Key", "cabinet"})
	require.Equal(t, http.StatusOK, set.status, set)
	assert.Equal(t, true, set.json["has_cabinet_password"])
	weak := a.call(t, a.admin, http.MethodPut, "/companies/"+company+"/cabinet-password", map[string]any{"password": "short"})
	assert.Equal(t, map[string]string{"password": "weak_password"}, weak.wrong())

	history := a.call(t, a.admin, http.MethodGet, "/companies/"+company+"/history", nil)
	require.Len(t, history.items(), 2)
	for _, text := range []string{string(set.body), string(history.body), string(weak.body), a.log.String()} {
		assert.NotContains(t, text, password)
		assert.NotContains(t, text, "argon2")
	}
	assert.Zero(t, a.count(t, `SELECT count(*) FROM idempotency_keys k WHERE k::text LIKE '%' || $1 || '%'`, password))

	for _, wrong := range []any{"01983c1c-2b7a-7c1e-9d5e-2f6a0c9b7e11"} {
		refused := a.call(t, a.admin, http.MethodPut, "/companies/"+company+"/default-mail-account", map[string]any{"mail_account_id": wrong})
		assert.Equal(t, map[string]string{"mail_account_id": "unknown_mail_account"}, refused.wrong())
	}
	none := a.call(t, a.admin, http.MethodPut, "/companies/"+company+"/default-mail-account", map[string]any{"mail_account_id": nil})
	assert.Equal(t, http.StatusOK, none.status, none)
}
