// Package export copies the event log for auditors: every event, without secrets, as NDJSON or CSV.
package export

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/eventstore"
)

// Formats of a Copy.
const (
	NDJSON = "ndjson" // one JSON object per line
	CSV    = "csv"    // RFC 4180 with a header line, safe to open in a spreadsheet
)

// Copy is what auditors get of the log: every event in order, without secrets. It takes constant memory. A copy that
// ended early is resumed with After the position of its last complete line.
type Copy struct {
	Format string
	Header bool      // a CSV begins with the names of its columns
	From   time.Time // inclusive; zero: from the beginning
	To     time.Time // inclusive; zero: to the end
	After  eventstore.Position
	// Keep chooses events; nil: all. It is given every event from the beginning of the log on, in order.
	Keep   func(*eventstore.Envelope) bool
	Before eventstore.Position // 0: to the end of the log
	// Gap is a part of the log without events of the time between From and To, behind the first position up to the
	// second; it is not read.
	Gap [2]eventstore.Position
}

// exportLine is one event of an export. Error says why data is null of an event that this SecBoard can't read.
type exportLine struct {
	ID       uuid.UUID           `json:"id"`
	Position eventstore.Position `json:"position"`
	Stream   string              `json:"stream"`
	Revision eventstore.Revision `json:"revision"`
	Type     string              `json:"type"`
	At       *time.Time          `json:"at"`
	Summary  string              `json:"summary,omitempty"`
	Metadata json.RawMessage     `json:"metadata"`
	Data     json.RawMessage     `json:"data"`
	Error    string              `json:"error,omitempty"`

	actor eventstore.Actor
	ip    string
}

// Columns names the columns of a CSV.
var Columns = []string{"id", "position", "stream", "revision", "type", "at", "actor_kind", "actor_id", "ip", "summary",
	"metadata", "data", "error"}

// Write writes the events that log has. It gives how many they were.
func (x Copy) Write(ctx context.Context, log eventstore.Log, w io.Writer) (events int64, err error) {
	write := jsonLines(w)
	finish := func() error { return nil }
	if x.Format == CSV {
		table := csv.NewWriter(w)
		if x.Header {
			if err := table.Write(Columns); err != nil {
				return 0, err
			}
		}
		write = func(line *exportLine) error { return table.Write(line.cells()) }
		finish = func() error {
			table.Flush()
			return table.Error()
		}
	}
	var decoder eventstore.Decoder
	after := x.After
	if x.Keep != nil {
		after, x.Gap = 0, [2]eventstore.Position{}
	}
	for {
		jump := false
		for recorded, err := range log.ReadAll(ctx, after) {
			if err != nil {
				return events, err
			}
			if x.Before > 0 && recorded.Position >= x.Before {
				break
			}
			if recorded.Position > x.Gap[0] && recorded.Position <= x.Gap[1] {
				after, jump = x.Gap[1], true
				break
			}
			envelope := decoder.Decode(recorded)
			if kept := x.Keep == nil || x.Keep(&envelope); !kept || recorded.Position <= x.After ||
				!x.wants(&envelope) {
				continue
			}
			line, err := lineOf(envelope)
			if err != nil {
				return events, err
			}
			if err := write(line); err != nil {
				return events, err
			}
			events++
		}
		if !jump {
			return events, finish()
		}
	}
}

// wants says whether an event is of the time asked for. One whose metadata can't be read has no time and is never left
// out.
func (x Copy) wants(e *eventstore.Envelope) bool {
	at := e.Meta.At
	return at.IsZero() || (x.From.IsZero() || !at.Before(x.From)) && (x.To.IsZero() || !at.After(x.To))
}

func lineOf(e eventstore.Envelope) (*exportLine, error) {
	line := &exportLine{
		ID: e.ID, Position: e.Position, Stream: e.Stream, Revision: e.Revision, Type: e.Type,
		Metadata: json.RawMessage("null"), Data: json.RawMessage("null"),
		actor: e.Meta.Actor, ip: e.Meta.IP,
	}
	if json.Valid(e.Metadata) {
		line.Metadata = e.Metadata
	}
	if !e.Meta.At.IsZero() {
		at := e.Meta.At.UTC()
		line.At = &at
	}
	var err error
	if e.Event == nil {
		line.Error = e.Err.Error() // its data might hold secrets that only a newer SecBoard knows of
	} else {
		line.Summary = e.Event.Summary()
		line.Data, err = eventstore.WithoutSecrets(e)
	}
	return line, err
}

