package export_test

import (
	"bytes"
	"context"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/export"
)

// fixedLog is a log of a few events.
type fixedLog struct {
	eventstore.Log
	events []eventstore.Recorded
	from   []eventstore.Position // where readings began
}

func (l *fixedLog) ReadAll(_ context.Context, after eventstore.Position) iter.Seq2[eventstore.Recorded, error] {
	l.from = append(l.from, after)
	return func(yield func(eventstore.Recorded, error) bool) {
		for _, e := range l.events {
			if e.Position > after && !yield(e, nil) {
				return
			}
		}
	}
}

func companies(t *testing.T, names ...string) *fixedLog {
	t.Helper()
	log := &fixedLog{}
	for i, name := range names {
		proposed, err := eventstore.Encode("company-1", eventstore.NoStream,
			[]eventstore.Event{company.Created{Name: name}}, eventstore.Metadata{
				At:    time.Date(2026, 1, 1+i, 0, 0, 0, 0, time.UTC),
				Actor: eventstore.Actor{Kind: eventstore.ActorUser, ID: "-1"}, CommandID: uuid.New(),
			})
		if err != nil {
			t.Fatal(err)
		}
		log.events = append(log.events, eventstore.Recorded{
			ID: proposed[0].ID, Stream: "company-1", Position: eventstore.Position(10 * (i + 1)),
			Type: proposed[0].Type, Data: proposed[0].Data, Metadata: proposed[0].Metadata,
		})
	}
	return log
}

func exportOf(t *testing.T, log eventstore.Log, x export.Copy) string {
	t.Helper()
	var out bytes.Buffer
	if _, err := x.Write(t.Context(), log, &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// Wherever an export was cut, resuming after its last complete line gives the rest.
func TestAnExportCutAnywhereIsResumed(t *testing.T) {
	t.Parallel()
	log := companies(t, "Nova", "two\nlines, and \"quotes\"", "=1+1", "Žofie")
	for _, format := range []string{export.NDJSON, export.CSV} {
		t.Run(format, func(t *testing.T) {
			whole := exportOf(t, log, export.Copy{Format: format, Header: true})
			for cut := range len(whole) + 1 {
				last, size, err := export.Last(strings.NewReader(whole[:cut]), format)
				if format == export.CSV && err != nil && size == 0 && cut < len(strings.Join(export.Columns, ",")) {
					continue // not even its first line is there
				}
				if err != nil {
					t.Fatalf("%s cut at %d: %v", format, cut, err)
				}
				rest := exportOf(t, log, export.Copy{Format: format, Header: size == 0, After: last})
				if got := whole[:size] + rest; got != whole {
					t.Fatalf("%s cut at %d:\n%s\nnot\n%s", format, cut, got, whole)
				}
			}
		})
	}
	for format, other := range map[string]string{
		export.NDJSON: "{\"position\":1}\n{\"position\":1}\n", export.CSV: "a,b\n",
	} {
		t.Run(format, func(t *testing.T) {
			if _, _, err := export.Last(strings.NewReader(other), format); err == nil {
				t.Errorf("%q passes for an export", other)
			}
		})
	}
}

func TestAnExportOfAPartOfTheLog(t *testing.T) {
	t.Parallel()
	log := companies(t, "one", "two", "three", "four", "five")
	day := func(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }
	for want, x := range map[string]export.Copy{
		"one two three four five": {},
		"two three":               {From: day(2), To: day(3)},
		"three four":              {After: 20, Before: 50},
		"one five":                {Gap: [2]eventstore.Position{10, 40}},
	} {
		t.Run(want, func(t *testing.T) {
			x.Format = export.CSV
			var names []string
			for line := range strings.Lines(exportOf(t, log, x)) {
				name := strings.TrimPrefix(strings.Split(line, ",")[9], "company ")
				names = append(names, strings.TrimSuffix(name, " created"))
			}
			if got := strings.Join(names, " "); got != want {
				t.Errorf("%+v: %s", x, got)
			}
		})
	}
	if got := log.from[len(log.from)-1]; len(log.from) != 5 || got > 40 {
		t.Error("readings began at", log.from)
	}
}

// What a newer SecBoard wrote is not left out, but its data may hold secrets that only that one knows.
func TestAnExportOfWhatCantBeRead(t *testing.T) {
	t.Parallel()
	log := companies(t, "one", "two")
	log.events[0].Type, log.events[0].Data = "company.sealed", []byte(`{"key":"s3cret"}`)
	log.events[1].Metadata = []byte("no JSON")
	for _, format := range []string{export.NDJSON, export.CSV} {
		t.Run(format, func(t *testing.T) {
			got := exportOf(t, log, export.Copy{Format: format, To: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)})
			if strings.Count(got, "\n") != 2 || strings.Contains(got, "s3cret") ||
				!strings.Contains(got, "newer SecBoard") {
				t.Error(got)
			}
		})
	}
}

func TestNoCellIsAFormula(t *testing.T) {
	t.Parallel()
	got := exportOf(t, companies(t, "x"), export.Copy{Format: export.CSV})
	if !strings.Contains(got, ",user,'-1,") {
		t.Error(got)
	}
}
