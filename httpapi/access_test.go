package httpapi

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/secboard/secboard/domain"
)

func TestWhoCouldDoWhatAndWhoGaveIt(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	company := a.create(t, "/companies", map[string]any{"name": "Nova"})
	module := a.call(t, a.admin, http.MethodPut, "/modules/risks", map[string]any{"name": "Risks"})
	require.Equal(t, http.StatusCreated, module.status, module)
	group := a.create(t, "/groups", map[string]any{"name": "Analysts", "permissions": map[string]any{"risks": map[string]any{"view": true}}})
	person := a.create(t, "/users", map[string]any{"email": "olena@example.com", "first_name": "Olena", "company_id": company, "group_ids": []string{group}})
	before := time.Now().UTC().Format(time.RFC3339Nano)
	changed := a.call(t, a.admin, http.MethodPatch, "/groups/"+group, map[string]any{"permissions": map[string]any{"risks": map[string]any{"view": true, "delete": true}}})
	require.Equal(t, http.StatusOK, changed.status, changed)

	ask := func(path string) answered {
		answer := a.call(t, a.admin, http.MethodGet, path, nil)
		require.Equal(t, http.StatusOK, answer.status, answer)
		return answer
	}
	first := func(list any) map[string]any { return list.([]any)[0].(map[string]any) }
	yes := ask("/users/" + person + "/access?module=risks&action=delete")
	assert.Equal(t, true, yes.json["allowed"])
	because := first(yes.json["because"])
	assert.Equal(t, a.call(t, a.admin, http.MethodGet, "/groups/"+group+"/history", nil).items()[0]["id"], because["event_id"], "the change of the group gave it")
	assert.Contains(t, because["detail"], "by "+adminEmail)
	via := first(yes.items()[0]["via"])
	joined := a.call(t, a.admin, http.MethodGet, "/users/"+person+"/history?type=user.group_joined", nil).items()[0]
	assert.Equal(t, joined["id"], via["event_id"])
	assert.Equal(t, because["event_id"], via["given_event_id"])
	assert.Equal(t, adminEmail, via["joined_by"].(map[string]any)["name"])

	no := ask("/users/" + person + "/access?module=risks&action=delete&as_of=" + before)
	assert.Equal(t, false, no.json["allowed"])
	assert.Equal(t, "group_lacks_action", first(no.json["because"])["code"])
	assert.Empty(t, no.items())

	holders := func(query string) (who []string) {
		for _, item := range ask("/audit/access" + query).items() {
			who = append(who, item["email"].(string)+" "+item["module"].(string)+"."+item["action"].(string))
		}
		return who
	}
	assert.Equal(t, []string{adminEmail + " risks.delete", "olena@example.com risks.delete"}, holders("?module=risks&action=delete"))
	assert.Equal(t, []string{"olena@example.com risks.view", "olena@example.com risks.delete"}, holders("?company_id="+company))
	assert.Equal(t, []string{"olena@example.com risks.view"}, holders("?company_id="+company+"&as_of="+before))
	assert.Empty(t, holders("?as_of=2020-01-01"))
	closed := a.call(t, a.admin, http.MethodPost, "/users/"+person+"/deactivate", map[string]any{"reason": "left"})
	require.Equal(t, http.StatusOK, closed.status, closed)
	assert.Empty(t, holders("?company_id="+company))
	no = ask("/users/" + person + "/access?module=risks&action=view")
	assert.Equal(t, "inactive", first(no.json["because"])["code"])
	assert.Contains(t, no.text("state_reason"), "left")

	assert.Equal(t, http.StatusNotFound, a.call(t, a.admin, http.MethodGet, "/users/"+company+"/access", nil).status)
	assert.Equal(t, http.StatusNotFound, a.call(t, a.admin, http.MethodGet, "/users/"+person+"/access?as_of=2020-01-01", nil).status)
	assert.Equal(t, map[string]string{"action": "enum"}, a.call(t, a.admin, http.MethodGet, "/audit/access?action=fly", nil).wrong())
	assert.Equal(t, map[string]string{"cursor": "cursor"}, a.call(t, a.admin, http.MethodGet, "/audit/access?cursor=x", nil).wrong())
}

// What a request is checked against, what /me/access says and what the audit says are the same.
func TestAccessAgreesWithWhatRequestsAreCheckedAgainst(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	permissions := domain.Permissions{"users": {View: true, Edit: true}, "audit": {View: true, ShowLink: true}}
	id, token := a.person(t, "clerk@example.com", permissions)
	own := a.call(t, token, http.MethodGet, "/me/access", nil)
	require.Equal(t, http.StatusOK, own.status, own)
	var said, granted []string
	for module, actions := range own.json["permissions"].(map[string]any) {
		for action, allowed := range actions.(map[string]any) {
			if allowed == true {
				said = append(said, module+"."+action)
			}
		}
	}
	for _, item := range a.call(t, token, http.MethodGet, "/users/"+id.String()+"/access", nil).items() {
		granted = append(granted, item["module"].(string)+"."+item["action"].(string))
	}
	slices.Sort(said)
	slices.Sort(granted)
	assert.Equal(t, []string{"audit.show_link", "audit.view", "users.edit", "users.view"}, said)
	assert.Equal(t, said, granted)

	_, blind := a.person(t, "blind@example.com", without("audit", domain.View))
	assert.Equal(t, http.StatusOK, a.call(t, blind, http.MethodGet, "/users/"+id.String()+"/access", nil).status)
	for _, past := range []string{"/users/" + id.String() + "/access?as_of=2090-01-01", "/audit/access"} {
		refused := a.call(t, blind, http.MethodGet, past, nil)
		assert.Equal(t, http.StatusForbidden, refused.status, refused)
		assert.Contains(t, refused.text("detail"), "audit.view")
	}
}
