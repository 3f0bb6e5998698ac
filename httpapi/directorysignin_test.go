package httpapi

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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
	require.Equal(t, http.StatusOK, a.call(t, a.admin, http.MethodPost, "/groups/"+gone+"/retire", nil).status)
	id := a.connect(t, "Nova AD", map[string]any{
		"company_id": nova, "sync_groups": true, "bind_dn": "CN=reader,DC=example,DC=com", "bind_password": "hush hush",
	})
	olena := directory.Entry{
		DN: "CN=Olena,DC=example,DC=com", GUID: "guid-olena", Email: "Olena@example.com", FirstName: "Олена", LastName: "Коваленко",
		Phone: strings.Repeat("1", 80) + "\x07", Department: "Risk", Groups: []string{"Analysts", "EVERYBODY", "Strangers", "Gone", "Unrelated"},
	}
	servers.put("Nova AD", olena)

	in := a.signInAs(t, "olena@example.com", directoryPassword)
	require.Equal(t, http.StatusCreated, in.status, in)
	assert.Equal(t, "hush hush", servers.bound)
	account := in.json["user"].(map[string]any)
	path := "/users/" + account["id"].(string)
	for field, want := range map[string]any{
		"email": "Olena@example.com", "first_name": "Олена", "source": "directory", "company_id": nova, "superuser": false, "department": "Risk",
		"phone": strings.Repeat("1", 50), "directory_id": id, "directory_dn": olena.DN, "has_password": false,
	} {
		assert.Equal(t, want, account[field], field)
	}
	groups := account["groups"].([]any)
	require.Len(t, groups, 1, "exact names, global or of the company, in use")
	assert.Equal(t, "Analysts", groups[0].(map[string]any)["name"])
	history := a.call(t, a.admin, http.MethodGet, path+"/history", nil)
	for _, entry := range history.items() {
		assert.Equal(t, "directory", entry["actor"].(map[string]any)["kind"], entry["type"])
		assert.Equal(t, "Nova AD", entry["actor"].(map[string]any)["name"])
	}
	members := a.call(t, a.admin, http.MethodGet, "/groups/"+groups[0].(map[string]any)["id"].(string)+"/members", nil).items()
	require.Len(t, members, 1)
	assert.Equal(t, "directory", members[0]["joined_by"].(map[string]any)["kind"], "the membership carries its source")

	check := a.directoryCheckOf(t, account["id"].(string))
	assert.Equal(t, true, check["ok"])
	for _, miss := range []string{`"EVERYBODY": the group "Everybody" is spelled differently`, `"Strangers": the group "Strangers" belongs to another company`, `"Gone": the group "Gone" is retired`} {
		assert.Contains(t, check["detail"], miss)
	}
	assert.NotContains(t, check["detail"], "Unrelated")

	olena.LastName, olena.DN, olena.Phone, olena.Groups = "Шевченко", "CN=Olena,OU=Moved,DC=example,DC=com", "", []string{"Everybody"}
	servers.put("Nova AD", olena)
	in = a.signInAs(t, "olena@example.com", directoryPassword)
	require.Equal(t, http.StatusCreated, in.status, in)
	account = in.json["user"].(map[string]any)
	assert.Equal(t, "Шевченко", account["last_name"])
	assert.Equal(t, strings.Repeat("1", 50), account["phone"], "what the directory does not have is left alone")
	assert.Len(t, account["groups"], 2, "groups are only added")
	assert.NotContains(t, a.directoryCheckOf(t, account["id"].(string))["detail"], "EVERYBODY")

	before := len(a.call(t, a.admin, http.MethodGet, path+"/history", nil).items())
	require.Equal(t, http.StatusCreated, a.signInAs(t, "olena@example.com", directoryPassword).status)
	assert.Len(t, a.call(t, a.admin, http.MethodGet, path+"/history", nil).items(), before, "nothing new, no event")

	t.Log("a new e-mail address in the directory is still the same person")
	olena.Email = "olena.shevchenko@example.com"
	servers.put("Nova AD", olena)
	renamed := a.signInAs(t, olena.Email, directoryPassword)
	require.Equal(t, http.StatusCreated, renamed.status, renamed)
	assert.Equal(t, account["id"], renamed.json["user"].(map[string]any)["id"])
	assert.Equal(t, olena.Email, renamed.json["user"].(map[string]any)["email"])
	assert.Equal(t, http.StatusUnauthorized, a.signInAs(t, "olena@example.com", directoryPassword).status)
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

	assert.Equal(t, http.StatusUnauthorized, a.signInAs(t, annasEmail, directoryPassword).status)
	assert.Equal(t, http.StatusCreated, a.signInAs(t, annasEmail, annasPassword).status)
	assert.Empty(t, servers.questions(), "a local account never touches the directory")
	assert.Equal(t, http.StatusUnauthorized, a.signInAs(t, "pending@example.com", "").status)
	assert.Empty(t, servers.questions(), "an empty password never gets on the wire")

	in := a.signInAs(t, "pending@example.com", directoryPassword)
	require.Equal(t, http.StatusCreated, in.status, in)
	assert.Equal(t, pending, in.json["user"].(map[string]any)["id"], "an account without a password goes through the directory")
	servers.put("AD", entry("pending@example.com", "another"), entry(adminEmail, "3"))
	assert.Equal(t, http.StatusUnauthorized, a.signInAs(t, "pending@example.com", directoryPassword).status)
	check := a.directoryCheckOf(t, pending)
	assert.Equal(t, false, check["ok"])
	assert.Contains(t, check["detail"], "another entry")
	assert.Contains(t, check["fix"], "POST /users/"+pending+"/unlink-directory")
	unlinked := a.call(t, a.admin, http.MethodPost, "/users/"+pending+"/unlink-directory", map[string]any{"reason": "made anew"})
	require.Equal(t, http.StatusOK, unlinked.status, unlinked)
	assert.Nil(t, unlinked.json["directory_id"])
	assert.Equal(t, http.StatusCreated, a.signInAs(t, "pending@example.com", directoryPassword).status)

	t.Log("whoever is no superuser and changes who gets in takes the trust from the connection")
	_, clerk := a.person(t, "clerk@example.com", domain.Permissions{"directory": {View: true, Edit: true, Add: true}})
	changed := a.call(t, clerk, http.MethodPatch, "/directories/"+id, map[string]any{"user_filter": "(objectClass=person)"})
	require.Equal(t, http.StatusOK, changed.status, changed)
	assert.Equal(t, false, changed.json["vouched"])
	assert.Equal(t, http.StatusUnauthorized, a.signInAs(t, adminEmail, directoryPassword).status, "a superuser")
	check = a.directoryCheckOf(t, a.adminID.String())
	assert.Equal(t, false, check["ok"])
	assert.Contains(t, check["detail"], "approve")
	opened := a.signInAs(t, "pending@example.com", directoryPassword)
	assert.Equal(t, http.StatusCreated, opened.status, "others go on")
	assert.Equal(t, http.StatusOK, a.call(t, opened.text("token"), http.MethodGet, "/me", nil).status)
	group := a.create(t, "/groups", map[string]any{"name": "Readers", "permissions": map[string]any{"users": map[string]any{"view": true}}})
	joined := a.call(t, a.admin, http.MethodPut, "/users/"+pending+"/groups/"+group, nil)
	require.Equal(t, http.StatusOK, joined.status, joined)
	assert.Equal(t, http.StatusUnauthorized, a.call(t, opened.text("token"), http.MethodGet, "/me", nil).status, "until there are rights to be had")
	assert.Contains(t, check["fix"], `PATCH /directories/`+id+` {"vouch": true}`)
	unvouched := a.call(t, a.admin, http.MethodPatch, "/directories/"+id, map[string]any{"check_minutes": 30})
	require.Equal(t, http.StatusOK, unvouched.status, unvouched)
	assert.Equal(t, false, unvouched.json["vouched"], "not by the way")
	assert.Equal(t, http.StatusForbidden, a.call(t, clerk, http.MethodPatch, "/directories/"+id, map[string]any{"vouch": true}).status)
	no := a.call(t, a.admin, http.MethodPatch, "/directories/"+id, map[string]any{"vouch": false})
	assert.Equal(t, map[string]string{"vouch": "not_true"}, no.wrong())
	vouched := a.call(t, a.admin, http.MethodPatch, "/directories/"+id, map[string]any{"vouch": true})
	require.Equal(t, http.StatusOK, vouched.status, vouched)
	assert.Equal(t, true, vouched.json["vouched"])
	assert.Equal(t, http.StatusCreated, a.signInAs(t, adminEmail, directoryPassword).status)
}

