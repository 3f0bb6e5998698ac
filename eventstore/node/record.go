package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// record is the stored form of one event: a header with what the node itself asks of an event,
// then the event as the ready ReadResp message that readers are sent.
//
//	0  created, 100 ns ticks since 1970
//	8  event id
//	24 offset and length of the type, 4 bytes each, counted from the start of the message
//	32 offset and length of the stream name, likewise
//	40 message
type record []byte

const recordHeader = 40

func (r record) created() int64 { return int64(binary.BigEndian.Uint64(r)) }

func (r record) id() uuid.UUID { return uuid.UUID(r[8:24]) }

func (r record) eventType() []byte { return r.section(24) }

func (r record) stream() []byte { return r.section(32) }

func (r record) message() []byte { return r[recordHeader:] }

func (r record) section(at int) []byte {
	start := recordHeader + binary.BigEndian.Uint32(r[at:])
	return r[start : start+binary.BigEndian.Uint32(r[at+4:])]
}

var errBadRecord = errors.New("the record is damaged")

// parseRecord checks that the header fits the value, so that the accessors cannot panic.
func parseRecord(value []byte) (record, error) {
	if len(value) < recordHeader {
		return nil, errBadRecord
	}
	size := uint64(len(value) - recordHeader)
	for _, at := range []int{24, 32} {
		start := uint64(binary.BigEndian.Uint32(value[at:]))
		if start+uint64(binary.BigEndian.Uint32(value[at+4:])) > size {
			return nil, errBadRecord
		}
	}
	return record(value), nil
}

const (
	contentTypeJSON   = "application/json"
	contentTypeBinary = "application/octet-stream"
)

// The field numbers of ReadResp, ReadEvent and RecordedEvent in streams.proto.
const (
	fieldReadRespEvent   = 1
	fieldReadEventEvent  = 1
	fieldReadEventCommit = 3

	fieldID             = 1
	fieldStream         = 2
	fieldRevision       = 3
	fieldPrepare        = 4
	fieldCommit         = 5
	fieldMetadata       = 6
	fieldCustomMetadata = 7
	fieldData           = 8

	fieldStreamName = 3
	fieldStructured = 1
	fieldString     = 2
	fieldMost       = 1
	fieldLeast      = 2
)

// proposal is an event on its way into the log: the part of its RecordedEvent that doesn't depend
// on where the event lands. The id comes first, see withStringID.
type proposal struct {
	id        uuid.UUID
	body      []byte
	typeAt    int
	typeLen   int
	streamAt  int
	streamLen int
}

func newProposal(stream []byte, id uuid.UUID, eventType string, json bool, metadata, data []byte) proposal {
	p := proposal{id: id, typeLen: len(eventType), streamLen: len(stream)}
	b := make([]byte, 0, 128+len(stream)+len(eventType)+len(metadata)+len(data))

	b = appendStructuredID(b, id)

	b = protowire.AppendTag(b, fieldStream, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(protowire.SizeTag(fieldStreamName)+protowire.SizeBytes(len(stream))))
	b = protowire.AppendTag(b, fieldStreamName, protowire.BytesType)
	b = protowire.AppendBytes(b, stream)
	p.streamAt = len(b) - len(stream)

	b = appendMetadata(b, "type", eventType)
	p.typeAt = len(b) - len(eventType)
	contentType := contentTypeBinary
	if json {
		contentType = contentTypeJSON
	}
	b = appendMetadata(b, "content-type", contentType)

	if len(metadata) > 0 {
		b = protowire.AppendTag(b, fieldCustomMetadata, protowire.BytesType)
		b = protowire.AppendBytes(b, metadata)
	}
	if len(data) > 0 {
		b = protowire.AppendTag(b, fieldData, protowire.BytesType)
		b = protowire.AppendBytes(b, data)
	}
	p.body = b
	return p
}

// appendMetadata appends one entry of RecordedEvent.metadata; the value stands last.
func appendMetadata(b []byte, key, value string) []byte {
	b = protowire.AppendTag(b, fieldMetadata, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(2+protowire.SizeBytes(len(key))+protowire.SizeBytes(len(value))))
	b = protowire.AppendTag(b, 1, protowire.BytesType)
	b = protowire.AppendString(b, key)
	b = protowire.AppendTag(b, 2, protowire.BytesType)
	return protowire.AppendString(b, value)
}

func appendStructuredID(b []byte, id uuid.UUID) []byte {
	most, least := binary.BigEndian.Uint64(id[:8]), binary.BigEndian.Uint64(id[8:])
	structured := 2 + protowire.SizeVarint(most) + protowire.SizeVarint(least)
	b = protowire.AppendTag(b, fieldID, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(1+protowire.SizeBytes(structured)))
	b = protowire.AppendTag(b, fieldStructured, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(structured))
	b = protowire.AppendTag(b, fieldMost, protowire.VarintType)
	b = protowire.AppendVarint(b, most)
	b = protowire.AppendTag(b, fieldLeast, protowire.VarintType)
	return protowire.AppendVarint(b, least)
}

