package httpapi

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/directory"
)

// The first sign-in makes the account, later ones follow the entry, and each change says that the directory made it.
func TestSigningInThroughADirectory(t *testing.T) {
	t.Parallel()
	a, servers := withDirectory(t)
	nova := a.create(t, "/companies", map[string]any{"name": "Nova"})
	other := a.create(t, "/companies", map[string]any{"name": "Other"})
	grants := map[string]any{"users": map[string]any{"view": true}}
	for name, company := range map[string]any{"Analysts": nova, "Everybody": nil, "Strangers": other} {
		a.create(t, "/groups", map[string]any{"name": name, "company_id": company, "permissions": grants})
	}
	gone := a.create(t, "/groups", map[string]any{"name": "Gone"})
	if got := a.call(t, a.admin, http.MethodPost, "/groups/"+gone+"/retire", nil).status; got != http.StatusOK {
		t.Fatalf("got %v, want %v", got, http.StatusOK)
	}
	id := a.connect(t, "Nova AD", map[string]any{
		"company_id": nova, "sync_groups": true, "bind_dn": "CN=reader,DC=example,DC=com", "bind_password": "hush hush",
	})
	olena := directory.Entry{
		DN: "CN=Olena,DC=example,DC=com", GUID: "guid-olena", Email: "Olena@example.com", FirstName: "Олена",
		LastName: "Коваленко",
		Phone:    strings.Repeat("1", 80) + "\x07", Department: "Risk",
		Groups: []string{"Analysts", "EVERYBODY", "Strangers", "Gone", "Unrelated"},
	}
	servers.put("Nova AD", olena)

	in := a.signInAs(t, "olena@example.com", directoryPassword)
	if in.status != http.StatusCreated {
		t.Fatalf("%v: got %v, want %v", in, in.status, http.StatusCreated)
	}
	if servers.bound != "hush hush" {
		t.Errorf(`servers.bound = %q, want "hush hush"`, servers.bound)
	}
	account := in.json["user"].(map[string]any)
	path := "/users/" + account["id"].(string)
	for field, want := range map[string]any{
		"email": "Olena@example.com", "first_name": "Олена", "source": "directory", "company_id": nova,
		"superuser": false, "department": "Risk",
		"phone": strings.Repeat("1", 50), "directory_id": id, "directory_dn": olena.DN, "has_password": false,
	} {
		t.Run(field, func(t *testing.T) {
			if diff := cmp.Diff(want, account[field]); diff != "" {
				t.Errorf("account[field] (-want +got):\n%s", diff)
			}
		})
	}
	groups := account["groups"].([]any)
	if len(groups) != 1 {
		t.Fatalf("exact names, global or of the company, in use: got has %d elements, want 1: %v", len(groups), groups)
	}
	if got := groups[0].(map[string]any)["name"]; got != "Analysts" {
		t.Errorf(`groups[0].(map[string]any)["name"] = %q, want "Analysts"`, got)
	}
	history := a.call(t, a.admin, http.MethodGet, path+"/history", nil)
	for _, entry := range history.items() {
		if got := entry["actor"].(map[string]any)["kind"]; got != "directory" {
			t.Errorf(`%v: got %q, want "directory"`, entry["type"], got)
		}
		if got := entry["actor"].(map[string]any)["name"]; got != "Nova AD" {
			t.Errorf(`actor.(map[string]any)["name"] = %q, want "Nova AD"`, got)
		}
	}
	members := a.call(t, a.admin, http.MethodGet, "/groups/"+groups[0].(map[string]any)["id"].(string)+"/members",
		nil).items()
	if len(members) != 1 {
		t.Fatalf("members has %d elements, want 1: %v", len(members), members)
	}
	if got := members[0]["joined_by"].(map[string]any)["kind"]; got != "directory" {
		t.Errorf(`the membership carries its source: got %q, want "directory"`, got)
	}

	check := a.directoryCheckOf(t, account["id"].(string))
	if check["ok"] != true {
		t.Errorf("ok = %v, want true", check["ok"])
	}
	for _, miss := range []string{`"EVERYBODY": the group "Everybody" is spelled differently`,
		`"Strangers": the group "Strangers" belongs to another company`, `"Gone": the group "Gone" is retired`} {
		if got := fmt.Sprint(check["detail"]); !strings.Contains(got, miss) {
			t.Errorf("%q lacks %q", got, miss)
		}
	}
	if got := fmt.Sprint(check["detail"]); strings.Contains(got, "Unrelated") {
		t.Errorf(`%q contains "Unrelated"`, got)
	}

	olena.LastName, olena.DN, olena.Phone, olena.Groups = "Шевченко", "CN=Olena,OU=Moved,DC=example,DC=com", "",
		[]string{"Everybody"}
	servers.put("Nova AD", olena)
	in = a.signInAs(t, "olena@example.com", directoryPassword)
	if in.status != http.StatusCreated {
		t.Fatalf("%v: got %v, want %v", in, in.status, http.StatusCreated)
	}
	account = in.json["user"].(map[string]any)
	if account["last_name"] != "Шевченко" {
		t.Errorf(`last_name = %q, want "Шевченко"`, account["last_name"])
	}
	if account["phone"] != strings.Repeat("1", 50) {
		t.Errorf("what the directory does not have is left alone: got %q, want %q", account["phone"],
			strings.Repeat("1", 50))
	}
	if groups, _ := account["groups"].([]any); len(groups) != 2 {
		t.Errorf("groups are only added: %v", groups)
	}
	if got := fmt.Sprint(a.directoryCheckOf(t, account["id"].(string))["detail"]); strings.Contains(got, "EVERYBODY") {
		t.Errorf(`%q contains "EVERYBODY"`, got)
	}

	before := len(a.call(t, a.admin, http.MethodGet, path+"/history", nil).items())
	if got := a.signInAs(t, "olena@example.com", directoryPassword).status; got != http.StatusCreated {
		t.Fatalf(`a.signInAs(t, "olena@example.com", directoryPassword).status = %v, want %v`, got, http.StatusCreated)
	}
	if got := a.call(t, a.admin, http.MethodGet, path+"/history", nil).items(); len(got) != before {
		t.Errorf("nothing new, no event: got has %d elements, want %d: %v", len(got), before, got)
	}

	t.Log("a new e-mail address in the directory is still the same person")
	olena.Email = "olena.shevchenko@example.com"
	servers.put("Nova AD", olena)
	renamed := a.signInAs(t, olena.Email, directoryPassword)
	if renamed.status != http.StatusCreated {
		t.Fatalf("%v: got %v, want %v", renamed, renamed.status, http.StatusCreated)
	}
	if diff := cmp.Diff(account["id"], renamed.json["user"].(map[string]any)["id"]); diff != "" {
		t.Errorf("user.(map[string]any)[\"id\"] (-want +got):\n%s", diff)
	}
	if got := renamed.json["user"].(map[string]any)["email"]; got != olena.Email {
		t.Errorf(`user.(map[string]any)["email"] = %q, want %q`, got, olena.Email)
	}
	if got := a.signInAs(t, "olena@example.com", directoryPassword).status; got != http.StatusUnauthorized {
		t.Errorf(`a.signInAs(t, "olena@example.com", directoryPassword).status = %v, want %v`, got,
			http.StatusUnauthorized)
	}
}