// Many people may write their own mail attribute: an address of somebody else gives nobody another account.
func TestAnEntryOfADirectoryIsOneAccount(t *testing.T) {
	t.Parallel()
	a, servers := withDirectory(t)
	a.connect(t, "AD", nil)
	mallory := directory.Entry{DN: "CN=mallory", GUID: "mallory", Email: "mallory@example.com"}
	servers.put("AD", mallory)
	first := a.signInAs(t, mallory.Email, directoryPassword)
	require.Equal(t, http.StatusCreated, first.status, first)
	own := first.json["user"].(map[string]any)["id"].(string)
	chief := a.create(t, "/users", map[string]any{"email": "chief@example.com", "superuser": true})

	mallory.Email = "chief@example.com"
	servers.put("AD", mallory)
	assert.Equal(t, http.StatusUnauthorized, a.signInAs(t, "chief@example.com", directoryPassword).status)
	assert.Contains(t, a.directoryCheckOf(t, chief)["detail"], "another account is bound to the directory's entry")
	a.connect(t, "AD 2", nil)
	servers.put("AD")
	servers.put("AD 2", mallory)
	for _, email := range []string{"chief@example.com", "new@example.com"} {
		mallory.Email = email
		servers.put("AD 2", mallory)
		assert.Equal(t, http.StatusUnauthorized, a.signInAs(t, email, directoryPassword).status, "nor through another connection")
	}

	mallory.Email = "mallory@example.com"
	servers.put("AD", mallory)
	assert.Equal(t, http.StatusCreated, a.signInAs(t, mallory.Email, directoryPassword).status)
	mallory.Email = "chief@example.com"
	servers.put("AD", mallory)
	unlinked := a.call(t, a.admin, http.MethodPost, "/users/"+own+"/unlink-directory", map[string]any{"reason": "the same person"})
	require.Equal(t, http.StatusOK, unlinked.status, unlinked)
	assert.Equal(t, http.StatusCreated, a.signInAs(t, "chief@example.com", directoryPassword).status, "an administrator decides")
}

