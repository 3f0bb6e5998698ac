package esdb

import (
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

// sameAsProtobuf decodes a message as the official client gets it, and as protobuf alone does.
func sameAsProtobuf(t interface{ Fatalf(string, ...any) }, message []byte) *api.ReadResp {
	codec := encoding.GetCodecV2(protocodec.Name)
	if _, ours := codec.(readCodec); !ours {
		t.Fatalf("gRPC decodes with a %T", codec)
	}
	var want api.ReadResp
	failure := proto.Unmarshal(message, &want)
	pooled := mem.BufferSlice{mem.Copy(append([]byte(nil), message...), mem.DefaultBufferPool())}
	halves := mem.BufferSlice{mem.SliceBuffer(message[:len(message)/2]), mem.SliceBuffer(message[len(message)/2:])}
	for name, data := range map[string]mem.BufferSlice{
		"in one": {mem.SliceBuffer(message)}, "in a pool": pooled, "in two": halves,
	} {
		got := api.ReadResp{Content: &api.ReadResp_CaughtUp_{}} // of before
		err := codec.Unmarshal(data, &got)
		if (err == nil) != (failure == nil) {
			t.Fatalf("%s: the error is %v, protobuf's %v", name, err, failure)
		}
		if err == nil && !proto.Equal(&got, &want) {
			t.Fatalf("%s: got %v, protobuf %v", name, &got, &want)
		}
	}
	return &want
}

func TestEventsAreDecodedAsProtobufDoes(t *testing.T) {
	t.Parallel()
	text, content := rapid.StringN(0, 20, -1), rapid.SliceOfN(rapid.Byte(), 0, 3000)
	rapid.Check(t, func(t *rapid.T) {
		recorded := &api.ReadResp_ReadEvent_RecordedEvent{
			Id: rapid.SampledFrom([]*shared.UUID{
				{Value: &shared.UUID_Structured_{Structured: &shared.UUID_Structured{
					MostSignificantBits:  rapid.Int64().Draw(t, "most"),
					LeastSignificantBits: rapid.Int64().Draw(t, "least"),
				}}},
				{Value: &shared.UUID_String_{String_: "00000000-0000-4000-8000-000000000001"}}, {}, nil,
			}).Draw(t, "id"),
			StreamIdentifier: rapid.SampledFrom([]*shared.StreamIdentifier{{StreamName: content.Draw(t, "stream")}, {},
				nil}).Draw(t, "identifier"),
			StreamRevision:  rapid.Uint64().Draw(t, "revision"),
			PreparePosition: rapid.Uint64().Draw(t, "prepare"),
			CommitPosition:  rapid.Uint64().Draw(t, "commit"),
			Metadata: rapid.MapOfN(rapid.OneOf(rapid.SampledFrom([]string{"type", "created", "content-type"}),
				text), text, 0, 4).Draw(t, "metadata"),
			CustomMetadata: content.Draw(t, "custom"),
			Data:           content.Draw(t, "data"),
		}
		event := &api.ReadResp_ReadEvent{Event: recorded}
		switch rapid.IntRange(0, 3).Draw(t, "position") {
		case 0:
			event.Position = &api.ReadResp_ReadEvent_NoPosition{NoPosition: &shared.Empty{}}
		case 1:
			event.Link = recorded
		default:
			event.Position = &api.ReadResp_ReadEvent_CommitPosition{CommitPosition: recorded.CommitPosition}
		}
		message, err := proto.Marshal(&api.ReadResp{Content: &api.ReadResp_Event{Event: event}})
		if err != nil {
			t.Fatalf("%v", err)
		}
		sameAsProtobuf(t, message)
		if len(message) > 0 { // and damaged
			at := rapid.IntRange(0, len(message)-1).Draw(t, "at")
			message[at] = rapid.Byte().Draw(t, "damage")
			sameAsProtobuf(t, message[:rapid.IntRange(at, len(message)).Draw(t, "length")])
		}
	})
}

// FuzzReadResp decodes whatever a server may send.
func FuzzReadResp(f *testing.F) {
	for _, message := range []*api.ReadResp{
		{Content: &api.ReadResp_Event{Event: &api.ReadResp_ReadEvent{
			Event: &api.ReadResp_ReadEvent_RecordedEvent{
				Id: &shared.UUID{Value: &shared.UUID_Structured_{
					Structured: &shared.UUID_Structured{MostSignificantBits: -1, LeastSignificantBits: 1},
				}},
				StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte("user-1")},
				StreamRevision:   1, PreparePosition: 2, CommitPosition: 2,
				Metadata: map[string]string{
					"type": "user.registered", "created": "1", "content-type": "application/json",
				},
				CustomMetadata: []byte("{}"), Data: []byte(`{"email":"ann@example.com"}`),
			},
			Position: &api.ReadResp_ReadEvent_CommitPosition{CommitPosition: 2},
		}}},
		{Content: &api.ReadResp_CaughtUp_{CaughtUp: &api.ReadResp_CaughtUp{}}},
		{Content: &api.ReadResp_Checkpoint_{
			Checkpoint: &api.ReadResp_Checkpoint{CommitPosition: 1, PreparePosition: 1},
		}},
	} {
		wire, err := proto.Marshal(message)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
		f.Add(append(wire, wire...))
	}
	f.Fuzz(func(t *testing.T, message []byte) { sameAsProtobuf(t, message) })
}

func TestAnEventIsDecodedWithoutProtobuf(t *testing.T) {
	t.Parallel()
	message, err := proto.Marshal(&api.ReadResp{Content: &api.ReadResp_Event{Event: &api.ReadResp_ReadEvent{
		Event: &api.ReadResp_ReadEvent_RecordedEvent{
			Id: &shared.UUID{
				Value: &shared.UUID_Structured_{Structured: &shared.UUID_Structured{MostSignificantBits: 1}},
			},
			StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte("user-1")}, Data: []byte("{}"),
		},
		Position: &api.ReadResp_ReadEvent_CommitPosition{CommitPosition: 2},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	var into api.ReadResp
	if !decodeEvent(message, &into) {
		t.Error("what every event looks like is left to protobuf")
	}
}
