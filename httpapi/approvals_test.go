package httpapi

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/approval"
)

// helpDesk is somebody who mends accounts, and an account that may do more.
type helpDesk struct {
	*api
	desk, boss string // tokens: of the help desk, and of a second superuser
	deskID     uuid.UUID
	manager    string // an account that may view the audit
}

func newHelpDesk(t *testing.T) helpDesk {
	t.Helper()
	h := helpDesk{api: newAPI(t)}
	h.deskID, h.desk = h.person(t, "desk@example.com",
		domain.Permissions{"users": {View: true, Edit: true}, "groups": {View: true, Add: true, Edit: true}})
	id, token := h.person(t, "manager@example.com", domain.Permissions{"audit": {View: true, Export: true}})
	h.enroll(t, token)
	h.manager = id.String()
	h.boss = h.admin
	return h
}

func (h helpDesk) propose(t *testing.T, operation, subject string, change map[string]any) answered {
	t.Helper()
	body := map[string]any{"operation": operation, "change": change, "reason": "asked by phone"}
	if subject != "" {
		body["subject_id"] = subject
	}
	return h.call(t, h.desk, http.MethodPost, "/approvals", body)
}

func (h helpDesk) decide(t *testing.T, token, id, how string) answered {
	t.Helper()
	return h.call(t, token, http.MethodPost, "/approvals/"+id+"/"+how, nil)
}

// What is refused to somebody who has less than the account or group can be proposed, and another person makes it.
func TestASecondPersonConfirms(t *testing.T) {
	t.Parallel()
	auditors := map[string]any{"audit": map[string]any{"view": true}}
	for name, c := range map[string]struct {
		operation string
		group     bool // the subject is a group that allows more; else the manager
		creates   bool
		change    map[string]any
		refused   func(h helpDesk, t *testing.T, subject string) answered // when it is done directly
		done      func(h helpDesk, t *testing.T, subject string) bool
	}{
		"another address": {
			operation: "change-user", change: map[string]any{"email": "new@example.com"},
			refused: func(h helpDesk, t *testing.T, subject string) answered {
				return h.call(t, h.desk, http.MethodPatch, "/users/"+subject,
					map[string]any{"email": "new@example.com"})
			},
			done: func(h helpDesk, t *testing.T, subject string) bool {
				return h.call(t, h.admin, http.MethodGet, "/users/"+subject, nil).text("email") == "new@example.com"
			},
		},
		"a device that was lost": {
			operation: "reset-two-factor", change: map[string]any{"reason": "lost phone"},
			refused: func(h helpDesk, t *testing.T, subject string) answered {
				return h.call(t, h.desk, http.MethodPost, "/users/"+subject+"/two-factor/reset",
					map[string]any{"reason": "lost phone"})
			},
			done: func(h helpDesk, t *testing.T, subject string) bool {
				return h.call(t, h.admin, http.MethodGet, "/users/"+subject,
					nil).json["two_factor"].(map[string]any)["enrolled"] == false
			},
		},
		"a group that allows more": {
			operation: "create-group", creates: true,
			change: map[string]any{"name": "Auditors", "permissions": auditors},
			refused: func(h helpDesk, t *testing.T, _ string) answered {
				return h.call(t, h.desk, http.MethodPost, "/groups",
					map[string]any{"name": "Auditors", "permissions": auditors})
			},
			done: func(h helpDesk, t *testing.T, _ string) bool {
				return len(h.call(t, h.admin, http.MethodGet, "/groups?query=Auditors", nil).items()) == 1
			},
		},
		"more for a group": {
			operation: "change-group", group: true, change: map[string]any{"permissions": auditors},
			refused: func(h helpDesk, t *testing.T, subject string) answered {
				return h.call(t, h.desk, http.MethodPatch, "/groups/"+subject, map[string]any{"permissions": auditors})
			},
			done: func(h helpDesk, t *testing.T, subject string) bool {
				_, ok := h.call(t, h.admin, http.MethodGet, "/groups/"+subject,
					nil).json["permissions"].(map[string]any)["audit"]
				return ok
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHelpDesk(t)
			subject := h.manager
			switch {
			case c.creates:
				subject = ""
			case c.group:
				subject = h.create(t, "/groups", map[string]any{"name": "Clerks"})
			}
			if got := c.refused(h, t, subject); got.text("code") != "forbidden" {
				t.Fatalf("directly: %v", got)
			}
			proposed := h.propose(t, c.operation, subject, c.change)
			id := proposed.text("id")
			if proposed.status != http.StatusCreated || proposed.text("state") != "proposed" {
				t.Fatal(proposed)
			}
			if got := h.decide(t, h.desk, id, "confirm"); got.text("code") != "own_proposal" {
				t.Errorf("by who proposed it: %v", got)
			}
			_, peer := h.person(t, "peer@example.com",
				domain.Permissions{"users": {View: true, Edit: true}, "groups": {View: true, Add: true, Edit: true}})
			if got := h.decide(t, peer, id, "confirm"); got.text("code") != "forbidden" {
				t.Errorf("by somebody who has no more: %v", got)
			}
			confirmed := h.decide(t, h.boss, id, "confirm")
			if confirmed.status != http.StatusOK || confirmed.text("state") != "confirmed" || !c.done(h, t, subject) {
				t.Fatalf("by a superuser: %v", confirmed)
			}
			if got := h.decide(t, h.boss, id, "refuse"); got.text("code") != "decided" {
				t.Errorf("refused afterwards: %v", got)
			}
		})
	}
}

