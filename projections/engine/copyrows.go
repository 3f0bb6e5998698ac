package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/secboard/secboard/eventstore"
)

// CopyRows gathers rows in the binary format of COPY. pgx's own would box every value, at many times the cost.
type CopyRows struct {
	rows int
	buf  []byte
}

// Row begins a row. As many values have to follow.
func (c *CopyRows) Row(columns int) {
	c.rows++
	c.buf = binary.BigEndian.AppendUint16(c.buf, uint16(columns))
}

func (c *CopyRows) size(n int) { c.buf = binary.BigEndian.AppendUint32(c.buf, uint32(n)) }

// Null is no value.
func (c *CopyRows) Null() { c.buf = append(c.buf, 0xff, 0xff, 0xff, 0xff) }

// Bigint is a value of the type bigint.
func (c *CopyRows) Bigint(v int64) {
	c.size(8)
	c.buf = binary.BigEndian.AppendUint64(c.buf, uint64(v))
}

// Text is a value of the type text.
func (c *CopyRows) Text(s string) {
	c.size(len(s))
	c.buf = append(c.buf, s...)
}

// OptionalText is null for an empty string.
func (c *CopyRows) OptionalText(s string) {
	if s == "" {
		c.Null()
		return
	}
	c.Text(s)
}

// UUID is a value of the type uuid.
func (c *CopyRows) UUID(id uuid.UUID) {
	c.size(len(id))
	c.buf = append(c.buf, id[:]...)
}

// OptionalUUID is null for uuid.Nil.
func (c *CopyRows) OptionalUUID(id uuid.UUID) {
	if id == uuid.Nil {
		c.Null()
		return
	}
	c.UUID(id)
}

// Storable is a text as Postgres can hold it: valid UTF-8 without U+0000.
func Storable(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}

// postgresEpoch is where Postgres counts time from, in microseconds.
var postgresEpoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

// Time is a value of the type timestamptz, which has microseconds.
func (c *CopyRows) Time(t time.Time) { c.Bigint(t.UnixMicro() - postgresEpoch) }

// JSONB is a value of the type jsonb, given as its JSON.
func (c *CopyRows) JSONB(document []byte) {
	document = eventstore.Storable(document)
	c.size(1 + len(document))
	c.buf = append(append(c.buf, 1), document...) // 1 is the version of the format
}

// planned writes a value of any type that pgx knows.
func (c *CopyRows) planned(plan pgtype.EncodePlan, value any) error {
	start := len(c.buf)
	c.Null()
	buf, err := plan.Encode(value, c.buf)
	if err != nil {
		return err
	}
	if buf == nil {
		return nil
	}
	c.buf = buf
	binary.BigEndian.PutUint32(c.buf[start:], uint32(len(c.buf)-start-4))
	return nil
}

// copyHeader begins a COPY in binary format, without flags and extensions.
const copyHeader = "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"

func copyStatement(table string, columns []string, options string) string {
	return fmt.Sprintf("COPY %s (%s) FROM STDIN (FORMAT binary%s)", pgx.Identifier{table}.Sanitize(),
		strings.Join(columns, ", "), options)
}

// Write copies the rows into a table, in the transaction that the connection is in.
func (c *CopyRows) Write(ctx context.Context, conn *pgconn.PgConn, table string, columns []string) error {
	if c.rows == 0 {
		return nil
	}
	var content bytes.Buffer
	content.WriteString(copyHeader)
	content.Write(c.buf)
	content.WriteString("\xff\xff")
	_, err := conn.CopyFrom(ctx, &content, copyStatement(table, columns, ""))
	return err
}