// Nobody gets an account of somebody else through a directory.
func TestADirectoryTakesNoAccountOver(t *testing.T) {
	t.Parallel()
	a, servers := withDirectory(t)
	a.account(t, annasEmail, annasPassword)
	pending := a.create(t, "/users", map[string]any{"email": "pending@example.com", "first_name": "Pen"})
	id := a.connect(t, "AD", nil)
	entry := func(email, guid string) directory.Entry {
		return directory.Entry{DN: "CN=" + email, GUID: guid, Email: email, FirstName: "Of the directory"}
	}
	servers.put("AD", entry(annasEmail, "1"), entry("pending@example.com", "2"), entry(adminEmail, "3"))

	if got := a.signInAs(t, annasEmail, directoryPassword).status; got != http.StatusUnauthorized {
		t.Errorf("a.signInAs(t, annasEmail, directoryPassword).status = %v, want %v", got, http.StatusUnauthorized)
	}
	if got := a.signInAs(t, annasEmail, annasPassword).status; got != http.StatusCreated {
		t.Errorf("a.signInAs(t, annasEmail, annasPassword).status = %v, want %v", got, http.StatusCreated)
	}
	if got := servers.questions(); len(got) != 0 {
		t.Errorf("a local account never touches the directory: got %v, want nothing", got)
	}
	if got := a.signInAs(t, "pending@example.com", "").status; got != http.StatusUnauthorized {
		t.Errorf(`a.signInAs(t, "pending@example.com", "").status = %v, want %v`, got, http.StatusUnauthorized)
	}
	if got := servers.questions(); len(got) != 0 {
		t.Errorf("an empty password never gets on the wire: got %v, want nothing", got)
	}

	in := a.signInAs(t, "pending@example.com", directoryPassword)
	if in.status != http.StatusCreated {
		t.Fatalf("%v: got %v, want %v", in, in.status, http.StatusCreated)
	}
	if got := in.json["user"].(map[string]any)["id"]; got != pending {
		t.Errorf("an account without a password goes through the directory: got %q, want %q", got, pending)
	}
	servers.put("AD", entry("pending@example.com", "another"), entry(adminEmail, "3"))
	if got := a.signInAs(t, "pending@example.com", directoryPassword).status; got != http.StatusUnauthorized {
		t.Errorf("got %v, want %v", got, http.StatusUnauthorized)
	}
	check := a.directoryCheckOf(t, pending)
	if check["ok"] != false {
		t.Errorf("ok = %v, want false", check["ok"])
	}
	if got := fmt.Sprint(check["detail"]); !strings.Contains(got, "another entry") {
		t.Errorf(`%q lacks "another entry"`, got)
	}
	if got := fmt.Sprint(check["fix"]); !strings.Contains(got, "POST /users/"+pending+"/unlink-directory") {
		t.Errorf("%q lacks %q", got, "POST /users/"+pending+"/unlink-directory")
	}
	unlinked := a.call(t, a.admin, http.MethodPost, "/users/"+pending+"/unlink-directory",
		map[string]any{"reason": "the entry was created again"})
	if unlinked.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", unlinked, unlinked.status, http.StatusOK)
	}
	if unlinked.json["directory_id"] != nil {
		t.Errorf("directory_id = %v, want nil", unlinked.json["directory_id"])
	}
	if got := a.signInAs(t, "pending@example.com", directoryPassword).status; got != http.StatusCreated {
		t.Errorf("got %v, want %v", got, http.StatusCreated)
	}

	t.Log("whoever is no superuser and changes who gets in takes the trust from the connection")
	_, clerk := a.person(t, "clerk@example.com", domain.Permissions{"directory": {View: true, Edit: true, Add: true}})
	changed := a.call(t, clerk, http.MethodPatch, "/directories/"+id,
		map[string]any{"user_filter": "(objectClass=person)"})
	if changed.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", changed, changed.status, http.StatusOK)
	}
	if changed.json["vouched"] != false {
		t.Errorf("vouched = %v, want false", changed.json["vouched"])
	}
	if got := a.signInAs(t, adminEmail, directoryPassword).status; got != http.StatusUnauthorized {
		t.Errorf("a superuser: got %v, want %v", got, http.StatusUnauthorized)
	}
	check = a.directoryCheckOf(t, a.adminID.String())
	if check["ok"] != false {
		t.Errorf("ok = %v, want false", check["ok"])
	}
	if got := fmt.Sprint(check["detail"]); !strings.Contains(got, "approve") {
		t.Errorf(`%q lacks "approve"`, got)
	}
	opened := a.signInAs(t, "pending@example.com", directoryPassword)
	if opened.status != http.StatusCreated {
		t.Errorf("others go on: got %v, want %v", opened.status, http.StatusCreated)
	}
	if got := a.call(t, opened.text("token"), http.MethodGet, "/me", nil).status; got != http.StatusOK {
		t.Errorf("got %v, want %v", got, http.StatusOK)
	}
	group := a.create(t, "/groups",
		map[string]any{"name": "Readers", "permissions": map[string]any{"users": map[string]any{"view": true}}})
	joined := a.call(t, a.admin, http.MethodPut, "/users/"+pending+"/groups/"+group, nil)
	if joined.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", joined, joined.status, http.StatusOK)
	}
	if got := a.call(t, opened.text("token"), http.MethodGet, "/me", nil).status; got != http.StatusUnauthorized {
		t.Errorf("until there are rights to be had: got %v, want %v", got, http.StatusUnauthorized)
	}
	if got := fmt.Sprint(check["fix"]); !strings.Contains(got, `PATCH /directories/`+id+` {"vouch": true}`) {
		t.Errorf("%q lacks %q", got, `PATCH /directories/`+id+` {"vouch": true}`)
	}
	unvouched := a.call(t, a.admin, http.MethodPatch, "/directories/"+id, map[string]any{"check_minutes": 30})
	if unvouched.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", unvouched, unvouched.status, http.StatusOK)
	}
	if unvouched.json["vouched"] != false {
		t.Errorf("not by the way: got %v, want false", unvouched.json["vouched"])
	}
	if got := a.call(t, clerk, http.MethodPatch, "/directories/"+id,
		map[string]any{"vouch": true}).status; got != http.StatusForbidden {
		t.Errorf("got %v, want %v", got, http.StatusForbidden)
	}
	no := a.call(t, a.admin, http.MethodPatch, "/directories/"+id, map[string]any{"vouch": false})
	if diff := cmp.Diff(map[string]string{"vouch": "not_true"}, no.wrong()); diff != "" {
		t.Errorf("no.wrong() (-want +got):\n%s", diff)
	}
	vouched := a.call(t, a.admin, http.MethodPatch, "/directories/"+id, map[string]any{"vouch": true})
	if vouched.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", vouched, vouched.status, http.StatusOK)
	}
	if vouched.json["vouched"] != true {
		t.Errorf("vouched = %v, want true", vouched.json["vouched"])
	}
	if got := a.signInAs(t, adminEmail, directoryPassword).status; got != http.StatusCreated {
		t.Errorf("a.signInAs(t, adminEmail, directoryPassword).status = %v, want %v", got, http.StatusCreated)
	}
}

