package httpapi

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
)

// A file as spreadsheets and people make them: a byte order mark, quotes, Ukrainian names, blank lines, line breaks in
// cells, duplicates, bad dates, unknown companies.
func TestImportingANastyFile(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	company := a.create(t, "/companies", map[string]any{"name": "Нова"})
	a.create(t, "/users", map[string]any{"email": "old@example.com", "first_name": "Old"})
	lines := []string{
		"\ufeffemail,first_name,last_name,company_id,department,start_date,active",
		`olena@example.com,Олена,"Коваленко, ""Оля""",` + company + `,Risk,2026-01-01,true`,
		``,
		`  , ,, ,,,`,
		`taras@example.com,Тарас,Шевченко,,"two` + "\n" + `lines",,no`,
		`OLENA@example.com,Again,,,,,`,
		`ivan@example.com,Іван,Франко,,,31.12.2026,perhaps`,
		`lesia@example.com,Леся,Українка,` + uuid.NewString() + `,,,`,
		`not an address,x,,,,,`,
		`old@example.com,New,,,,,`,
		`short@example.com,x`,
	}
	file := strings.Join(lines, "\r\n")
	csv := with{"Content-Type", "text/csv; charset=utf-8"}

	dry := a.call(t, a.admin, http.MethodPost, "/users/import?dry_run=true", file, csv)
	if dry.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", dry, dry.status, http.StatusOK)
	}
	if dry.json["dry_run"] != true {
		t.Errorf("dry_run = %v, want true", dry.json["dry_run"])
	}
	users := a.count(t, `SELECT count(*) FROM users`)

	imported := a.call(t, a.admin, http.MethodPost, "/users/import", file, csv)
	if imported.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", imported, imported.status, http.StatusOK)
	}
	if got := imported.header.Get("Secboard-Position"); got == "" {
		t.Errorf("Secboard-Position = %q, want something", got)
	}
	if got := a.count(t, `SELECT count(*) FROM users`); got != users+int(imported.json["created"].(float64)) {
		t.Errorf("the read models have them already: got %v, want %v", got,
			users+int(imported.json["created"].(float64)))
	}
	for name, report := range map[string]answered{"dry run": dry, "import": imported} {
		t.Run(name, func(t *testing.T) {
			if report.json["created"] != 1.0 {
				t.Errorf("%v: got %v, want 1", report, report.json["created"])
			}
			if report.json["unchanged"] != 1.0 {
				t.Errorf("%v: got %v, want 1", report, report.json["unchanged"])
			}
			if report.json["failed"] != 6.0 {
				t.Errorf("%v: got %v, want 6", report, report.json["failed"])
			}
		})
	}
	if diff := cmp.Diff(outcomes(dry), outcomes(imported)); diff != "" {
		t.Errorf("a dry run says what would happen (-want +got):\n%s", diff)
	}
	if got := a.call(t, a.admin, http.MethodGet, "/users?query=olena",
		nil).items()[0]["last_name"]; got != "Коваленко, \"Оля\"" {
		t.Errorf("got %q, want \"Коваленко, \\\"Оля\\\"\"", got)
	}

	t.Log("a second run adds nothing")
	again := a.call(t, a.admin, http.MethodPost, "/users/import", file, csv)
	if again.json["created"] != 0.0 {
		t.Errorf("%v: got %v, want 0", again, again.json["created"])
	}
	if again.json["unchanged"] != 2.0 {
		t.Errorf("%v: got %v, want 2", again, again.json["unchanged"])
	}

	for name, broken := range map[string]string{
		"no header": "", "unknown column": "email,salary\na@example.com,1", "no e-mail column": "first_name\nx",
	} {
		t.Run(name, func(t *testing.T) {
			refused := a.call(t, a.admin, http.MethodPost, "/users/import", broken, csv)
			if expected := []int{http.StatusUnprocessableEntity, http.StatusBadRequest}; !slices.Contains(expected,
				refused.status) {
				t.Errorf("%s: got %v", refused, refused.status)
			}
			if got := refused.text("detail"); got == "" {
				t.Errorf("detail = %q, want something", got)
			}
		})
	}
}