// Nobody learns of, or decides on, what they could not do themselves.
func TestWhoSeesAProposal(t *testing.T) {
	t.Parallel()
	h := newHelpDesk(t)
	id := h.propose(t, "change-user", h.manager, map[string]any{"email": "new@example.com"}).text("id")
	_, stranger := h.person(t, "stranger@example.com", domain.Permissions{"audit": {View: true}})
	company := h.create(t, "/companies", map[string]any{"name": "Nova"})
	group := h.create(t, "/groups", map[string]any{"name": "Nova's", "company_id": company,
		"permissions": map[string]any{"users": map[string]any{"view": true, "edit": true}}})
	elsewhereID := h.create(t, "/users", map[string]any{"email": "nova@example.com", "company_id": company,
		"group_ids": []string{group}})
	elsewhere, _, err := h.startSession(t.Context(), uuid.MustParse(elsewhereID), h.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		token string
		seen  bool
	}{
		"who proposed it": {h.desk, true}, "a superuser": {h.boss, true},
		"somebody without the permission":      {stranger, false},
		"the administrator of another company": {elsewhere, false},
	} {
		t.Run(name, func(t *testing.T) {
			want := map[bool]int{true: http.StatusOK, false: http.StatusNotFound}[c.seen]
			if got := h.call(t, c.token, http.MethodGet, "/approvals/"+id, nil); got.status != want {
				t.Errorf("seen: %v", got)
			}
			history := h.call(t, c.token, http.MethodGet, "/approvals/"+id+"/history", nil)
			if seen := history.status == http.StatusOK; seen != (c.token == h.boss) { // it takes audit.view, too
				t.Errorf("its history: %v", history)
			}
			if got := len(h.call(t, c.token, http.MethodGet, "/approvals", nil).items()) == 1; got != c.seen {
				t.Errorf("listed: %t", got)
			}
			if c.seen {
				return
			}
			for _, how := range []string{"confirm", "refuse", "withdraw"} {
				if got := h.decide(t, c.token, id, how); got.status != http.StatusNotFound {
					t.Errorf("%s: %v", how, got)
				}
			}
		})
	}
	if got := h.call(t, stranger, http.MethodPost, "/approvals", map[string]any{"operation": "change-user",
		"subject_id": h.manager, "change": map[string]any{
			"email": "x@example.com",
		}, "reason": "mine"}); got.text("code") != "forbidden" {
		t.Errorf("proposed without the permission: %v", got)
	}
	own := h.propose(t, "change-user", h.deskID.String(), map[string]any{"superuser": true})
	if own.text("code") != "own_account" {
		t.Errorf("proposed for oneself: %v", own)
	}
}

// A proposal is worth what its proposer, its subject and the time are worth when it is confirmed.
func TestAProposalThatIsNotWorthAnythingAnyMore(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		meanwhile func(helpDesk, *testing.T, string)
		code      string
	}{
		"the proposer was dismissed": {func(h helpDesk, t *testing.T, _ string) {
			h.call(t, h.admin, http.MethodPost, "/users/"+h.deskID.String()+"/deactivate", nil)
		}, "forbidden"},
		"the account was changed": {func(h helpDesk, t *testing.T, _ string) {
			h.call(t, h.admin, http.MethodPatch, "/users/"+h.manager, map[string]any{"position": "Head"})
		}, "revision_mismatch"},
		"it was withdrawn": {func(h helpDesk, t *testing.T, id string) {
			h.decide(t, h.desk, id, "withdraw")
		}, "decided"},
		"it was refused": {func(h helpDesk, t *testing.T, id string) {
			h.decide(t, h.boss, id, "refuse")
		}, "decided"},
		"it has expired": {func(h helpDesk, t *testing.T, _ string) {
			h.ahead.Add(int64(approval.Life + time.Minute))
			var err error
			if h.boss, _, err = h.startSession(t.Context(), h.adminID, h.Now()); err != nil {
				t.Fatal(err)
			}
			h.admin = h.boss
		}, "decided"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHelpDesk(t)
			id := h.propose(t, "change-user", h.manager, map[string]any{"email": "new@example.com"}).text("id")
			c.meanwhile(h, t, id)
			if got := h.decide(t, h.admin, id, "confirm"); got.text("code") != c.code {
				t.Errorf("%v, want %s", got, c.code)
			}
			if got := h.call(t, h.admin, http.MethodGet, "/users/"+h.manager,
				nil); got.text("email") == "new@example.com" {
				t.Error("it was made all the same")
			}
		})
	}
}

// What is wrong with a proposal is said when it is made.
func TestAProposalIsReadAsItsOperation(t *testing.T) {
	t.Parallel()
	h := newHelpDesk(t)
	for name, c := range map[string]struct {
		operation, subject string
		change             map[string]any
		wrong              string
	}{
		"an address that is none": {"change-user", h.manager, map[string]any{"email": "nobody"}, "change.email"},
		"a field that is none":    {"change-user", h.manager, map[string]any{"password": "x"}, "change"},
		"nobody":                  {"change-user", "", map[string]any{"email": "a@example.com"}, "subject_id"},
		"an operation of others":  {"delete-user", h.manager, nil, "operation"},
		"a group without a name":  {"create-group", "", map[string]any{}, "change.name"},
	} {
		t.Run(name, func(t *testing.T) {
			got := h.propose(t, c.operation, c.subject, c.change)
			if _, ok := got.wrong()[c.wrong]; !ok {
				t.Errorf("%v, want %s", got, c.wrong)
			}
		})
	}
}