// Many people may write their own mail attribute: an address of somebody else gives nobody another account.
func TestAnEntryOfADirectoryIsOneAccount(t *testing.T) {
	t.Parallel()
	a, servers := withDirectory(t)
	a.connect(t, "AD", nil)
	mallory := directory.Entry{DN: "CN=mallory", GUID: "mallory", Email: "mallory@example.com"}
	servers.put("AD", mallory)
	first := a.signInAs(t, mallory.Email, directoryPassword)
	if first.status != http.StatusCreated {
		t.Fatalf("%v: got %v, want %v", first, first.status, http.StatusCreated)
	}
	own := first.json["user"].(map[string]any)["id"].(string)
	chief := a.create(t, "/users", map[string]any{"email": "chief@example.com", "superuser": true})

	mallory.Email = "chief@example.com"
	servers.put("AD", mallory)
	if got := a.signInAs(t, "chief@example.com", directoryPassword).status; got != http.StatusUnauthorized {
		t.Errorf(`a.signInAs(t, "chief@example.com", directoryPassword).status = %v, want %v`, got,
			http.StatusUnauthorized)
	}
	if got := fmt.Sprint(a.directoryCheckOf(t, chief)["detail"]); !strings.Contains(got,
		"another account is bound to the directory's entry") {
		t.Errorf("%q lacks %q", got, "another account is bound to the directory's entry")
	}
	a.connect(t, "AD 2", nil)
	servers.put("AD")
	servers.put("AD 2", mallory)
	for _, email := range []string{"chief@example.com", "new@example.com"} {
		t.Run(email, func(t *testing.T) {
			mallory.Email = email
			servers.put("AD 2", mallory)
			if got := a.signInAs(t, email, directoryPassword).status; got != http.StatusUnauthorized {
				t.Errorf("nor through another connection: got %v, want %v", got, http.StatusUnauthorized)
			}
		})
	}

	mallory.Email = "mallory@example.com"
	servers.put("AD", mallory)
	if got := a.signInAs(t, mallory.Email, directoryPassword).status; got != http.StatusCreated {
		t.Errorf("a.signInAs(t, mallory.Email, directoryPassword).status = %v, want %v", got, http.StatusCreated)
	}
	mallory.Email = "chief@example.com"
	servers.put("AD", mallory)
	unlinked := a.call(t, a.admin, http.MethodPost, "/users/"+own+"/unlink-directory",
		map[string]any{"reason": "the same person"})
	if unlinked.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", unlinked, unlinked.status, http.StatusOK)
	}
	if got := a.signInAs(t, "chief@example.com", directoryPassword).status; got != http.StatusCreated {
		t.Errorf("an administrator decides: got %v, want %v", got, http.StatusCreated)
	}
}

