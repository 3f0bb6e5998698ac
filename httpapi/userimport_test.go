package httpapi

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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
	require.Equal(t, http.StatusOK, dry.status, dry)
	assert.Equal(t, true, dry.json["dry_run"])
	users := a.count(t, `SELECT count(*) FROM users`)

	imported := a.call(t, a.admin, http.MethodPost, "/users/import", file, csv)
	require.Equal(t, http.StatusOK, imported.status, imported)
	assert.NotEmpty(t, imported.header.Get("Secboard-Position"))
	assert.Equal(t, users+int(imported.json["created"].(float64)), a.count(t, `SELECT count(*) FROM users`), "the read models have them already")
	for _, report := range []answered{dry, imported} {
		assert.EqualValues(t, 1, report.json["created"], report)
		assert.EqualValues(t, 1, report.json["unchanged"], report)
		assert.EqualValues(t, 6, report.json["failed"], report)
	}
	assert.Equal(t, outcomes(dry), outcomes(imported), "a dry run says what would happen")
	assert.Equal(t, "Коваленко, \"Оля\"", a.call(t, a.admin, http.MethodGet, "/users?query=olena", nil).items()[0]["last_name"])

	t.Log("a second run adds nothing")
	again := a.call(t, a.admin, http.MethodPost, "/users/import", file, csv)
	assert.EqualValues(t, 0, again.json["created"], again)
	assert.EqualValues(t, 2, again.json["unchanged"], again)

	for name, broken := range map[string]string{"no header": "", "unknown column": "email,salary\na@example.com,1", "no e-mail column": "first_name\nx"} {
		refused := a.call(t, a.admin, http.MethodPost, "/users/import", broken, csv)
		assert.Contains(t, []int{http.StatusUnprocessableEntity, http.StatusBadRequest}, refused.status, "%s: %s", name, refused)
		assert.NotEmpty(t, refused.text("detail"))
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
	report := a.call(t, clerk, http.MethodPost, "/users/import", "email,superuser\nroot@example.com,true\nanna@example.com,false\n", with{"Content-Type", "text/csv"})
	require.Equal(t, http.StatusOK, report.status, report)
	assert.Equal(t, []string{"2 failed line:forbidden", "3 created"}, outcomes(report))
}

// A file with guesses about an account shows nothing of it to somebody who may add accounts and not see them.
func TestAnImportTellsOnlyWhatMayBeSeen(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.create(t, "/users", map[string]any{"email": "anna@example.com", "first_name": "Anna", "superuser": true})
	differs := func(token, query string) any {
		report := a.call(t, token, http.MethodPost, "/users/import"+query, "email,first_name,superuser\nanna@example.com,Anna,false\n", with{"Content-Type", "text/csv"})
		require.Equal(t, http.StatusOK, report.status, report)
		assert.EqualValues(t, 1, report.json["unchanged"], report)
		return report.json["lines"].([]any)[0].(map[string]any)["differs"]
	}
	_, adds := a.person(t, "adds@example.com", without("users", domain.View))
	_, sees := a.person(t, "sees@example.com", everything())
	for _, query := range []string{"", "?dry_run=true"} {
		assert.Nil(t, differs(adds, query))
		assert.Equal(t, []any{"superuser"}, differs(sees, query))
		assert.Equal(t, []any{"superuser"}, differs(a.admin, query))
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
	report := a.call(t, a.admin, http.MethodPost, "/users/import", file.String(), with{"Content-Type", "text/csv"}, with{"Idempotency-Key", "import"})
	require.Equal(t, http.StatusOK, report.status)
	assert.EqualValues(t, 1000, report.json["created"])
	again := a.call(t, a.admin, http.MethodPost, "/users/import", file.String(), with{"Content-Type", "text/csv"}, with{"Idempotency-Key", "import"})
	assert.Equal(t, report.body, again.body)
	found := a.call(t, a.admin, http.MethodGet, "/users?query=person999", nil, with{"Secboard-Min-Position", report.header.Get("Secboard-Position")})
	assert.Len(t, found.items(), 1, found)
}
