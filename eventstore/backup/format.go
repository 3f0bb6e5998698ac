// Package backup writes the whole event log into a file and reads it into an empty store: the way from the embedded
// node to EventStoreDB, and back.
//
// The file, version 1, is Zstandard (RFC 8878) around lines of JSON, each ended by one line feed:
//
//	{"format":"secboard-events","version":1,"made_at":"2026-03-01T09:00:00Z"}
//	{"id":"…","stream":"user-…","revision":0,"position":17,"type":"…","created":"…","data":{…},"metadata":{…}}
//	…
//	{"events":1,"sha256":"…"}
//
// The events are in the order of the log. data and metadata are the bytes that were recorded; where those are not
// JSON in one line, data_base64 and metadata_base64 take their place. The last line has the number of events and the
// SHA-256, in hexadecimal digits, of all bytes before it. A file without that line is truncated.
package backup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"time"

	"github.com/google/uuid"
	"github.com/klauspost/compress/zstd"

	"github.com/secboard/secboard/eventstore"
)

const (
	formatName = "secboard-events"
	version    = 1
	maxLine    = 8 << 20 // an append holds 1 MiB, in Base64 a third more
)

// ErrBroken says that a file is not a complete backup.
var ErrBroken = errors.New("this is not a complete backup")

type header struct {
	Format  string    `json:"format"`
	Version int       `json:"version"`
	MadeAt  time.Time `json:"made_at"`
}

type line struct {
	ID             uuid.UUID            `json:"id"`
	Stream         string               `json:"stream"`
	Revision       eventstore.Revision  `json:"revision"`
	Position       *eventstore.Position `json:"position"` // in the log that was backed up; nil in the last line
	Type           string               `json:"type"`
	Created        time.Time            `json:"created"`
	Data           json.RawMessage      `json:"data"`
	DataBase64     []byte               `json:"data_base64"`
	Metadata       json.RawMessage      `json:"metadata"`
	MetadataBase64 []byte               `json:"metadata_base64"`

	trailer
}

type trailer struct {
	Events *int64 `json:"events,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
}

// encoder writes a file.
type encoder struct {
	compressed *zstd.Encoder
	sum        hash.Hash
	events     int64
	buf        []byte
}

func newEncoder(w io.Writer, now time.Time) (*encoder, error) {
	compressed, err := zstd.NewWriter(w)
	if err != nil {
		return nil, err
	}
	e := &encoder{compressed: compressed, sum: sha256.New()}
	first, err := json.Marshal(header{formatName, version, now.UTC()})
	if err != nil {
		return nil, err
	}
	return e, e.write(append(first, '\n'))
}

func (e *encoder) write(line []byte) error {
	e.sum.Write(line)
	_, err := e.compressed.Write(line)
	return err
}

func (e *encoder) event(r eventstore.Recorded) error {
	stream, err := json.Marshal(r.Stream)
	if err != nil {
		return err
	}
	eventType, err := json.Marshal(r.Type)
	if err != nil {
		return err
	}
	b := fmt.Appendf(e.buf[:0], `{"id":"%s","stream":%s,"revision":%d,"position":%d,"type":%s,"created":"%s"`,
		r.ID, stream, r.Revision, r.Position, eventType, r.Created.UTC().Format(time.RFC3339Nano))
	b = appendContent(b, "data", r.Data)
	b = appendContent(b, "metadata", r.Metadata)
	b = append(b, '}', '\n')
	e.buf = b
	e.events++
	return e.write(e.buf)
}

// appendContent adds recorded bytes as they are, for a compact or escaped form of them would be other bytes.
func appendContent(b []byte, name string, content []byte) []byte {
	if json.Valid(content) && !bytes.ContainsAny(content, "\n\r") && bytes.Equal(bytes.TrimSpace(content), content) {
		return append(append(b, `,"`+name+`":`...), content...)
	}
	return append(append(append(b, `,"`+name+`_base64":"`...), base64.StdEncoding.EncodeToString(content)...), '"')
}

func (e *encoder) close() error {
	last, err := json.Marshal(trailer{&e.events, hex.EncodeToString(e.sum.Sum(nil))})
	if err != nil {
		return err
	}
	if _, err := e.compressed.Write(append(last, '\n')); err != nil {
		return err
	}
	return e.compressed.Close()
}

// events reads a file. The sequence ends with an error, ErrBroken where the file is incomplete or altered: only when it
// ends without one is it known that all events are as they were written.
func events(r io.Reader) iter.Seq2[eventstore.Recorded, error] {
	return func(yield func(eventstore.Recorded, error) bool) {
		if err := readEvents(r, func(e eventstore.Recorded) bool { return yield(e, nil) }); err != nil {
			yield(eventstore.Recorded{}, err)
		}
	}
}

func broken(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrBroken, fmt.Sprintf(format, args...))
}

func readEvents(r io.Reader, yield func(eventstore.Recorded) bool) error {
	decompressed, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(2))
	if err != nil {
		return err
	}
	defer decompressed.Close()
	lines := bufio.NewReaderSize(decompressed, 256<<10)
	sum := sha256.New()
	first, err := readLine(lines)
	if err != nil {
		return broken("its beginning can't be read (%v)", err)
	}
	var h header
	if json.Unmarshal(first, &h) != nil || h.Format != formatName {
		return broken("it was not made by `secboard events backup`")
	}
	if h.Version != version {
		return fmt.Errorf("this backup has version %d and this program reads version %d: use a newer secboard",
			h.Version, version)
	}
	sum.Write(first)
	for count := int64(0); ; count++ {
		text, err := readLine(lines)
		if err != nil {
			return broken("it is truncated or altered after %d events (%v)", count, err)
		}
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			return broken("it is altered after %d events (%v)", count, err)
		}
		if l.Position == nil {
			return checkEnd(l.trailer, count, sum.Sum(nil), lines)
		}
		sum.Write(text)
		data, metadata := []byte(l.Data), []byte(l.Metadata)
		if data == nil {
			data = l.DataBase64
		}
		if metadata == nil {
			metadata = l.MetadataBase64
		}
		if !yield(eventstore.Recorded{
			ID: l.ID, Stream: l.Stream, Revision: l.Revision, Position: *l.Position, Type: l.Type, Created: l.Created,
			Data: data, Metadata: metadata,
		}) {
			return nil
		}
	}
}

func checkEnd(end trailer, count int64, sum []byte, rest *bufio.Reader) error {
	switch {
	case end.Events == nil:
		return broken("it is altered after %d events", count)
	case *end.Events != count || end.SHA256 != hex.EncodeToString(sum):
		return broken("its checksum or its number of events is wrong: it was altered")
	}
	if _, err := rest.ReadByte(); !errors.Is(err, io.EOF) {
		return broken("there is more data after its end")
	}
	return nil
}

// readLine gives a line with its line feed.
func readLine(r *bufio.Reader) ([]byte, error) {
	var whole []byte
	for {
		part, err := r.ReadSlice('\n')
		whole = append(whole, part...)
		switch {
		case err == nil:
			return whole, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		case len(whole) > maxLine:
			return nil, errors.New("a line is too long")
		}
	}
}
