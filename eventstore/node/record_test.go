package node

import (
	"bytes"
	"errors"
	"io"
	"math"
	"slices"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

func TestStreamKeysAreApartAndOrdered(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 2, 'a', 0xfe, 0xff}), 0, 6)
		a, b := name.Draw(t, "a"), name.Draw(t, "b")
		keyA, keyB := streamPrefix(a), streamPrefix(b)
		if got := bytes.Compare(keyA, keyB); got != bytes.Compare(a, b) {
			t.Fatalf("bytes.Compare(keyA, keyB) = %v, want %v", got, bytes.Compare(a, b))
		}
		if !bytes.Equal(a, b) {
			if bytes.HasPrefix(keyB, keyA) {
				t.Fatal("bytes.HasPrefix(keyB, keyA)")
			}
			// No event of b lies in the range of a.
			eventB := streamEventKey(b, rapid.Uint64().Draw(t, "revision"))
			inside := bytes.Compare(keyA, eventB) <= 0 && bytes.Compare(eventB, prefixEnd(keyA)) < 0
			if inside {
				t.Fatal("inside")
			}
		}
	})
}

func TestRecordIsTheMessageAndItsHeader(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		stream := rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "stream")
		eventType := rapid.StringN(1, 200, 300).Draw(t, "type")
		id := uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		json := rapid.Bool().Draw(t, "json")
		metadata := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "metadata")
		data := rapid.SliceOfN(rapid.Byte(), 0, 20_000).Draw(t, "data")
		revision := rapid.Uint64Max(math.MaxInt64).Draw(t, "revision")
		position := rapid.Uint64Range(1, math.MaxUint64).Draw(t, "position")
		created := rapid.Int64Range(0, math.MaxInt64).Draw(t, "created")

		proposed := newProposal(stream, id, eventType, json, metadata, data)
		stored, err := parseRecord(proposed.appendRecord(nil, revision, position, created))
		if err != nil {
			t.Fatal(err)
		}
		if got := stored.created(); got != created {
			t.Fatalf("stored.created() = %v, want %v", got, created)
		}
		if got := stored.id(); got != id {
			t.Fatalf("stored.id() = %v, want %v", got, id)
		}
		if got := string(stored.eventType()); got != eventType {
			t.Fatalf("string(stored.eventType()) = %q, want %q", got, eventType)
		}
		if diff := cmp.Diff(stream, stored.stream()); diff != "" {
			t.Fatalf("stored.stream() (-want +got):\n%s", diff)
		}

		asText, err := stored.withStringID(nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, wire := range [][]byte{stored.message(), asText} {
			var message api.ReadResp
			if err := proto.Unmarshal(wire, &message); err != nil {
				t.Fatal(err)
			}
			if got := message.ProtoReflect().GetUnknown(); len(got) != 0 {
				t.Fatalf("message.ProtoReflect().GetUnknown() = %v, want nothing", got)
			}
			recorded := message.GetEvent().GetEvent()
			gotID, err := parseID(recorded.GetId())
			if err != nil {
				t.Fatal(err)
			}
			if gotID != id {
				t.Fatalf("gotID = %v, want %v", gotID, id)
			}
			if diff := cmp.Diff(stream, recorded.GetStreamIdentifier().GetStreamName()); diff != "" {
				t.Fatalf("recorded.GetStreamIdentifier().GetStreamName() (-want +got):\n%s", diff)
			}
			if got := recorded.GetStreamRevision(); got != revision {
				t.Fatalf("recorded.GetStreamRevision() = %v, want %v", got, revision)
			}
			if got := recorded.GetCommitPosition(); got != position {
				t.Fatalf("recorded.GetCommitPosition() = %v, want %v", got, position)
			}
			if got := recorded.GetPreparePosition(); got != position {
				t.Fatalf("recorded.GetPreparePosition() = %v, want %v", got, position)
			}
			if got := message.GetEvent().GetCommitPosition(); got != position {
				t.Fatalf("message.GetEvent().GetCommitPosition() = %v, want %v", got, position)
			}
			if !bytes.Equal(data, recorded.GetData()) {
				t.Fatal("not bytes.Equal(data, recorded.GetData())")
			}
			if !bytes.Equal(metadata, recorded.GetCustomMetadata()) {
				t.Fatal("not bytes.Equal(metadata, recorded.GetCustomMetadata())")
			}
			if got := recorded.GetMetadata(); len(got) != 3 {
				t.Fatalf("recorded.GetMetadata() has %d elements, want 3: %v", len(got), got)
			}
			if got := recorded.GetMetadata()["type"]; got != eventType {
				t.Fatalf(`recorded.GetMetadata()["type"] = %q, want %q`, got, eventType)
			}
		}
	})
}