// An outage is told to those who need that directory, and to nobody else. Who is asked, and in which order, does not
// depend on luck.
func TestADirectoryOutage(t *testing.T) {
	t.Parallel()
	a, servers := withDirectory(t)
	a.account(t, annasEmail, annasPassword)
	nova, other := a.create(t, "/companies", map[string]any{"name": "Nova"}),
		a.create(t, "/companies", map[string]any{"name": "Other"})
	a.connect(t, "all", nil)
	a.connect(t, "other", map[string]any{"company_id": other})
	a.connect(t, "nova", map[string]any{"company_id": nova})
	off := a.connect(t, "off", nil)
	if got := a.call(t, a.admin, http.MethodPatch, "/directories/"+off,
		map[string]any{"enabled": false}).status; got != http.StatusOK {
		t.Fatalf("got %v, want %v", got, http.StatusOK)
	}
	a.create(t, "/users", map[string]any{"email": "mia@example.com", "company_id": nova})
	mia := directory.Entry{DN: "CN=mia", GUID: "mia", Email: "mia@example.com"}

	if got := a.signInAs(t, "mia@example.com", directoryPassword).status; got != http.StatusUnauthorized {
		t.Errorf(`a.signInAs(t, "mia@example.com", directoryPassword).status = %v, want %v`, got,
			http.StatusUnauthorized)
	}
	if diff := cmp.Diff([]string{"nova mia@example.com", "all mia@example.com"}, servers.questions()); diff != "" {
		t.Errorf("first that of the company (-want +got):\n%s", diff)
	}
	if got := a.signInAs(t, "nobody@example.com", directoryPassword).status; got != http.StatusUnauthorized {
		t.Errorf("got %v, want %v", got, http.StatusUnauthorized)
	}
	if diff := cmp.Diff([]string{"other nobody@example.com", "nova nobody@example.com", "all nobody@example.com"},
		servers.questions()); diff != "" {
		t.Errorf("servers.questions() (-want +got):\n%s", diff)
	}

	servers.isDown("nova", true)
	for _, email := range []string{"mia@example.com", "nobody@example.com"} {
		t.Run(email, func(t *testing.T) {
			away := a.signInAs(t, email, directoryPassword)
			if away.status != http.StatusServiceUnavailable {
				t.Errorf("%s: got %v, want %v", away, away.status, http.StatusServiceUnavailable)
			}
			if got := away.header.Get("Retry-After"); got == "" {
				t.Errorf("Retry-After = %q, want something", got)
			}
			if got := string(away.body); strings.Contains(got, "refused") {
				t.Errorf(`no detail of the directory: %q contains "refused"`, got)
			}
		})
	}
	if got := a.signInAs(t, annasEmail, annasPassword).status; got != http.StatusCreated {
		t.Errorf("local people: got %v, want %v", got, http.StatusCreated)
	}
	servers.put("all", mia)
	if got := a.signInAs(t, "mia@example.com", directoryPassword).status; got != http.StatusCreated {
		t.Errorf("another connection answers for her: got %v, want %v", got, http.StatusCreated)
	}
	servers.questions()
	if got := a.signInAs(t, "mia@example.com", directoryPassword).status; got != http.StatusCreated {
		t.Errorf(`a.signInAs(t, "mia@example.com", directoryPassword).status = %v, want %v`, got, http.StatusCreated)
	}
	if diff := cmp.Diff([]string{"all mia@example.com"}, servers.questions()); diff != "" {
		t.Errorf("the one that she is bound to comes first (-want +got):\n%s", diff)
	}
	if got := a.log.String(); strings.Contains(got, directoryPassword) {
		t.Errorf("%q contains %q", got, directoryPassword)
	}
}

