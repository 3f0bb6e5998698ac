package commands_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/eventstore/nodetest"
)

func parse(t *testing.T, file string) []commands.ImportLine {
	t.Helper()
	lines, err := commands.ParseUsersCSV(strings.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func problems(report commands.LineReport) string {
	var found []string
	for _, problem := range report.Errors {
		found = append(found, problem.Field+":"+string(problem.Code))
	}
	return strings.Join(found, " ")
}

func TestImportReportsEveryLineAndTheSecondTimeAddsNothing(t *testing.T) {
	t.Parallel()
	client := nodetest.Connect(t)
	handler := newHandler(t, client)
	ctx := t.Context()
	acme := must(t)(handler.CreateCompany(ctx, admin(), company.Details{Name: "Acme"}))
	file := "\ufeffEmail,first_name,last_name,company_id,start_date,end_date,active\r\n" +
		fmt.Sprintf("anna@acme.example,Ганна,\"Ков\"\"аль, мол.\",%s,2026-01-01,,\r\n", acme) +
		"\r\n" +
		"ANNA@acme.example,Anna,,,,,\r\n" +
		"bad,,,,2026-13-01,01.02.2026,maybe\r\n" +
		fmt.Sprintf("borys@acme.example,Борис,,%s,,,no\r\n", uuid.New()) +
		"cells@acme.example,too few\r\n" +
		" , ,,,,,\r\n" +
		"\"two\nlines@acme.example\",,,,,,\r\n" +
		"chloe@acme.example,Chloe,,,,,false\r\n"
	want := []struct{ status, problems string }{
		{"created", ""},
		{"failed", "email:duplicate_line"},
		{"failed", "start_date:date end_date:date active:bool email:email"},
		{"failed", "company_id:unknown_company"},
		{"failed", "line:cells"},
		{"failed", "email:email"},
		{"created", ""},
	}
	check := func(report commands.ImportReport, created string) {
		t.Helper()
		if len(report.Lines) != len(want) {
			t.Fatalf("%d lines reported: %+v", len(report.Lines), report.Lines)
		}
		for i, line := range report.Lines {
			expected := want[i].status
			if expected == "created" {
				expected = created
			}
			if line.Status != expected || problems(line) != want[i].problems {
				t.Errorf("line %d: %s %q, want %s %q", line.Line, line.Status, problems(line), expected,
					want[i].problems)
			}
		}
	}
	dry, err := handler.ImportUsers(ctx, admin(), parse(t, file), true)
	if err != nil {
		t.Fatal(err)
	}
	check(dry, "created")
	if found := registrations(t, client); len(found) != 0 {
		t.Errorf("a dry run registered %v", found)
	}
	first, err := handler.ImportUsers(ctx, admin(), parse(t, file), false)
	if err != nil {
		t.Fatal(err)
	}
	check(first, "created")
	second, err := handler.ImportUsers(ctx, admin(), parse(t, file), false)
	if err != nil {
		t.Fatal(err)
	}
	check(second, "unchanged")
	if second.Created != 0 || second.Unchanged != 2 || second.Failed != 5 || second.Position != 0 {
		t.Errorf("the second time: %+v", second)
	}
	if lines := []int{first.Lines[0].Line, first.Lines[1].Line, first.Lines[6].Line}; !slices.Equal(lines,
		[]int{2, 4, 11}) {
		t.Errorf("line numbers %v", lines)
	}
	changed, err := handler.ImportUsers(ctx, admin(), parse(t, "email;first_name\nanna@acme.example;Hanna\n"), false)
	if err != nil || changed.Unchanged != 1 || !slices.Equal(changed.Lines[0].Differs, []string{"first_name"}) {
		t.Errorf("with another name: %+v, %v", changed, err)
	}
}

func TestFilesThatCannotBeImported(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		file string
		code domain.Code
	}{
		"nothing":                {"", "empty"},
		"empty lines":            {"\n\n", "empty"},
		"an unknown column":      {"name\nAnna\n", "unknown_column"},
		"no column of addresses": {"first_name\nAnna\n", "no_email_column"},
		"a column twice":         {"email,email\n", "duplicate_column"},
		"an open quote":          {"\"email\nx", "csv"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := commands.ParseUsersCSV(strings.NewReader(test.file))
			var invalid *domain.Invalid
			if !errors.As(err, &invalid) || invalid.Fields[0].Code != test.code {
				t.Error(err)
			}
		})
	}
}

func TestImportOfManyAtOnce(t *testing.T) {
	t.Parallel()
	client := nodetest.Connect(t)
	handler := newHandler(t, client)
	var file strings.Builder
	file.WriteString("email,first_name,last_name\n")
	const accounts = 1_000
	for i := range accounts {
		fmt.Fprintf(&file, "person%d@acme.example,Людмила,\"Шевченко, %d\"\n", i, i)
	}
	report, err := handler.ImportUsers(t.Context(), admin(), parse(t, file.String()), false)
	if err != nil || report.Created != accounts {
		t.Fatalf("%d created, %d failed, %v; first %+v", report.Created, report.Failed, err, report.Lines[0])
	}
	if found := registrations(t, client); len(found) != accounts {
		t.Errorf("%d e-mails registered", len(found))
	}
}
