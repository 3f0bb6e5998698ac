package httpapi

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/secboard/secboard/domain/signin"
)

func TestWhatPeopleSeeOfTheSiteBeforeTheySignIn(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.change(t, http.MethodPatch, "/settings/site",
		map[string]any{"name": "Nova", "time_zone": "Europe/Kyiv", "default_email": "it@example.com"})
	want := map[string]any{"name": "Nova", "time_zone": "Europe/Kyiv", "default_language": "en"}
	if diff := cmp.Diff(want, a.call(t, "", http.MethodGet, "/site", nil).json); diff != "" {
		t.Errorf("signed out (-want +got):\n%s", diff)
	}
	_, token := a.person(t, "anna@example.com", nil)
	want["default_email"] = "it@example.com"
	if diff := cmp.Diff(want, a.call(t, token, http.MethodGet, "/sessions/current", nil).json["site"]); diff != "" {
		t.Errorf("signed in (-want +got):\n%s", diff)
	}
}

func TestAskingWhetherALinkWorksUsesItNotUp(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	id := a.account(t, annasEmail, annasPassword)
	a.call(t, "", http.MethodPost, "/password-resets", map[string]any{"email": annasEmail})
	token := a.linkToken(t, id, signin.ResetLinkRequested{}.EventType())
	for range 2 {
		for path, want := range map[string]int{
			"/password-resets/" + token: http.StatusNoContent,
			"/first-logins/" + token:    http.StatusUnprocessableEntity,
			"/password-resets/made-up":  http.StatusUnprocessableEntity,
			"/first-logins/made-up":     http.StatusUnprocessableEntity,
		} {
			if got := a.call(t, "", http.MethodGet, path, nil); got.status != want {
				t.Errorf("GET %s %v: got %d, want %d", path, got, got.status, want)
			}
		}
	}
	used := a.call(t, "", http.MethodPost, "/password-resets/"+token,
		map[string]any{"new_password": "another long pass phrase"})
	if used.status != http.StatusNoContent {
		t.Fatalf("%v: got %d, want %d", used, used.status, http.StatusNoContent)
	}
	if got := a.call(t, "", http.MethodGet, "/password-resets/"+token, nil); got.status !=
		http.StatusUnprocessableEntity {
		t.Errorf("a used link, %v: got %d, want %d", got, got.status, http.StatusUnprocessableEntity)
	}
}

// The console answers what is not the API's, for people; programs get problems as before.
func TestTheConsoleAnswersWhatIsNotTheAPIs(t *testing.T) {
	t.Parallel()
	a := newAPI(t, func(o *Options) {
		o.Console = func(http.Handler) (http.Handler, error) {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusTeapot)
			}), nil
		}
	})
	for name, c := range map[string]struct {
		path, accept string
		want         int
	}{
		"a browser at the root":     {"/", "text/html,application/xhtml+xml,*/*;q=0.8", http.StatusTeapot},
		"curl":                      {"/", "*/*", http.StatusTeapot},
		"a page of the console":     {"/users", "text/html", http.StatusTeapot},
		"a program at the root":     {"/", "application/json", http.StatusNotFound},
		"a wrong path of the API":   {"/api/v1/nothing", "text/html", http.StatusNotFound},
		"a path of the API":         {"/api/v1/site", "text/html", http.StatusOK},
		"the docs, in a browser":    {"/docs", "text/html", http.StatusOK},
		"the health, in a browser":  {"/healthz", "text/html", http.StatusOK},
		"a wrong path, for a robot": {"/nothing", "application/problem+json", http.StatusNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			got := a.request(t, "", http.MethodGet, c.path, nil, with{"Accept", c.accept})
			if got.status != c.want {
				t.Errorf("%v: got %d, want %d", got, got.status, c.want)
			}
		})
	}
}