// An outage is told to those who need that directory, and to nobody else. Who is asked, and in which order, does not
// depend on luck.
func TestADirectoryOutage(t *testing.T) {
	t.Parallel()
	a, servers := withDirectory(t)
	a.account(t, annasEmail, annasPassword)
	nova, other := a.create(t, "/companies", map[string]any{"name": "Nova"}), a.create(t, "/companies", map[string]any{"name": "Other"})
	a.connect(t, "all", nil)
	a.connect(t, "other", map[string]any{"company_id": other})
	a.connect(t, "nova", map[string]any{"company_id": nova})
	off := a.connect(t, "off", nil)
	require.Equal(t, http.StatusOK, a.call(t, a.admin, http.MethodPatch, "/directories/"+off, map[string]any{"enabled": false}).status)
	a.create(t, "/users", map[string]any{"email": "mia@example.com", "company_id": nova})
	mia := directory.Entry{DN: "CN=mia", GUID: "mia", Email: "mia@example.com"}

	assert.Equal(t, http.StatusUnauthorized, a.signInAs(t, "mia@example.com", directoryPassword).status)
	assert.Equal(t, []string{"nova mia@example.com", "all mia@example.com"}, servers.questions(), "first that of the company")
	assert.Equal(t, http.StatusUnauthorized, a.signInAs(t, "nobody@example.com", directoryPassword).status)
	assert.Equal(t, []string{"other nobody@example.com", "nova nobody@example.com", "all nobody@example.com"}, servers.questions())

	servers.isDown("nova", true)
	for _, email := range []string{"mia@example.com", "nobody@example.com"} {
		away := a.signInAs(t, email, directoryPassword)
		assert.Equal(t, http.StatusServiceUnavailable, away.status, "%s: %s", email, away)
		assert.NotEmpty(t, away.header.Get("Retry-After"))
		assert.NotContains(t, string(away.body), "refused", "no detail of the directory")
	}
	assert.Equal(t, http.StatusCreated, a.signInAs(t, annasEmail, annasPassword).status, "local people")
	servers.put("all", mia)
	assert.Equal(t, http.StatusCreated, a.signInAs(t, "mia@example.com", directoryPassword).status, "another connection answers for her")
	servers.questions()
	assert.Equal(t, http.StatusCreated, a.signInAs(t, "mia@example.com", directoryPassword).status)
	assert.Equal(t, []string{"all mia@example.com"}, servers.questions(), "the one that she is bound to comes first")
	assert.NotContains(t, a.log.String(), directoryPassword)
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
	require.Equal(t, http.StatusCreated, made.status, made)
	a.connect(t, "AD 2", nil)
	a.create(t, "/users", map[string]any{"email": "root@example.com", "superuser": true, "company_id": nova})
	a.create(t, "/users", map[string]any{"email": "new@example.com", "company_id": nova})
	entry := func(email string) directory.Entry {
		return directory.Entry{DN: "CN=" + email, GUID: email, Email: email}
	}
	mia := a.create(t, "/users", map[string]any{"email": "mia@example.com", "company_id": nova})
	servers.put("AD", entry("mia@example.com"))
	require.Equal(t, http.StatusCreated, a.signInAs(t, "mia@example.com", directoryPassword).status)
	servers.put("evil", entry("root@example.com"), entry("new@example.com"), entry("mia@example.com"), entry("nobody@example.com"))
	servers.questions()

	servers.isDown("AD", true)
	for email, asked := range map[string][]string{
		"root@example.com": {"AD", "AD 2"}, "new@example.com": {"AD", "AD 2"}, "nobody@example.com": {"AD", "AD 2"}, "mia@example.com": {"AD"},
	} {
		assert.Equal(t, http.StatusServiceUnavailable, a.signInAs(t, email, directoryPassword).status, email)
		for i := range asked {
			asked[i] += " " + email
		}
		assert.Equal(t, asked, servers.questions())
	}
	servers.isDown("AD", false)

	root := a.accountOf(t, "root@example.com")["id"].(string)
	assert.Equal(t, http.StatusUnauthorized, a.signInAs(t, "root@example.com", directoryPassword).status)
	assert.Equal(t, []string{"AD root@example.com", "AD 2 root@example.com"}, servers.questions())
	assert.Contains(t, a.directoryCheckOf(t, root)["detail"], "approve", "the true reason")
	assert.Equal(t, http.StatusCreated, a.signInAs(t, "new@example.com", directoryPassword).status, "whom the others do not know")
	assert.Equal(t, []string{"AD new@example.com", "AD 2 new@example.com", "evil new@example.com"}, servers.questions())

	t.Log("switched off is no outage: one that is vouched for may take its place, no other")
	off := a.call(t, clerk, http.MethodPatch, "/directories/"+ad, map[string]any{"enabled": false})
	require.Equal(t, http.StatusOK, off.status, off)
	assert.Equal(t, http.StatusUnauthorized, a.signInAs(t, "mia@example.com", directoryPassword).status)
	assert.Equal(t, []string{"AD 2 mia@example.com"}, servers.questions())
	servers.put("AD 2", entry("mia@example.com"))
	in := a.signInAs(t, "mia@example.com", directoryPassword)
	require.Equal(t, http.StatusCreated, in.status, in)
	assert.Equal(t, mia, in.json["user"].(map[string]any)["id"])
}