// Whoever may connect a directory gets no password by it, but of people whom no other directory knows.
func TestAPasswordGoesToNoDirectoryUnvouched(t *testing.T) {
	t.Parallel()
	a, servers := withDirectory(t)
	_, clerk := a.person(t, "clerk@example.com", domain.Permissions{"directory": {View: true, Edit: true, Add: true}})
	nova := a.create(t, "/companies", map[string]any{"name": "Nova"})
	ad := a.connect(t, "AD", nil)
	made := a.call(t, clerk, http.MethodPost, "/directories", map[string]any{
		"name": "evil", "company_id": nova, "urls": []string{"ldaps://evil.example"}, "base_dn": "DC=evil",
	})
	if made.status != http.StatusCreated {
		t.Fatalf("%v: got %v, want %v", made, made.status, http.StatusCreated)
	}
	a.connect(t, "AD 2", nil)
	a.create(t, "/users", map[string]any{"email": "root@example.com", "superuser": true, "company_id": nova})
	a.create(t, "/users", map[string]any{"email": "new@example.com", "company_id": nova})
	entry := func(email string) directory.Entry {
		return directory.Entry{DN: "CN=" + email, GUID: email, Email: email}
	}
	mia := a.create(t, "/users", map[string]any{"email": "mia@example.com", "company_id": nova})
	servers.put("AD", entry("mia@example.com"))
	if got := a.signInAs(t, "mia@example.com", directoryPassword).status; got != http.StatusCreated {
		t.Fatalf(`a.signInAs(t, "mia@example.com", directoryPassword).status = %v, want %v`, got, http.StatusCreated)
	}
	servers.put("evil", entry("root@example.com"), entry("new@example.com"), entry("mia@example.com"),
		entry("nobody@example.com"))
	servers.questions()

	servers.isDown("AD", true)
	for email, asked := range map[string][]string{
		"root@example.com": {"AD", "AD 2"}, "new@example.com": {"AD", "AD 2"}, "nobody@example.com": {"AD", "AD 2"},
		"mia@example.com": {"AD"},
	} {
		t.Run(email, func(t *testing.T) {
			if got := a.signInAs(t, email, directoryPassword).status; got != http.StatusServiceUnavailable {
				t.Errorf("got %v, want %v", got, http.StatusServiceUnavailable)
			}
			for i := range asked {
				asked[i] += " " + email
			}
			if diff := cmp.Diff(asked, servers.questions()); diff != "" {
				t.Errorf("servers.questions() (-want +got):\n%s", diff)
			}
		})
	}
	servers.isDown("AD", false)

	root := a.accountOf(t, "root@example.com")["id"].(string)
	if got := a.signInAs(t, "root@example.com", directoryPassword).status; got != http.StatusUnauthorized {
		t.Errorf(`a.signInAs(t, "root@example.com", directoryPassword).status = %v, want %v`, got,
			http.StatusUnauthorized)
	}
	if diff := cmp.Diff([]string{"AD root@example.com", "AD 2 root@example.com"}, servers.questions()); diff != "" {
		t.Errorf("servers.questions() (-want +got):\n%s", diff)
	}
	if got := fmt.Sprint(a.directoryCheckOf(t, root)["detail"]); !strings.Contains(got, "approve") {
		t.Errorf(`the true reason: %q lacks "approve"`, got)
	}
	if got := a.signInAs(t, "new@example.com", directoryPassword).status; got != http.StatusCreated {
		t.Errorf("whom the others do not know: got %v, want %v", got, http.StatusCreated)
	}
	if diff := cmp.Diff([]string{"AD new@example.com", "AD 2 new@example.com", "evil new@example.com"},
		servers.questions()); diff != "" {
		t.Errorf("servers.questions() (-want +got):\n%s", diff)
	}

	t.Log("switched off is no outage: one that is vouched for may take its place, no other")
	off := a.call(t, clerk, http.MethodPatch, "/directories/"+ad, map[string]any{"enabled": false})
	if off.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", off, off.status, http.StatusOK)
	}
	if got := a.signInAs(t, "mia@example.com", directoryPassword).status; got != http.StatusUnauthorized {
		t.Errorf(`a.signInAs(t, "mia@example.com", directoryPassword).status = %v, want %v`, got,
			http.StatusUnauthorized)
	}
	if diff := cmp.Diff([]string{"AD 2 mia@example.com"}, servers.questions()); diff != "" {
		t.Errorf("servers.questions() (-want +got):\n%s", diff)
	}
	servers.put("AD 2", entry("mia@example.com"))
	in := a.signInAs(t, "mia@example.com", directoryPassword)
	if in.status != http.StatusCreated {
		t.Fatalf("%v: got %v, want %v", in, in.status, http.StatusCreated)
	}
	if got := in.json["user"].(map[string]any)["id"]; got != mia {
		t.Errorf(`user.(map[string]any)["id"] = %q, want %q`, got, mia)
	}
}

