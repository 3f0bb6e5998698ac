package commands

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
)

// importColumns are the columns that a CSV file of accounts may have: the fields of POST /users. Several ids in one
// cell are separated by spaces or semicolons.
var importColumns = []string{
	"email", "first_name", "last_name", "phone", "company_id", "department", "position",
	"active", "start_date", "end_date", "superuser", "require_two_factor", "role_ids", "group_ids",
}

// maxImportLines bounds one import.
const maxImportLines = 100_000

// ImportLine is one account of a CSV file. Problems are those of its cells; Register holds what could be read.
type ImportLine struct {
	Line     int // in the file, counted from 1; the header is line 1 unless blank lines come before
	Register RegisterUser
	Problems []domain.FieldError
	columns  []string
}

// ParseUsersCSV reads a CSV file in UTF-8, with or without a byte order mark, whose first line names the columns;
// commas or semicolons separate the cells. Blank lines are skipped. A wrong cell is a problem of its line; the error
// is a *domain.Invalid about the file as a whole, or one of reading it.
func ParseUsersCSV(r io.Reader) ([]ImportLine, error) {
	buffered := bufio.NewReader(r)
	if mark, err := buffered.Peek(3); err == nil && string(mark) == "\ufeff" {
		if _, err := buffered.Discard(3); err != nil {
			return nil, err
		}
	}
	reader := csv.NewReader(buffered)
	reader.Comma = separator(buffered)
	reader.FieldsPerRecord = -1
	reader.ReuseRecord = true
	columns, err := readHeader(reader)
	if err != nil {
		return nil, err
	}
	var lines []ImportLine
	for {
		cells, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return lines, nil
		}
		var broken *csv.ParseError
		switch {
		case errors.As(err, &broken):
			lines = append(lines, ImportLine{Line: broken.StartLine, Problems: []domain.FieldError{{
				Field: "line", Code: domain.CodeCSV, Message: "is not CSV: " + broken.Err.Error(),
			}}})
		case err != nil:
			return nil, err
		case blank(cells):
		default:
			line, _ := reader.FieldPos(0)
			lines = append(lines, parseLine(line, columns, cells))
		}
		if len(lines) > maxImportLines {
			return nil,
				fileProblem(domain.CodeTooManyLines, fmt.Sprintf("has more than %d accounts: split it", maxImportLines))
		}
	}
}

func fileProblem(code domain.Code, message string) error {
	return &domain.Invalid{Fields: []domain.FieldError{{Field: "file", Code: code, Message: message}}}
}

// separator is a semicolon when the first line has one and no comma, as spreadsheets write it in many countries.
func separator(r *bufio.Reader) rune {
	start, err := r.Peek(1024)
	if err != nil && len(start) == 0 {
		return ','
	}
	header, _, _ := strings.Cut(strings.TrimLeft(string(start), "\r\n"), "\n")
	if strings.Contains(header, ";") && !strings.Contains(header, ",") {
		return ';'
	}
	return ','
}

func readHeader(reader *csv.Reader) ([]string, error) {
	header, err := reader.Read()
	var broken *csv.ParseError
	switch {
	case errors.Is(err, io.EOF):
		return nil, fileProblem(domain.CodeEmpty, "is empty: the first line must name the columns, at least email")
	case errors.As(err, &broken):
		return nil, fileProblem(domain.CodeCSV, "is not CSV: "+broken.Err.Error())
	case err != nil:
		return nil, err
	}
	columns := make([]string, len(header))
	for i, name := range header {
		name = strings.ToLower(strings.TrimSpace(name))
		switch {
		case !slices.Contains(importColumns, name):
			return nil, fileProblem(domain.CodeUnknownColumn,
				fmt.Sprintf("has the unknown column %.50q; the columns are %s", name, strings.Join(importColumns,
					", ")))
		case slices.Contains(columns[:i], name):
			return nil, fileProblem(domain.CodeDuplicateColumn, "has the column "+name+" twice")
		}
		columns[i] = name
	}
	if !slices.Contains(columns, "email") {
		return nil, fileProblem(domain.CodeNoEmailColumn, "has no column email: the first line must name the columns")
	}
	return columns, nil
}

func blank(cells []string) bool {
	return !slices.ContainsFunc(cells, func(cell string) bool { return strings.TrimSpace(cell) != "" })
}

func parseLine(number int, columns, cells []string) ImportLine {
	line := ImportLine{Line: number, columns: columns}
	var problems domain.Invalid
	if len(cells) != len(columns) {
		problems.Add("line", domain.CodeCells, "has %d cells, but the first line names %d columns", len(cells),
			len(columns))
		line.Problems = problems.Fields
		return line
	}
	details := &line.Register.Details
	for i, column := range columns {
		cell := strings.TrimSpace(cells[i])
		if !utf8.ValidString(cell) {
			problems.Add(column, domain.CodeNotUTF8, "is not UTF-8: save the file as CSV UTF-8")
			continue
		}
		switch column {
		case "email":
			details.Email = cell
		case "first_name":
			details.FirstName = cell
		case "last_name":
			details.LastName = cell
		case "phone":
			details.Phone = cell
		case "department":
			details.Department = cell
		case "position":
			details.Position = cell
		case "company_id":
			details.CompanyID = one(parseIDs(column, cell, &problems))
		case "role_ids":
			line.Register.RoleIDs = parseIDs(column, cell, &problems)
		case "group_ids":
			line.Register.GroupIDs = parseIDs(column, cell, &problems)
		case "start_date":
			details.StartDate = parseDate(column, cell, &problems)
		case "end_date":
			details.EndDate = parseDate(column, cell, &problems)
		case "active":
			line.Register.Inactive = !parseBool(column, cell, true, &problems)
		case "superuser":
			line.Register.Superuser = parseBool(column, cell, false, &problems)
		case "require_two_factor":
			line.Register.RequireTwoFactor = parseBool(column, cell, false, &problems)
		}
	}
	line.Problems = problems.Fields
	return line
}

func one(ids []uuid.UUID) uuid.UUID {
	if len(ids) == 0 {
		return uuid.Nil
	}
	return ids[0]
}

func parseIDs(column, cell string, problems *domain.Invalid) []uuid.UUID {
	var ids []uuid.UUID
	for _, part := range strings.FieldsFunc(cell, func(r rune) bool { return r == ' ' || r == ';' || r == ',' }) {
		id, err := uuid.Parse(part)
		// Parse takes any two characters around an id for braces
		if err != nil || id.String() != strings.ToLower(part) {
			problems.Add(column, domain.CodeUUID, "%.50q is not an id such as 0190a0f0-0000-7000-8000-000000000000",
				part)
			continue
		}
		ids = append(ids, id)
	}
	if column == "company_id" && len(ids) > 1 {
		problems.Add(column, domain.CodeOneID, "must be one id")
	}
	return ids
}

func parseDate(column, cell string, problems *domain.Invalid) domain.Date {
	date, err := domain.ParseDate(cell)
	if err != nil {
		problems.Add(column, domain.CodeDate, "%s", err)
	}
	return date
}

func parseBool(column, cell string, empty bool, problems *domain.Invalid) bool {
	switch strings.ToLower(cell) {
	case "":
		return empty
	case "yes":
		return true
	case "no":
		return false
	}
	value, err := strconv.ParseBool(cell)
	if err != nil {
		problems.Add(column, domain.CodeBool, "%.50q is neither true nor false", cell)
		return empty
	}
	return value
}