// The sign-in check names the directories that a sign-in asks, in that order.
func TestTheSignInCheckKnowsWhichDirectoriesAreAsked(t *testing.T) {
	t.Parallel()
	a, servers := withDirectory(t)
	_, clerk := a.person(t, "clerk@example.com", domain.Permissions{"directory": {View: true, Edit: true, Add: true}})
	nova, gone := a.create(t, "/companies", map[string]any{"name": "Nova"}), a.create(t, "/companies", map[string]any{"name": "Gone"})
	unsure := a.call(t, clerk, http.MethodPost, "/directories", map[string]any{"name": "unsure", "urls": []string{"ldaps://x.example"}, "base_dn": "DC=x"})
	require.Equal(t, http.StatusCreated, unsure.status, unsure)
	a.connect(t, "all", nil)
	a.connect(t, "gone", map[string]any{"company_id": gone})
	a.connect(t, "nova", map[string]any{"company_id": nova})
	root := a.create(t, "/users", map[string]any{"email": "root@example.com", "superuser": true, "company_id": nova})
	mia := a.create(t, "/users", map[string]any{"email": "mia@example.com", "company_id": nova})
	left := a.create(t, "/users", map[string]any{"email": "left@example.com", "company_id": gone})
	servers.put("gone", directory.Entry{DN: "CN=left", GUID: "left", Email: "left@example.com"})
	require.Equal(t, http.StatusCreated, a.signInAs(t, "left@example.com", directoryPassword).status)
	require.Equal(t, http.StatusOK, a.call(t, a.admin, http.MethodPost, "/companies/"+gone+"/retire", nil).status)

	check := a.directoryCheckOf(t, root)
	assert.Equal(t, true, check["ok"], check)
	assert.Contains(t, check["detail"], "at each sign-in: nova, then all; not asked, because no superuser has approved it: unsure")
	assert.Contains(t, a.directoryCheckOf(t, mia)["detail"], "at each sign-in: nova, then all, then unsure")
	servers.questions()
	require.Equal(t, http.StatusUnauthorized, a.signInAs(t, "mia@example.com", directoryPassword).status)
	assert.Equal(t, []string{"nova mia@example.com", "all mia@example.com", "unsure mia@example.com"}, servers.questions())

	servers.put("all", directory.Entry{DN: "CN=left", GUID: "left", Email: "left@example.com"})
	assert.Contains(t, a.directoryCheckOf(t, left)["detail"], "at each sign-in: all")
	all := a.call(t, a.admin, http.MethodGet, "/directories?query=all", nil).items()[0]["id"].(string)
	require.Equal(t, http.StatusOK, a.call(t, a.admin, http.MethodPatch, "/directories/"+all, map[string]any{"enabled": false}).status)
	check = a.directoryCheckOf(t, left)
	assert.Equal(t, false, check["ok"], check)
	assert.Contains(t, check["fix"], "/unlink-directory")
	assert.Equal(t, http.StatusUnauthorized, a.signInAs(t, "left@example.com", directoryPassword).status)
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
	require.Equal(t, http.StatusCreated, a.signInAs(t, "known@example.com", directoryPassword).status)
	a.create(t, "/users", map[string]any{"email": "locked@example.com"})

	var first map[string]any
	for email, password := range map[string]string{
		annasEmail: "wrong", "nobody@example.com": directoryPassword, "known@example.com": "wrong", "closed@example.com": directoryPassword, "locked@example.com": directoryPassword,
	} {
		began := time.Now()
		refused := a.signInAs(t, email, password)
		assert.GreaterOrEqual(t, time.Since(began), 500*time.Millisecond, email)
		assert.Equal(t, http.StatusUnauthorized, refused.status, "%s: %s", email, refused)
		delete(refused.json, "instance")
		if first == nil {
			first = refused.json
		}
		assert.Equal(t, first, refused.json, email)
	}
	check := a.directoryCheckOf(t, a.accountOf(t, "locked@example.com")["id"].(string))
	assert.Contains(t, check["detail"], "locked the account", "administrators are told")
	for range 5 {
		a.signInAs(t, "known@example.com", "wrong")
	}
	servers.questions()
	assert.Equal(t, http.StatusUnauthorized, a.signInAs(t, "known@example.com", directoryPassword).status)
	assert.Empty(t, servers.questions(), "guessing here does not lock the directory's account out")
}