func TestDamagedRecordsAreNoticed(t *testing.T) {
	t.Parallel()
	proposed := newProposal([]byte("stream"), uuid.New(), "type", true, nil, nil)
	whole := proposed.appendRecord(nil, 1, 2, 3)
	for length := range recordHeader {
		_, err := parseRecord(whole[:length])
		if !errors.Is(err, errBadRecord) {
			t.Fatalf("%v, want %v", err, errBadRecord)
		}
	}
	outside := slices.Clone(whole)
	outside[24] = 0xff
	_, err := parseRecord(outside)
	if !errors.Is(err, errBadRecord) {
		t.Fatalf("%v, want %v", err, errBadRecord)
	}

	// The header fits, but the message has an event without anything in it.
	hollow, err := parseRecord(append(make([]byte, recordHeader), 0x0a, 0x02, 0x0a, 0x00))
	if err != nil {
		t.Fatal(err)
	}
	_, err = hollow.withStringID(nil)
	if !errors.Is(err, errBadRecord) {
		t.Fatalf("%v, want %v", err, errBadRecord)
	}
}

// FuzzAppendRequest feeds the decoder whatever messages come, and checks that what it takes is
// stored as it was sent.
func FuzzAppendRequest(f *testing.F) {
	options, err := proto.Marshal(appendOptions("stream"))
	if err != nil {
		f.Fatal(err)
	}
	event, err := proto.Marshal(appendEvent())
	if err != nil {
		f.Fatal(err)
	}
	structured := appendEvent()
	structured.GetProposedMessage().Id = &shared.UUID{
		Value: &shared.UUID_Structured_{
			Structured: &shared.UUID_Structured{MostSignificantBits: -1, LeastSignificantBits: 1},
		},
	}
	other, err := proto.Marshal(structured)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(options, event, other)
	f.Add(event, options, options)
	f.Add([]byte{}, []byte{0xff}, event)

	f.Fuzz(func(t *testing.T, first, second, third []byte) {
		var messages []*api.AppendReq
		for _, wire := range [][]byte{first, second, third} {
			var message api.AppendReq
			if proto.Unmarshal(wire, &message) != nil {
				return
			}
			messages = append(messages, &message)
		}
		at := 0
		request, _, err := decodeAppend(func() (*api.AppendReq, error) {
			if at == len(messages) {
				return nil, io.EOF
			}
			at++
			return messages[at-1], nil
		})
		if at != len(messages) {
			t.Fatalf("the request was not read to its end: got %v, want %v", at, len(messages))
		}
		if err != nil {
			var refused *refusal
			if !errors.As(err, &refused) {
				t.Fatal("not errors.As(err, &refused)")
			}
			return
		}
		if len(request.events) != 2 {
			t.Fatalf("request.events has %d elements, want 2: %v", len(request.events), request.events)
		}
		for i := range request.events {
			stored, err := parseRecord(request.events[i].appendRecord(nil, 7, 8, 9))
			if err != nil {
				t.Fatal(err)
			}
			var message api.ReadResp
			if err := proto.Unmarshal(stored.message(), &message); err != nil {
				t.Fatal(err)
			}
			sent := messages[i+1].GetProposedMessage()
			if !bytes.Equal(sent.GetData(), message.GetEvent().GetEvent().GetData()) {
				t.Fatal("not not what was expected")
			}
			if got := message.GetEvent().GetEvent().GetMetadata()["type"]; got != sent.GetMetadata()["type"] {
				t.Fatalf(`message.GetEvent().GetEvent().GetMetadata()["type"] = %q, want %q`, got,
					sent.GetMetadata()["type"])
			}
			if diff := cmp.Diff(request.stream, stored.stream()); diff != "" {
				t.Fatalf("stored.stream() (-want +got):\n%s", diff)
			}
			if got := stored.id(); got == uuid.Nil {
				t.Fatalf("stored.id() = %v, want anything but %v", got, uuid.Nil)
			}
		}
	})
}
