package httpapi

import (
	"net/http"
	"testing"

	"github.com/google/uuid"
)

func TestPeopleEndTheirOwnSessions(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	own, token := a.person(t, "anna@example.com", nil)
	another := func() (id, token string) {
		token, session, err := a.startSession(t.Context(), own, a.Now())
		if err != nil {
			t.Fatal(err)
		}
		return session.ID.String(), token
	}
	phone, phoneToken := another()
	_, tabletToken := another()
	_, strangersToken := a.person(t, "borys@example.com", nil)

	if got := len(a.call(t, token, http.MethodGet, "/me/sessions", nil).items()); got != 3 {
		t.Errorf("the list has %d sessions, want 3", got)
	}
	for name, refused := range map[string]struct {
		token, path string
		status      int
	}{
		"somebody else's": {strangersToken, "/me/sessions/" + phone, http.StatusNotFound},
		"made up":         {token, "/me/sessions/" + uuid.NewString(), http.StatusNotFound},
		"nobody":          {"", "/me/sessions/" + phone, http.StatusUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			if got := a.call(t, refused.token, http.MethodDelete, refused.path, nil); got.status != refused.status {
				t.Errorf("%v: got %d, want %d", got, got.status, refused.status)
			}
		})
	}
	alive := func(token string) bool {
		return a.call(t, token, http.MethodGet, "/me", nil).status == http.StatusOK
	}
	if got := a.call(t, token, http.MethodDelete, "/me/sessions/"+phone, nil); got.status != http.StatusNoContent {
		t.Fatalf("%v: got %d, want %d", got, got.status, http.StatusNoContent)
	}
	if alive(phoneToken) || !alive(tabletToken) || !alive(token) {
		t.Errorf("after one was ended: it %v, another %v, the current %v", alive(phoneToken), alive(tabletToken),
			alive(token))
	}
	if got := a.call(t, token, http.MethodDelete, "/me/sessions", nil); got.status != http.StatusNoContent {
		t.Fatalf("%v: got %d, want %d", got, got.status, http.StatusNoContent)
	}
	if alive(tabletToken) || !alive(token) || !alive(strangersToken) {
		t.Errorf("after all others were ended: another %v, the current %v, somebody else's %v", alive(tabletToken),
			alive(token), alive(strangersToken))
	}
	history := a.call(t, a.admin, http.MethodGet, "/users/"+own.String()+"/history?include=sign_ins", nil).items()
	ended := 0
	for _, entry := range history {
		if entry["type"] == "signin.signed_out" {
			ended++
		}
	}
	if ended != 2 {
		t.Errorf("the history has %d ended sessions, want 2: %v", ended, history)
	}
}