// outcomes is the status of each line, with the fields that are wrong.
func outcomes(report answered) []string {
	lines, _ := report.json["lines"].([]any)
	list := make([]string, len(lines))
	for i, line := range lines {
		entry, _ := line.(map[string]any)
		list[i] = fmt.Sprint(entry["line"], " ", entry["status"])
		errs, _ := entry["errors"].([]any)
		for _, e := range errs {
			wrong, _ := e.(map[string]any)
			list[i] += fmt.Sprint(" ", wrong["field"], ":", wrong["code"])
		}
	}
	return list
}

func TestAnImportedSuperuserNeedsASuperuser(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	_, clerk := a.person(t, "clerk@example.com", everything())
	report := a.call(t, clerk, http.MethodPost, "/users/import",
		"email,superuser\nroot@example.com,true\nanna@example.com,false\n", with{"Content-Type", "text/csv"})
	if report.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", report, report.status, http.StatusOK)
	}
	if diff := cmp.Diff([]string{"2 failed line:forbidden", "3 created"}, outcomes(report)); diff != "" {
		t.Errorf("outcomes(report) (-want +got):\n%s", diff)
	}
}

// A file with guesses about an account shows nothing of it to somebody who may add accounts and not see them.
func TestAnImportTellsOnlyWhatMayBeSeen(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.create(t, "/users", map[string]any{"email": "anna@example.com", "first_name": "Anna", "superuser": true})
	differs := func(t *testing.T, token, query string) any {
		t.Helper()
		report := a.call(t, token, http.MethodPost, "/users/import"+query,
			"email,first_name,superuser\nanna@example.com,Anna,false\n", with{"Content-Type", "text/csv"})
		if report.status != http.StatusOK {
			t.Fatalf("%v: got %v, want %v", report, report.status, http.StatusOK)
		}
		if report.json["unchanged"] != 1.0 {
			t.Errorf("%v: got %v, want 1", report, report.json["unchanged"])
		}
		return report.json["lines"].([]any)[0].(map[string]any)["differs"]
	}
	_, adds := a.person(t, "adds@example.com", without("users", domain.View))
	_, sees := a.person(t, "sees@example.com", everything())
	for name, query := range map[string]string{"import": "", "dry run": "?dry_run=true"} {
		t.Run(name, func(t *testing.T) {
			if got := differs(t, adds, query); got != nil {
				t.Errorf("differs(adds, query) = %v, want nil", got)
			}
			if diff := cmp.Diff([]any{"superuser"}, differs(t, sees, query)); diff != "" {
				t.Errorf("differs(sees, query) (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]any{"superuser"}, differs(t, a.admin, query)); diff != "" {
				t.Errorf("differs(a.admin, query) (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAThousandAccountsAtOnce(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	var file strings.Builder
	file.WriteString("email;first_name\n")
	for i := range 1000 {
		fmt.Fprintf(&file, "person%d@example.com;Особа %d\n", i, i)
	}
	report := a.call(t, a.admin, http.MethodPost, "/users/import", file.String(), with{"Content-Type", "text/csv"},
		with{"Idempotency-Key", "import"})
	if report.status != http.StatusOK {
		t.Fatalf("report.status = %v, want %v", report.status, http.StatusOK)
	}
	if report.json["created"] != 1000.0 {
		t.Errorf("created = %v, want 1000", report.json["created"])
	}
	again := a.call(t, a.admin, http.MethodPost, "/users/import", file.String(), with{"Content-Type", "text/csv"},
		with{"Idempotency-Key", "import"})
	if diff := cmp.Diff(report.body, again.body); diff != "" {
		t.Errorf("again.body (-want +got):\n%s", diff)
	}
	found := a.call(t, a.admin, http.MethodGet, "/users?query=person999", nil,
		with{"Secboard-Min-Position", report.header.Get("Secboard-Position")})
	if got := found.items(); len(got) != 1 {
		t.Errorf("%v: got has %d elements, want 1: %v", found, len(got), got)
	}
}
