package httpapi

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The path of a new installation: a company, a group that may view and export risks, a person in it, changes, and the
// history that tells all of it.
func TestFromACompanyToTheHistoryOfAPerson(t *testing.T) {
	t.Parallel()
	a := newAPI(t)

	registered := a.call(t, a.admin, http.MethodPut, "/modules/risks", map[string]any{"name": "Risks"})
	if registered.status != http.StatusCreated {
		t.Fatalf("%v: got %v, want %v", registered, registered.status, http.StatusCreated)
	}
	again := a.call(t, a.admin, http.MethodPut, "/modules/risks", map[string]any{"name": "Risks"})
	if again.status != http.StatusOK {
		t.Errorf("the second time it changes nothing: got %v, want %v", again.status, http.StatusOK)
	}

	company := a.create(t, "/companies", map[string]any{"name": "Nova Energy"})
	analysts := a.create(t, "/groups", map[string]any{
		"name": "Risk analysts", "company_id": company,
		"permissions": map[string]any{"risks": map[string]any{"view": true, "export": true}},
	})
	auditors := a.create(t, "/groups",
		map[string]any{"name": "Auditors", "permissions": map[string]any{"risks": map[string]any{"view": true}}})
	role := a.create(t, "/roles", map[string]any{"name": "Analyst", "widgets": []string{"open_risks"}})

	created := a.call(t, a.admin, http.MethodPost, "/users", map[string]any{
		"email": "Olena.Kovalenko@example.com", "first_name": "Олена", "last_name": "Коваленко", "company_id": company,
		"start_date": "2020-01-01", "end_date": "2090-12-31", "group_ids": []string{analysts},
		"role_ids": []string{role},
	})
	if created.status != http.StatusCreated {
		t.Fatalf("%v: got %v, want %v", created, created.status, http.StatusCreated)
	}
	id := created.text("id")
	path := "/users/" + id
	if got := created.header.Get("Location"); got != basePath+path {
		t.Errorf("Location = %q, want %q", got, basePath+path)
	}
	if got := created.text("state"); got != "active" {
		t.Errorf(`state = %q, want "active"`, got)
	}
	if got := created.header.Get("Secboard-Position"); got == "" {
		t.Errorf("Secboard-Position = %q, want something", got)
	}
	if got := a.call(t, a.admin, http.MethodGet, path, nil).header.Get("ETag"); got != created.header.Get("ETag") {
		t.Errorf("got %q, want %q", got, created.header.Get("ETag"))
	}

	between := time.Now().UTC()
	changed := a.call(t, a.admin, http.MethodPatch, path, map[string]any{
		"last_name": "Шевченко", "end_date": "2027-06-30", "group_ids": []string{auditors}, "phone": nil,
	}, with{"X-Forwarded-For", "203.0.113.9"})
	if changed.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", changed, changed.status, http.StatusOK)
	}
	if got := changed.text("last_name"); got != "Шевченко" {
		t.Errorf(`last_name = %q, want "Шевченко"`, got)
	}
	if got := changed.text("end_date"); got != "2027-06-30" {
		t.Errorf(`end_date = %q, want "2027-06-30"`, got)
	}

	history := a.call(t, a.admin, http.MethodGet, path+"/history", nil)
	if history.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", history, history.status, http.StatusOK)
	}
	fields := map[string][2]any{}
	var types []string
	for _, entry := range history.items() {
		types = append(types, entry["type"].(string))
		actor := entry["actor"].(map[string]any)
		if actor["id"] != a.adminID.String() {
			t.Errorf("id = %q, want %q", actor["id"], a.adminID.String())
		}
		if entry["ip"] != "127.0.0.1" {
			t.Errorf(`nobody trusts the X-Forwarded-For of a client: got %q, want "127.0.0.1"`, entry["ip"])
		}
		for _, change := range entry["changes"].([]any) {
			c := change.(map[string]any)
			name := c["field"].(string) + "/" + entry["type"].(string)
			if _, newer := fields[name]; !newer {
				fields[name] = [2]any{c["from"], c["to"]}
			}
		}
	}
	if got := types[len(types)-1]; got != "user.registered" {
		t.Errorf(`newest first: got %q, want "user.registered"`, got)
	}
	if diff := cmp.Diff([2]any{"Коваленко", "Шевченко"}, fields["last_name/user.name_changed"]); diff != "" {
		t.Errorf("fields[\"last_name/user.name_changed\"] (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([2]any{"2090-12-31", "2027-06-30"}, fields["end_date/user.access_period_changed"]); diff != "" {
		t.Errorf("fields[\"end_date/user.access_period_changed\"] (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([2]any{"Risk analysts", nil}, fields["groups/user.group_left"]); diff != "" {
		t.Errorf("fields[\"groups/user.group_left\"] (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([2]any{nil, "Auditors"}, fields["groups/user.group_joined"]); diff != "" {
		t.Errorf("fields[\"groups/user.group_joined\"] (-want +got):\n%s", diff)
	}

	onlyGroups := a.call(t, a.admin, http.MethodGet, path+"/history?type=user.group&limit=1", nil)
	if got := onlyGroups.items(); len(got) != 1 {
		t.Fatalf("onlyGroups.items() has %d elements, want 1: %v", len(got), got)
	}
	rest := a.call(t, a.admin, http.MethodGet, path+"/history?type=user.group&limit=50&cursor="+
		onlyGroups.text("next_cursor"), nil)
	if got := rest.items(); len(got) != 2 {
		t.Errorf("rest.items() has %d elements, want 2: %v", len(got), got)
	}

	moment := between.Format(time.RFC3339Nano)
	for name, c := range map[string]struct {
		filter string
		n      int
	}{
		"after everything":       {"from=2090-01-01", 0},
		"before everything":      {"to=2020-01-01", 0},
		"by the administrator":   {"actor_id=" + a.adminID.String(), len(types)},
		"by the person":          {"actor_id=" + id, 0},
		"from a moment between":  {"from=" + moment, len(types) - 3},
		"up to a moment between": {"to=" + moment, 3},
		"with sign-ins":          {"include=sign_ins", len(types)},
	} {
		t.Run(name, func(t *testing.T) {
			if got := a.call(t, a.admin, http.MethodGet, path+"/history?"+c.filter, nil).items(); len(got) != c.n {
				t.Errorf("got has %d elements, want %d: %v", len(got), c.n, got)
			}
		})
	}

	earlier := a.call(t, a.admin, http.MethodGet, path+"?as_of="+between.Format(time.RFC3339Nano), nil)
	if earlier.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", earlier, earlier.status, http.StatusOK)
	}
	if got := earlier.text("last_name"); got != "Коваленко" {
		t.Errorf(`last_name = %q, want "Коваленко"`, got)
	}
	if diff := cmp.Diff([]any{analysts}, earlier.json["group_ids"]); diff != "" {
		t.Errorf("group_ids (-want +got):\n%s", diff)
	}
	if got := a.call(t, a.admin, http.MethodGet, path+"?as_of=2020-01-01", nil).status; got != http.StatusNotFound {
		t.Errorf("got %v, want %v", got, http.StatusNotFound)
	}

	members := a.call(t, a.admin, http.MethodGet, "/groups/"+analysts+"/members", nil)
	if got := members.items(); len(got) != 0 {
		t.Errorf("members.items() = %v, want nothing", got)
	}
	before := a.call(t, a.admin, http.MethodGet, "/groups/"+analysts+"/members?as_of="+between.Format(time.RFC3339Nano),
		nil)
	if got := before.items(); len(got) != 1 {
		t.Fatalf("%v: got has %d elements, want 1: %v", before, len(got), got)
	}
	if got := before.items()[0]["email"]; got != "Olena.Kovalenko@example.com" {
		t.Errorf(`before.items()[0]["email"] = %q, want "Olena.Kovalenko@example.com"`, got)
	}

	for name, c := range map[string]struct{ path, instead string }{
		"an account": {path, "/deactivate"}, "a company": {"/companies/" + company, "/retire"},
		"a group": {"/groups/" + analysts, "/retire"}, "a role": {"/roles/" + role, "/retire"},
	} {
		t.Run("instead of deleting "+name, func(t *testing.T) {
			deleted := a.call(t, a.admin, http.MethodDelete, c.path, nil)
			if deleted.status != http.StatusMethodNotAllowed {
				t.Errorf("deleted.status = %v, want %v", deleted.status, http.StatusMethodNotAllowed)
			}
			if got := deleted.text("code"); got != "history_is_kept" {
				t.Errorf(`code = %q, want "history_is_kept"`, got)
			}
			if got := deleted.text("detail"); !strings.Contains(got, c.instead) {
				t.Errorf("%q lacks %q", got, c.instead)
			}
			if got := deleted.header.Get("Allow"); got != "GET, PATCH" {
				t.Errorf(`Allow = %q, want "GET, PATCH"`, got)
			}
		})
	}
}

func TestEverythingThatCanBeRetired(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for _, kind := range []string{"companies", "roles", "groups"} {
		t.Run(kind, func(t *testing.T) {
			id := a.create(t, "/"+kind, map[string]any{"name": "Старий"})
			renamed := a.call(t, a.admin, http.MethodPatch, "/"+kind+"/"+id, map[string]any{"name": "Old"})
			if renamed.status != http.StatusOK {
				t.Fatalf("%v: got %v, want %v", renamed, renamed.status, http.StatusOK)
			}
			same := a.call(t, a.admin, http.MethodPost, "/"+kind, map[string]any{"name": "Old"})
			if same.status != http.StatusConflict {
				t.Errorf("same.status = %v, want %v", same.status, http.StatusConflict)
			}
			if got := same.text("code"); got != "name_taken" {
				t.Errorf(`code = %q, want "name_taken"`, got)
			}

			retired := a.call(t, a.admin, http.MethodPost, "/"+kind+"/"+id+"/retire",
				map[string]any{"reason": "merged"})
			if retired.status != http.StatusOK {
				t.Fatalf("%v: got %v, want %v", retired, retired.status, http.StatusOK)
			}
			if retired.json["retired"] != true {
				t.Errorf("retired = %v, want true", retired.json["retired"])
			}
			again := a.call(t, a.admin, http.MethodPost, "/"+kind+"/"+id+"/retire", nil)
			if got := again.header.Get("ETag"); got != retired.header.Get("ETag") {
				t.Errorf("doing it again writes nothing: got %q, want %q", got, retired.header.Get("ETag"))
			}
			change := a.call(t, a.admin, http.MethodPatch, "/"+kind+"/"+id, map[string]any{"name": "New"})
			if got := change.text("code"); got != "retired" {
				t.Errorf(`code = %q, want "retired"`, got)
			}
			a.create(t, "/"+kind, map[string]any{"name": "Old"})

			listed := a.call(t, a.admin, http.MethodGet, "/"+kind+"?retired=true&sort=-name&query=OL", nil)
			if got := listed.items(); len(got) != 1 {
				t.Fatalf("%v: got has %d elements, want 1: %v", listed, len(got), got)
			}
			if got := listed.items()[0]["id"]; got != id {
				t.Errorf(`listed.items()[0]["id"] = %q, want %q`, got, id)
			}
			today := time.Now().UTC().Format(time.DateOnly)
			was := a.call(t, a.admin, http.MethodGet, "/"+kind+"/"+id+"?as_of="+today, nil)
			if got := was.text("name"); got != "Old" {
				t.Errorf(`a date is the end of that day: got %q, want "Old"`, got)
			}
			history := a.call(t, a.admin, http.MethodGet, "/"+kind+"/"+id+"/history", nil)
			if got := history.items(); len(got) != 3 {
				t.Errorf("%v: got has %d elements, want 3: %v", history, len(got), got)
			}
		})
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
		name, method, path string
		status             int
		field              string
		want               []any
	}{
		{"take a role", http.MethodPut, "/roles/" + role, 200, "role_ids", []any{role}},
		{"join a group", http.MethodPut, "/groups/" + group, 200, "group_ids", []any{group}},
		{"join it again", http.MethodPut, "/groups/" + group, 200, "group_ids", []any{group}},
		{"give the role back", http.MethodDelete, "/roles/" + role, 200, "role_ids", []any{}},
		{"leave the group", http.MethodDelete, "/groups/" + group, 200, "group_ids", []any{}},
	} {
		t.Run(step.name, func(t *testing.T) {
			answer := a.call(t, a.admin, step.method, "/users/"+id+step.path, nil)
			if answer.status != step.status {
				t.Fatalf("%v: got %v, want %v", answer, answer.status, step.status)
			}
			if diff := cmp.Diff(step.want, answer.json[step.field]); diff != "" {
				t.Errorf("answer.json[step.field] (-want +got):\n%s", diff)
			}
		})
	}
	refused := a.call(t, a.admin, http.MethodPut, "/users/"+id+"/groups/"+foreign, nil)
	if refused.status != http.StatusConflict {
		t.Errorf("refused.status = %v, want %v", refused.status, http.StatusConflict)
	}
	if got := refused.text("code"); got != "group_of_other_company" {
		t.Errorf(`code = %q, want "group_of_other_company"`, got)
	}
	unknown := a.call(t, a.admin, http.MethodPut, "/users/"+id+"/roles/"+id, nil)
	if unknown.status != http.StatusNotFound {
		t.Errorf("unknown.status = %v, want %v", unknown.status, http.StatusNotFound)
	}
	if got := a.count(t, `SELECT count(*) FROM history WHERE subject_id = $1 AND (type LIKE 'user.role%'
		OR type LIKE 'user.group%')`, id); got != 4 {
		t.Errorf("got %v, want 4", got)
	}
}

func TestACabinetPasswordIsNeverReadable(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	company := a.create(t, "/companies", map[string]any{"name": "Nova"})
	const password = "blue-cabinet-with-nine-doors"
	set := a.call(t, a.admin, http.MethodPut, "/companies/"+company+"/cabinet-password",
		map[string]any{"password": password}, with{"Idempotency-Key", "cabinet"})
	if set.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", set, set.status, http.StatusOK)
	}
	if set.json["has_cabinet_password"] != true {
		t.Errorf("has_cabinet_password = %v, want true", set.json["has_cabinet_password"])
	}
	weak := a.call(t, a.admin, http.MethodPut, "/companies/"+company+"/cabinet-password",
		map[string]any{"password": "short"})
	if diff := cmp.Diff(map[string]string{"password": "weak_password"}, weak.wrong()); diff != "" {
		t.Errorf("weak.wrong() (-want +got):\n%s", diff)
	}

	history := a.call(t, a.admin, http.MethodGet, "/companies/"+company+"/history", nil)
	if got := history.items(); len(got) != 2 {
		t.Fatalf("history.items() has %d elements, want 2: %v", len(got), got)
	}
	for _, text := range []string{string(set.body), string(history.body), string(weak.body), a.log.String()} {
		if strings.Contains(text, password) {
			t.Errorf("%q contains %q", text, password)
		}
		if strings.Contains(text, "argon2") {
			t.Errorf(`%q contains "argon2"`, text)
		}
	}
	if got := a.count(t, `SELECT count(*) FROM idempotency_keys k WHERE k::text LIKE '%' || $1 || '%'`,
		password); got != 0 {
		t.Errorf("got %v, want nothing", got)
	}

	refused := a.call(t, a.admin, http.MethodPut, "/companies/"+company+"/default-mail-account",
		map[string]any{"mail_account_id": "01983c1c-2b7a-7c1e-9d5e-2f6a0c9b7e11"})
	if diff := cmp.Diff(map[string]string{"mail_account_id": "unknown_mail_account"}, refused.wrong()); diff != "" {
		t.Errorf("refused.wrong() (-want +got):\n%s", diff)
	}
	none := a.call(t, a.admin, http.MethodPut, "/companies/"+company+"/default-mail-account",
		map[string]any{"mail_account_id": nil})
	if none.status != http.StatusOK {
		t.Errorf("%v: got %v, want %v", none, none.status, http.StatusOK)
	}
}
