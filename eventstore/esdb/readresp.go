package esdb

import (
	"unicode/utf8"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

func init() {
	encoding.RegisterCodecV2(readCodec{encoding.GetCodecV2(protocodec.Name)})
}

// readCodec is gRPC's codec for protobuf, but decodes an event that the official client reads without reflection and
// without copying its content. Whoever reads the whole log spends most of the time there. A message of another form,
// or that is damaged, is left to protobuf.
type readCodec struct{ encoding.CodecV2 }

// Unmarshal implements encoding.CodecV2.
func (c readCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if into, isRead := v.(*api.ReadResp); isRead && decodeEvent(owned(data), into) {
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}

// owned gives the content of a message in memory that nobody uses again: that of a SliceBuffer never goes back to a
// pool.
func owned(data mem.BufferSlice) []byte {
	if len(data) == 1 {
		if slice, unpooled := data[0].(mem.SliceBuffer); unpooled {
			return slice
		}
	}
	return data.Materialize()
}

// wireEvent is all that an event read is made of, in one piece of memory.
type wireEvent struct {
	content    api.ReadResp_Event
	event      api.ReadResp_ReadEvent
	position   api.ReadResp_ReadEvent_CommitPosition
	recorded   api.ReadResp_ReadEvent_RecordedEvent
	stream     shared.StreamIdentifier
	id         shared.UUID
	structured shared.UUID_Structured_
	integers   shared.UUID_Structured
}

// decodeEvent reads a ReadResp with an event, whose content stays part of the message; field numbers are those of
// streams.proto and shared.proto. For everything else it returns false and
// leaves into as it was.
func decodeEvent(message []byte, into *api.ReadResp) bool {
	w := &wireEvent{}
	ok := eachField(message, func(f wireField) bool {
		return f.is(1, protowire.BytesType) && w.content.Event == nil && w.readEvent(f.bytes)
	})
	if !ok || w.content.Event == nil {
		return false
	}
	into.Reset()
	into.Content = &w.content
	return true
}

func (w *wireEvent) readEvent(message []byte) bool {
	w.content.Event = &w.event
	return eachField(message, func(f wireField) bool {
		switch {
		case f.is(1, protowire.BytesType) && w.event.Event == nil:
			w.event.Event = &w.recorded
			return w.readRecorded(f.bytes)
		case f.is(3, protowire.VarintType):
			w.position.CommitPosition = f.integer
			w.event.Position = &w.position
			return true
		}
		return false
	})
}

func (w *wireEvent) readRecorded(message []byte) bool {
	r := &w.recorded
	return eachField(message, func(f wireField) bool {
		switch {
		case f.is(1, protowire.BytesType) && r.Id == nil:
			r.Id = &w.id
			return w.readID(f.bytes)
		case f.is(2, protowire.BytesType) && r.StreamIdentifier == nil:
			r.StreamIdentifier = &w.stream
			return eachField(f.bytes, func(f wireField) bool {
				w.stream.StreamName = f.content()
				return f.is(3, protowire.BytesType)
			})
		case f.is(3, protowire.VarintType):
			r.StreamRevision = f.integer
		case f.is(4, protowire.VarintType):
			r.PreparePosition = f.integer
		case f.is(5, protowire.VarintType):
			r.CommitPosition = f.integer
		case f.is(6, protowire.BytesType):
			return w.readMetadata(f.bytes)
		case f.is(7, protowire.BytesType):
			r.CustomMetadata = f.content()
		case f.is(8, protowire.BytesType):
			r.Data = f.content()
		default:
			return false
		}
		return true
	})
}

// readID reads the form of an event's id that the official client asks for.
func (w *wireEvent) readID(message []byte) bool {
	return eachField(message, func(f wireField) bool {
		if !f.is(1, protowire.BytesType) || w.id.Value != nil {
			return false
		}
		w.structured.Structured, w.id.Value = &w.integers, &w.structured
		return eachField(f.bytes, func(f wireField) bool {
			switch {
			case f.is(1, protowire.VarintType):
				w.integers.MostSignificantBits = int64(f.integer)
			case f.is(2, protowire.VarintType):
				w.integers.LeastSignificantBits = int64(f.integer)
			default:
				return false
			}
			return true
		})
	})
}

func (w *wireEvent) readMetadata(entry []byte) bool {
	var key, value []byte
	ok := eachField(entry, func(f wireField) bool {
		switch {
		case f.is(1, protowire.BytesType):
			key = f.bytes
		case f.is(2, protowire.BytesType):
			value = f.bytes
		default:
			return false
		}
		return true
	})
	if !ok || !utf8.Valid(key) || !utf8.Valid(value) {
		return false
	}
	if w.recorded.Metadata == nil {
		w.recorded.Metadata = make(map[string]string, 3)
	}
	w.recorded.Metadata[known(key)] = known(value)
	return true
}

// known makes a string, of what every event has without taking memory.
func known(text []byte) string {
	switch string(text) {
	case "type":
		return "type"
	case "created":
		return "created"
	case "content-type":
		return "content-type"
	case "application/json":
		return "application/json"
	}
	return string(text)
}

// wireField is one field of a protobuf message.
type wireField struct {
	number  protowire.Number
	kind    protowire.Type
	integer uint64 // of a varint
	bytes   []byte // of what has a length
}

func (f wireField) is(number protowire.Number, kind protowire.Type) bool {
	return f.number == number && f.kind == kind
}

// content is the bytes as protobuf gives them: nil for none, and nobody can append to them in place.
func (f wireField) content() []byte {
	if len(f.bytes) == 0 {
		return nil
	}
	return f.bytes[:len(f.bytes):len(f.bytes)]
}

// eachField hands out the fields of a message; false when take does not want one, or the message is damaged or has
// fields of other kinds.
func eachField(message []byte, take func(wireField) bool) bool {
	for len(message) > 0 {
		var f wireField
		var n, m int
		f.number, f.kind, n = protowire.ConsumeTag(message)
		if n < 0 {
			return false
		}
		switch f.kind {
		case protowire.VarintType:
			f.integer, m = protowire.ConsumeVarint(message[n:])
		case protowire.BytesType:
			f.bytes, m = protowire.ConsumeBytes(message[n:])
		default:
			return false
		}
		if m < 0 || !take(f) {
			return false
		}
		message = message[n+m:]
	}
	return true
}
