package httpapi

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
)

func TestAccountsAreCountedAndFoundByWhatTheyLack(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.givePassword(t)
	day := func(days int) string { return a.Now().UTC().AddDate(0, 0, days).Format(time.DateOnly) }
	nova := a.create(t, "/companies", map[string]any{"name": "Nova"})
	for email, fields := range map[string]map[string]any{
		"plain":    {"first_name": "Наталія", "last_name": "Мороз", "company_id": nova},
		"closed":   {"active": false},
		"later":    {"start_date": day(5)},
		"muchlate": {"start_date": day(500)},
		"over":     {"end_date": day(-1)},
		"ending":   {"end_date": day(5), "require_two_factor": true},
	} {
		fields["email"] = email + "@example.com"
		a.create(t, "/users", fields)
	}
	signedIn := a.call(t, "", http.MethodPost, "/sessions",
		map[string]any{"email": adminEmail, "password": adminPassword})
	if signedIn.status != http.StatusCreated {
		t.Fatal(signedIn)
	}
	want := map[string]any{
		"all": 7.0, "active": 3.0, "inactive": 1.0, "not_started": 2.0, "expired": 1.0, "directory_disabled": 0.0,
		"superusers": 1.0, "superusers_without_two_factor": 1.0, "two_factor_enrolled": 0.0, "two_factor_missing": 1.0,
		"without_password": 2.0, "never_signed_in": 2.0, "signed_in_today": 1.0, "ending_soon": 1.0,
		"starting_soon": 1.0,
	}
	if diff := cmp.Diff(want, a.call(t, a.admin, http.MethodGet, "/users/summary", nil).json); diff != "" {
		t.Errorf("all (-want +got):\n%s", diff)
	}
	if got := a.call(t, a.admin, http.MethodGet, "/users/summary?company_id="+nova, nil).json["all"]; got != 1.0 {
		t.Errorf("Nova has %v, want 1", got)
	}

	for query, want := range map[string][]string{
		"query=%D0%9C%D0%BE%D1%80%D0%BE%D0%B7+%D0%9D%D0%B0%D1%82": {"plain@example.com"}, // Мороз Нат
		"state=active&require_two_factor=true&two_factor=false":   {"ending@example.com"},
		"state=active&has_password=true":                          {adminEmail},
		"state=active&ends_before=" + day(31):                     {"ending@example.com"},
		"state=active&never_signed_in=true":                       {"ending@example.com", "plain@example.com"},
	} {
		t.Run(query, func(t *testing.T) {
			var got []string
			for _, item := range a.call(t, a.admin, http.MethodGet, "/users?"+query, nil).items() {
				email, _ := item["email"].(string)
				got = append(got, email)
			}
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	wrong := a.call(t, a.admin, http.MethodGet, "/users?ends_before=tomorrow", nil)
	if wrong.status != http.StatusUnprocessableEntity || wrong.wrong()["ends_before"] == "" {
		t.Errorf("a day that is none: %v", wrong)
	}

	t.Log("whoever sees the accounts of one company counts those")
	own := a.create(t, "/groups", map[string]any{"name": "Desk of Nova", "company_id": nova,
		"permissions": map[string]any{"users": map[string]any{"view": true}}})
	id, _ := a.person(t, "desk@example.com", nil)
	a.change(t, http.MethodPatch, "/users/"+id.String(),
		map[string]any{"company_id": nova, "group_ids": []string{own}})
	desk, _, err := a.startSession(t.Context(), id, a.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/users/summary", "/users/summary?company_id=" + nova} {
		if got := a.call(t, desk, http.MethodGet, path, nil); got.json["all"] != 2.0 {
			t.Errorf("%s: %v, want 2", path, got)
		}
	}
	if got := a.call(t, desk, http.MethodGet, "/users/summary?company_id="+uuid.NewString(),
		nil); got.json["all"] == 8.0 {
		t.Errorf("another company: %v", got)
	}
	_, nobody := a.person(t, "nobody@example.com", domain.Permissions{"groups": {View: true}})
	if got := a.call(t, nobody, http.MethodGet, "/users/summary", nil).status; got != http.StatusForbidden {
		t.Errorf("without users.view: got %d, want 403", got)
	}
}
