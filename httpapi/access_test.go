package httpapi

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/secboard/secboard/domain"
)

func TestWhoCouldDoWhatAndWhoGaveIt(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	company := a.create(t, "/companies", map[string]any{"name": "Nova"})
	module := a.call(t, a.admin, http.MethodPut, "/modules/risks", map[string]any{"name": "Risks"})
	if module.status != http.StatusCreated {
		t.Fatalf("%v: got %v, want %v", module, module.status, http.StatusCreated)
	}
	group := a.create(t, "/groups",
		map[string]any{"name": "Analysts", "permissions": map[string]any{"risks": map[string]any{"view": true}}})
	person := a.create(t, "/users",
		map[string]any{
			"email": "olena@example.com", "first_name": "Olena", "company_id": company, "group_ids": []string{group},
		})
	before := time.Now().UTC().Format(time.RFC3339Nano)
	changed := a.call(t, a.admin, http.MethodPatch, "/groups/"+group,
		map[string]any{"permissions": map[string]any{"risks": map[string]any{"view": true, "delete": true}}})
	if changed.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", changed, changed.status, http.StatusOK)
	}

	ask := func(path string) answered {
		answer := a.call(t, a.admin, http.MethodGet, path, nil)
		if answer.status != http.StatusOK {
			t.Fatalf("%v: got %v, want %v", answer, answer.status, http.StatusOK)
		}
		return answer
	}
	first := func(list any) map[string]any { return list.([]any)[0].(map[string]any) }
	yes := ask("/users/" + person + "/access?module=risks&action=delete")
	if yes.json["allowed"] != true {
		t.Errorf("allowed = %v, want true", yes.json["allowed"])
	}
	because := first(yes.json["because"])
	if diff := cmp.Diff(a.call(t, a.admin, http.MethodGet, "/groups/"+group+"/history", nil).items()[0]["id"],
		because["event_id"]); diff != "" {
		t.Errorf("the change of the group gave it (-want +got):\n%s", diff)
	}
	if got := fmt.Sprint(because["detail"]); !strings.Contains(got, "by "+adminEmail) {
		t.Errorf("%q lacks %q", got, "by "+adminEmail)
	}
	via := first(yes.items()[0]["via"])
	joined := a.call(t, a.admin, http.MethodGet, "/users/"+person+"/history?type=user.group_joined", nil).items()[0]
	if diff := cmp.Diff(joined["id"], via["event_id"]); diff != "" {
		t.Errorf("event_id (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(because["event_id"], via["given_event_id"]); diff != "" {
		t.Errorf("given_event_id (-want +got):\n%s", diff)
	}
	if got := via["joined_by"].(map[string]any)["name"]; got != adminEmail {
		t.Errorf(`joined_by.(map[string]any)["name"] = %q, want %q`, got, adminEmail)
	}

	no := ask("/users/" + person + "/access?module=risks&action=delete&as_of=" + before)
	if no.json["allowed"] != false {
		t.Errorf("allowed = %v, want false", no.json["allowed"])
	}
	if got := first(no.json["because"])["code"]; got != "group_lacks_action" {
		t.Errorf(`because)["code"] = %q, want "group_lacks_action"`, got)
	}
	if got := no.items(); len(got) != 0 {
		t.Errorf("no.items() = %v, want nothing", got)
	}

	holders := func(query string) (who []string) {
		for _, item := range ask("/audit/access" + query).items() {
			who = append(who, item["email"].(string)+" "+item["module"].(string)+"."+item["action"].(string))
		}
		return who
	}
	if diff := cmp.Diff([]string{adminEmail + " risks.delete", "olena@example.com risks.delete"},
		holders("?module=risks&action=delete")); diff != "" {
		t.Errorf("holders(\"?module=risks&action=delete\") (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"olena@example.com risks.view", "olena@example.com risks.delete"},
		holders("?company_id="+company)); diff != "" {
		t.Errorf("holders(\"?company_id=\"+company) (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"olena@example.com risks.view"},
		holders("?company_id="+company+"&as_of="+before)); diff != "" {
		t.Errorf("holders(\"?company_id=\"+company+\"&as_of=\"+before) (-want +got):\n%s", diff)
	}
	if got := holders("?as_of=2020-01-01"); len(got) != 0 {
		t.Errorf(`holders("?as_of=2020-01-01") = %v, want nothing`, got)
	}
	closed := a.call(t, a.admin, http.MethodPost, "/users/"+person+"/deactivate", map[string]any{"reason": "left"})
	if closed.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", closed, closed.status, http.StatusOK)
	}
	if got := holders("?company_id=" + company); len(got) != 0 {
		t.Errorf(`holders("?company_id="+company) = %v, want nothing`, got)
	}
	no = ask("/users/" + person + "/access?module=risks&action=view")
	if got := first(no.json["because"])["code"]; got != "inactive" {
		t.Errorf(`because)["code"] = %q, want "inactive"`, got)
	}
	if got := no.text("state_reason"); !strings.Contains(got, "left") {
		t.Errorf(`%q lacks "left"`, got)
	}

	if got := a.call(t, a.admin, http.MethodGet, "/users/"+company+"/access", nil).status; got != http.StatusNotFound {
		t.Errorf("got %v, want %v", got, http.StatusNotFound)
	}
	if got := a.call(t, a.admin, http.MethodGet, "/users/"+person+"/access?as_of=2020-01-01",
		nil).status; got != http.StatusNotFound {
		t.Errorf("got %v, want %v", got, http.StatusNotFound)
	}
	if diff := cmp.Diff(map[string]string{"action": "enum"},
		a.call(t, a.admin, http.MethodGet, "/audit/access?action=fly", nil).wrong()); diff != "" {
		t.Errorf("got (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"cursor": "cursor"},
		a.call(t, a.admin, http.MethodGet, "/audit/access?cursor=x", nil).wrong()); diff != "" {
		t.Errorf("got (-want +got):\n%s", diff)
	}
}

// What a request is checked against, what /me/access says and what the audit says are the same.
func TestAccessAgreesWithWhatRequestsAreCheckedAgainst(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	permissions := domain.Permissions{"users": {View: true, Edit: true}, "audit": {View: true, ShowLink: true}}
	id, token := a.person(t, "clerk@example.com", permissions)
	own := a.call(t, token, http.MethodGet, "/me/access", nil)
	if own.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", own, own.status, http.StatusOK)
	}
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
	if diff := cmp.Diff([]string{"audit.show_link", "audit.view", "users.edit", "users.view"}, said); diff != "" {
		t.Errorf("said (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(said, granted); diff != "" {
		t.Errorf("granted (-want +got):\n%s", diff)
	}

	_, blind := a.person(t, "blind@example.com", without("audit", domain.View))
	if got := a.call(t, blind, http.MethodGet, "/users/"+id.String()+"/access", nil).status; got != http.StatusOK {
		t.Errorf("got %v, want %v", got, http.StatusOK)
	}
	for name, past := range map[string]string{
		"of an account": "/users/" + id.String() + "/access?as_of=2090-01-01", "of everybody": "/audit/access",
	} {
		t.Run(name, func(t *testing.T) {
			refused := a.call(t, blind, http.MethodGet, past, nil)
			if refused.status != http.StatusForbidden {
				t.Errorf("%v: got %v, want %v", refused, refused.status, http.StatusForbidden)
			}
			if got := refused.text("detail"); !strings.Contains(got, "audit.view") {
				t.Errorf(`%q lacks "audit.view"`, got)
			}
		})
	}
}
