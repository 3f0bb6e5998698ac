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
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

func TestStreamKeysAreApartAndOrdered(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 2, 'a', 0xfe, 0xff}), 0, 6)
		a, b := name.Draw(t, "a"), name.Draw(t, "b")
		keyA, keyB := streamPrefix(a), streamPrefix(b)
		require.Equal(t, bytes.Compare(a, b), bytes.Compare(keyA, keyB))
		if !bytes.Equal(a, b) {
			require.False(t, bytes.HasPrefix(keyB, keyA))
			// No event of b lies in the range of a.
			eventB := streamEventKey(b, rapid.Uint64().Draw(t, "revision"))
			inside := bytes.Compare(keyA, eventB) <= 0 && bytes.Compare(eventB, prefixEnd(keyA)) < 0
			require.False(t, inside)
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
		require.NoError(t, err)
		require.Equal(t, created, stored.created())
		require.Equal(t, id, stored.id())
		require.Equal(t, eventType, string(stored.eventType()))
		require.Equal(t, stream, stored.stream())

		asText, err := stored.withStringID(nil)
		require.NoError(t, err)
		for _, wire := range [][]byte{stored.message(), asText} {
			var message api.ReadResp
			require.NoError(t, proto.Unmarshal(wire, &message))
			require.Empty(t, message.ProtoReflect().GetUnknown())
			recorded := message.GetEvent().GetEvent()
			gotID, err := parseID(recorded.GetId())
			require.NoError(t, err)
			require.Equal(t, id, gotID)
			require.Equal(t, stream, recorded.GetStreamIdentifier().GetStreamName())
			require.Equal(t, revision, recorded.GetStreamRevision())
			require.Equal(t, position, recorded.GetCommitPosition())
			require.Equal(t, position, recorded.GetPreparePosition())
			require.Equal(t, position, message.GetEvent().GetCommitPosition())
			require.True(t, bytes.Equal(data, recorded.GetData()))
			require.True(t, bytes.Equal(metadata, recorded.GetCustomMetadata()))
			require.Len(t, recorded.GetMetadata(), 3)
			require.Equal(t, eventType, recorded.GetMetadata()["type"])
		}
	})
}

func TestDamagedRecordsAreNoticed(t *testing.T) {
	t.Parallel()
	proposed := newProposal([]byte("stream"), uuid.New(), "type", true, nil, nil)
	whole := proposed.appendRecord(nil, 1, 2, 3)
	for length := range recordHeader {
		_, err := parseRecord(whole[:length])
		require.ErrorIs(t, err, errBadRecord)
	}
	outside := slices.Clone(whole)
	outside[24] = 0xff
	_, err := parseRecord(outside)
	require.ErrorIs(t, err, errBadRecord)

	// The header fits, but the message has an event without anything in it.
	hollow, err := parseRecord(append(make([]byte, recordHeader), 0x0a, 0x02, 0x0a, 0x00))
	require.NoError(t, err)
	_, err = hollow.withStringID(nil)
	require.ErrorIs(t, err, errBadRecord)
}

// FuzzAppendRequest feeds the decoder whatever messages come, and checks that what it takes is
// stored as it was sent.
func FuzzAppendRequest(f *testing.F) {
	options, err := proto.Marshal(appendOptions("stream"))
	require.NoError(f, err)
	event, err := proto.Marshal(appendEvent())
	require.NoError(f, err)
	structured := appendEvent()
	structured.GetProposedMessage().Id = &shared.UUID{Value: &shared.UUID_Structured_{Structured: &shared.UUID_Structured{MostSignificantBits: -1, LeastSignificantBits: 1}}}
	other, err := proto.Marshal(structured)
	require.NoError(f, err)
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
		require.Equal(t, len(messages), at, "the request was not read to its end")
		if err != nil {
			var refused *refusal
			require.True(t, errors.As(err, &refused))
			return
		}
		require.Len(t, request.events, 2)
		for i := range request.events {
			stored, err := parseRecord(request.events[i].appendRecord(nil, 7, 8, 9))
			require.NoError(t, err)
			var message api.ReadResp
			require.NoError(t, proto.Unmarshal(stored.message(), &message))
			sent := messages[i+1].GetProposedMessage()
			require.True(t, bytes.Equal(sent.GetData(), message.GetEvent().GetEvent().GetData()))
			require.Equal(t, sent.GetMetadata()["type"], message.GetEvent().GetEvent().GetMetadata()["type"])
			require.Equal(t, request.stream, stored.stream())
			require.NotEqual(t, uuid.Nil, stored.id())
		}
	})
}