func jsonLines(w io.Writer) func(*exportLine) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return func(line *exportLine) error {
		if err := encoder.Encode(line); err != nil {
			return fmt.Errorf("write event %s at %d: %w", line.ID, line.Position, err)
		}
		return nil
	}
}

func (l *exportLine) cells() []string {
	at := ""
	if l.At != nil {
		at = l.At.Format(time.RFC3339Nano)
	}
	cells := []string{
		l.ID.String(), strconv.FormatUint(uint64(l.Position), 10), l.Stream, strconv.FormatInt(int64(l.Revision), 10),
		l.Type, at,
		l.actor.Kind, l.actor.ID, l.ip, l.Summary, string(l.Metadata), string(l.Data), l.Error,
	}
	for i, cell := range cells {
		if cell != "" && strings.ContainsRune("=+-@\t\r\n＝＋－＠", []rune(cell)[0]) {
			cells[i] = "'" + cell // else a spreadsheet takes it for a formula
		}
	}
	return cells
}

// Last finds the position of the last complete line of an export that may be cut off anywhere, and where that
// line ends, in bytes. Position 0: there is none.
func Last(r io.Reader, format string) (last eventstore.Position, size int64, err error) {
	if format == CSV {
		return lastOfTable(r)
	}
	lines := bufio.NewReader(r)
	for number := 1; ; number++ {
		content, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			if !begins(lineBeginning, content) {
				return 0, 0, notExported(number)
			}
			return last, size, nil // what is left was cut
		}
		if err != nil {
			return 0, 0, err
		}
		var line struct {
			Position eventstore.Position `json:"position"`
		}
		if err := json.Unmarshal(content, &line); err != nil || line.Position <= last {
			return 0, 0, notExported(number)
		}
		last, size = line.Position, size+int64(len(content))
	}
}

// lineBeginning is how each line of NDJSON begins.
const lineBeginning = `{"id":"`

// begins says whether what is left of a line that was cut may be of one that begins so.
func begins(beginning string, cut []byte) bool {
	n := min(len(beginning), len(cut))
	return beginning[:n] == string(cut[:n])
}

func notExported(line int) error {
	return fmt.Errorf("line %d is not from an export: its position is missing or out of order", line)
}

func lastOfTable(r io.Reader) (last eventstore.Position, size int64, err error) {
	header := strings.Join(Columns, ",")
	buffered := bufio.NewReaderSize(r, 2*len(header))
	if all, err := buffered.Peek(len(header)); errors.Is(err, io.EOF) && begins(header, all) {
		return 0, 0, nil // cut before the first event
	}
	end := &endOf{Reader: buffered}
	table := csv.NewReader(end)
	table.FieldsPerRecord, table.ReuseRecord = len(Columns), true
	var before eventstore.Position
	var sizeBefore int64
	for first := true; ; first = false {
		cells, err := table.Read()
		switch {
		case errors.Is(err, io.EOF) && size > 0 && end.last != '\n':
			return before, sizeBefore, nil // only the line break is missing
		case errors.Is(err, io.EOF):
			return last, size, nil
		case err != nil && !first:
			return last, size, nil // cut in the middle of a line
		case err != nil:
			return 0, 0, fmt.Errorf("it doesn't begin like an export: %w", err)
		}
		before, sizeBefore = last, size
		size = table.InputOffset()
		if first && slices.Equal(cells, Columns) {
			continue
		}
		position, err := strconv.ParseUint(cells[1], 10, 64)
		if err != nil || eventstore.Position(position) <= last {
			line, _ := table.FieldPos(1)
			return 0, 0, notExported(line)
		}
		last = eventstore.Position(position)
	}
}

// endOf remembers the last byte read.
type endOf struct {
	io.Reader
	last byte
}

func (e *endOf) Read(p []byte) (int, error) {
	n, err := e.Reader.Read(p)
	if n > 0 {
		e.last = p[n-1]
	}
	return n, err
}