// appendRecord appends the record of an event that stands at this revision and position.
func (p *proposal) appendRecord(b []byte, revision, position uint64, created int64) []byte {
	var digits [20]byte
	var space [128]byte
	tail := appendMetadata(space[:0], "created", string(strconv.AppendInt(digits[:0], created, 10)))
	tail = protowire.AppendTag(tail, fieldRevision, protowire.VarintType)
	tail = protowire.AppendVarint(tail, revision)
	tail = protowire.AppendTag(tail, fieldPrepare, protowire.VarintType)
	tail = protowire.AppendVarint(tail, position)
	tail = protowire.AppendTag(tail, fieldCommit, protowire.VarintType)
	tail = protowire.AppendVarint(tail, position)

	recorded := len(p.body) + len(tail)
	event := 1 + protowire.SizeBytes(recorded) + 1 + protowire.SizeVarint(position)
	bodyAt := 1 + protowire.SizeVarint(uint64(event)) + 1 + protowire.SizeVarint(uint64(recorded))

	b = binary.BigEndian.AppendUint64(b, uint64(created))
	b = append(b, p.id[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(bodyAt+p.typeAt))
	b = binary.BigEndian.AppendUint32(b, uint32(p.typeLen))
	b = binary.BigEndian.AppendUint32(b, uint32(bodyAt+p.streamAt))
	b = binary.BigEndian.AppendUint32(b, uint32(p.streamLen))

	b = protowire.AppendTag(b, fieldReadRespEvent, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(event))
	b = protowire.AppendTag(b, fieldReadEventEvent, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(recorded))
	b = append(b, p.body...)
	b = append(b, tail...)
	b = protowire.AppendTag(b, fieldReadEventCommit, protowire.VarintType)
	return protowire.AppendVarint(b, position)
}

// withStringID appends the message of r with its event id as text instead of two integers, for
// readers that ask for it. The Go client asks for integers, so those are what is stored.
func (r record) withStringID(b []byte) ([]byte, error) {
	event, behind, err := firstField(r.message(), fieldReadRespEvent)
	if err != nil || len(behind) > 0 {
		return nil, errBadRecord
	}
	recorded, afterRecorded, err := firstField(event, fieldReadEventEvent)
	if err != nil {
		return nil, err
	}
	_, rest, err := firstField(recorded, fieldID)
	if err != nil {
		return nil, err
	}

	text := r.id().String()
	idSize := 1 + protowire.SizeBytes(1+protowire.SizeBytes(len(text)))
	recordedSize := idSize + len(rest)
	eventSize := 1 + protowire.SizeBytes(recordedSize) + len(afterRecorded)

	b = protowire.AppendTag(b, fieldReadRespEvent, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(eventSize))
	b = protowire.AppendTag(b, fieldReadEventEvent, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(recordedSize))
	b = protowire.AppendTag(b, fieldID, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(1+protowire.SizeBytes(len(text))))
	b = protowire.AppendTag(b, fieldString, protowire.BytesType)
	b = protowire.AppendString(b, text)
	b = append(b, rest...)
	return append(b, afterRecorded...), nil
}

// firstField gives the content of the field that a message begins with, and what comes after it.
func firstField(message []byte, number protowire.Number) (content, rest []byte, err error) {
	got, kind, n := protowire.ConsumeTag(message)
	if n < 0 || got != number || kind != protowire.BytesType {
		return nil, nil, errBadRecord
	}
	content, m := protowire.ConsumeBytes(message[n:])
	if m < 0 {
		return nil, nil, errBadRecord
	}
	return content, message[n+m:], nil
}

// parseID reads an event id in either of its two forms.
func parseID(id *shared.UUID) (uuid.UUID, error) {
	switch value := id.GetValue().(type) {
	case *shared.UUID_Structured_:
		var parsed uuid.UUID
		binary.BigEndian.PutUint64(parsed[:8], uint64(value.Structured.GetMostSignificantBits()))
		binary.BigEndian.PutUint64(parsed[8:], uint64(value.Structured.GetLeastSignificantBits()))
		return parsed, nil
	case *shared.UUID_String_:
		return uuid.Parse(value.String_)
	default:
		return uuid.Nil, nil
	}
}

// eventData is the data of the event in r.
func (r record) eventData() ([]byte, error) {
	var message api.ReadResp
	if err := proto.Unmarshal(r.message(), &message); err != nil {
		return nil, fmt.Errorf("%w: %w", errBadRecord, err)
	}
	return message.GetEvent().GetEvent().GetData(), nil
}
