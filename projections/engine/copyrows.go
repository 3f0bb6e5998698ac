package projections

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

// copyRows gathers rows in the binary format of COPY. pgx's own would box every value, at many times the cost.
type copyRows struct {
	rows int
	buf  []byte
}

// row begins a row. As many values have to follow.
func (c *copyRows) row(columns int) {
	c.rows++
	c.buf = binary.BigEndian.AppendUint16(c.buf, uint16(columns))
}

func (c *copyRows) size(n int) { c.buf = binary.BigEndian.AppendUint32(c.buf, uint32(n)) }

func (c *copyRows) null() { c.buf = append(c.buf, 0xff, 0xff, 0xff, 0xff) }

func (c *copyRows) bigint(v int64) {
	c.size(8)
	c.buf = binary.BigEndian.AppendUint64(c.buf, uint64(v))
}

func (c *copyRows) text(s string) {
	c.size(len(s))
	c.buf = append(c.buf, s...)
}

// optionalText is null for an empty string.
func (c *copyRows) optionalText(s string) {
	if s == "" {
		c.null()
		return
	}
	c.text(s)
}

func (c *copyRows) uuid(id rawUUID) {
	c.size(len(id))
	c.buf = append(c.buf, id[:]...)
}

// optionalUUID is null for uuid.Nil.
func (c *copyRows) optionalUUID(id uuid.UUID) {
	if id == uuid.Nil {
		c.null()
		return
	}
	c.uuid(rawUUID(id))
}

// postgresEpoch is where Postgres counts time from, in microseconds.
var postgresEpoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

func (c *copyRows) time(t time.Time) { c.bigint(t.UnixMicro() - postgresEpoch) }

func (c *copyRows) jsonb(document []byte) {
	document = eventstore.Storable(document)
	c.size(1 + len(document))
	c.buf = append(append(c.buf, 1), document...) // 1 is the version of the format
}

// planned writes a value of any type that pgx knows.
func (c *copyRows) planned(plan pgtype.EncodePlan, value any) error {
	start := len(c.buf)
	c.null()
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
	return fmt.Sprintf("COPY %s (%s) FROM STDIN (FORMAT binary%s)", pgx.Identifier{table}.Sanitize(), strings.Join(columns, ", "), options)
}

// write copies the rows into a table, in the transaction that the connection is in.
func (c *copyRows) write(ctx context.Context, conn *pgconn.PgConn, table string, columns []string) error {
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