// The sign-in check names the directories that a sign-in asks, in that order.
func TestTheSignInCheckKnowsWhichDirectoriesAreAsked(t *testing.T) {
	t.Parallel()
	a, servers := withDirectory(t)
	_, clerk := a.person(t, "clerk@example.com", domain.Permissions{"directory": {View: true, Edit: true, Add: true}})
	nova, gone := a.create(t, "/companies", map[string]any{"name": "Nova"}),
		a.create(t, "/companies", map[string]any{"name": "Gone"})
	unsure := a.call(t, clerk, http.MethodPost, "/directories",
		map[string]any{"name": "unsure", "urls": []string{"ldaps://x.example"}, "base_dn": "DC=x"})
	if unsure.status != http.StatusCreated {
		t.Fatalf("%v: got %v, want %v", unsure, unsure.status, http.StatusCreated)
	}
	a.connect(t, "all", nil)
	a.connect(t, "gone", map[string]any{"company_id": gone})
	a.connect(t, "nova", map[string]any{"company_id": nova})
	root := a.create(t, "/users", map[string]any{"email": "root@example.com", "superuser": true, "company_id": nova})
	mia := a.create(t, "/users", map[string]any{"email": "mia@example.com", "company_id": nova})
	left := a.create(t, "/users", map[string]any{"email": "left@example.com", "company_id": gone})
	servers.put("gone", directory.Entry{DN: "CN=left", GUID: "left", Email: "left@example.com"})
	if got := a.signInAs(t, "left@example.com", directoryPassword).status; got != http.StatusCreated {
		t.Fatalf(`a.signInAs(t, "left@example.com", directoryPassword).status = %v, want %v`, got, http.StatusCreated)
	}
	if got := a.call(t, a.admin, http.MethodPost, "/companies/"+gone+"/retire", nil).status; got != http.StatusOK {
		t.Fatalf("got %v, want %v", got, http.StatusOK)
	}

	check := a.directoryCheckOf(t, root)
	if check["ok"] != true {
		t.Errorf("%v: got %v, want true", check, check["ok"])
	}
	if got := fmt.Sprint(check["detail"]); !strings.Contains(got,
		"at each sign-in: nova, then all; not asked, because no superuser has approved it: unsure") {
		t.Errorf("%q lacks %q", got, "at each sign-in: nova, then all; not asked, because no superuser has approved "+
			"it: unsure")
	}
	if got := fmt.Sprint(a.directoryCheckOf(t, mia)["detail"]); !strings.Contains(got,
		"at each sign-in: nova, then all, then unsure") {
		t.Errorf(`%q lacks "at each sign-in: nova, then all, then unsure"`, got)
	}
	servers.questions()
	if got := a.signInAs(t, "mia@example.com", directoryPassword).status; got != http.StatusUnauthorized {
		t.Fatalf(`a.signInAs(t, "mia@example.com", directoryPassword).status = %v, want %v`, got,
			http.StatusUnauthorized)
	}
	if diff := cmp.Diff([]string{"nova mia@example.com", "all mia@example.com", "unsure mia@example.com"},
		servers.questions()); diff != "" {
		t.Errorf("servers.questions() (-want +got):\n%s", diff)
	}

	servers.put("all", directory.Entry{DN: "CN=left", GUID: "left", Email: "left@example.com"})
	if got := fmt.Sprint(a.directoryCheckOf(t, left)["detail"]); !strings.Contains(got, "at each sign-in: all") {
		t.Errorf(`%q lacks "at each sign-in: all"`, got)
	}
	all := a.call(t, a.admin, http.MethodGet, "/directories?query=all", nil).items()[0]["id"].(string)
	if got := a.call(t, a.admin, http.MethodPatch, "/directories/"+all,
		map[string]any{"enabled": false}).status; got != http.StatusOK {
		t.Fatalf("got %v, want %v", got, http.StatusOK)
	}
	check = a.directoryCheckOf(t, left)
	if check["ok"] != false {
		t.Errorf("%v: got %v, want false", check, check["ok"])
	}
	if got := fmt.Sprint(check["fix"]); !strings.Contains(got, "/unlink-directory") {
		t.Errorf(`%q lacks "/unlink-directory"`, got)
	}
	if got := a.signInAs(t, "left@example.com", directoryPassword).status; got != http.StatusUnauthorized {
		t.Errorf(`a.signInAs(t, "left@example.com", directoryPassword).status = %v, want %v`, got,
			http.StatusUnauthorized)
	}
}

// A refusal looks the same and takes the same time whatever is behind it.
func TestADirectoryTellsNothingAboutAccounts(t *testing.T) {
	t.Parallel()
	a, servers := withDirectory(t)
	a.account(t, annasEmail, annasPassword)
	a.connect(t, "AD", nil)
	entry := func(email string) directory.Entry {
		return directory.Entry{DN: "CN=" + email, GUID: email, Email: email}
	}
	closed, locked := entry("closed@example.com"), entry("locked@example.com")
	closed.Disabled, locked.Locked = true, true
	servers.put("AD", entry("known@example.com"), closed, locked)
	if got := a.signInAs(t, "known@example.com", directoryPassword).status; got != http.StatusCreated {
		t.Fatalf(`a.signInAs(t, "known@example.com", directoryPassword).status = %v, want %v`, got, http.StatusCreated)
	}
	a.create(t, "/users", map[string]any{"email": "locked@example.com"})

	var first map[string]any
	for email, password := range map[string]string{
		annasEmail: "wrong", "nobody@example.com": directoryPassword, "known@example.com": "wrong",
		"closed@example.com": directoryPassword, "locked@example.com": directoryPassword,
	} {
		t.Run(email, func(t *testing.T) {
			began := time.Now()
			refused := a.signInAs(t, email, password)
			if got := time.Since(began); got < 500*time.Millisecond {
				t.Errorf("got %v, want at least %v", got, 500*time.Millisecond)
			}
			if refused.status != http.StatusUnauthorized {
				t.Errorf("%s: got %v, want %v", refused, refused.status, http.StatusUnauthorized)
			}
			delete(refused.json, "instance")
			if first == nil {
				first = refused.json
			}
			if diff := cmp.Diff(first, refused.json); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
	check := a.directoryCheckOf(t, a.accountOf(t, "locked@example.com")["id"].(string))
	if got := fmt.Sprint(check["detail"]); !strings.Contains(got, "locked the account") {
		t.Errorf(`administrators are told: %q lacks "locked the account"`, got)
	}
	for range 5 {
		a.signInAs(t, "known@example.com", "wrong")
	}
	servers.questions()
	if got := a.signInAs(t, "known@example.com", directoryPassword).status; got != http.StatusUnauthorized {
		t.Errorf(`a.signInAs(t, "known@example.com", directoryPassword).status = %v, want %v`, got,
			http.StatusUnauthorized)
	}
	if got := servers.questions(); len(got) != 0 {
		t.Errorf("guessing here does not lock the directory's account out: got %v, want nothing", got)
	}
}
