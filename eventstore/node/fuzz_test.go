package node

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// FuzzStoredRecord reads records as a damaged disk could give them: they are refused, or everything that a reader gets
// of them lies within them.
func FuzzStoredRecord(f *testing.F) {
	proposed := newProposal([]byte("user-1"), uuid.New(), "user.registered", true, []byte("{}"),
		[]byte(`{"email":"a"}`))
	whole := proposed.appendRecord(nil, 1, 2, 3)
	f.Add(whole)
	f.Add(whole[:recordHeader])
	f.Add(append(bytes.Repeat([]byte{0}, recordHeader), 0x0a, 0x02, 0x0a, 0x00)) // an event without anything in it
	f.Fuzz(func(t *testing.T, value []byte) {
		stored, err := parseRecord(value)
		if err != nil {
			if !errors.Is(err, errBadRecord) {
				t.Fatalf("%v, want %v", err, errBadRecord)
			}
			return
		}
		if !bytes.Contains(value, stored.eventType()) {
			t.Fatal("not bytes.Contains(value, stored.eventType())")
		}
		if !bytes.Contains(value, stored.stream()) {
			t.Fatal("not bytes.Contains(value, stored.stream())")
		}
		data, err := stored.eventData()
		if err != nil {
			if !errors.Is(err, errBadRecord) {
				t.Fatalf("%v, want %v", err, errBadRecord)
			}
			return
		}
		asText, err := stored.withStringID([]byte("before"))
		if err != nil {
			if !errors.Is(err, errBadRecord) {
				t.Fatalf("%v, want %v", err, errBadRecord)
			}
			return
		}
		if !bytes.HasPrefix(asText, []byte("before")) {
			t.Fatal(`not bytes.HasPrefix(asText, []byte("before"))`)
		}
		if !bytes.Contains(value, data) {
			t.Fatal("not bytes.Contains(value, data)")
		}
	})
}

// answers collects what a call sends.
type answers struct {
	ctx  context.Context
	sent []*api.ReadResp
}

func (a *answers) Context() context.Context     { return a.ctx }
func (a *answers) SetHeader(metadata.MD) error  { return nil }
func (a *answers) SendHeader(metadata.MD) error { return nil }
func (a *answers) SetTrailer(metadata.MD)       {}
func (a *answers) RecvMsg(any) error            { return nil }
func (a *answers) Send(m *api.ReadResp) error   { return a.SendMsg(m) }

func (a *answers) SendMsg(m any) error {
	message, ok := m.(*api.ReadResp)
	if ready, isReady := m.(mem.Buffer); isReady {
		message, ok = new(api.ReadResp), true
		if err := proto.Unmarshal(ready.ReadOnlyData(), message); err != nil {
			return err
		}
	}
	if !ok {
		return status.Errorf(codes.Internal, "sent %T", m)
	}
	a.sent = append(a.sent, message)
	return nil
}

// FuzzReadRequest asks a store with some events for whatever comes. The request is refused as wrong, or answered with
// at most the events that it wants, of the stream that it wants, in order.
func FuzzReadRequest(f *testing.F) {
	n := openNode(f, f.TempDir())
	appendMany(f, n, "user-1", 5)
	appendMany(f, n, "company-1", 5)
	seed := func(options *api.ReadReq_Options) {
		wire, err := proto.Marshal(&api.ReadReq{Options: options})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	ids := &api.ReadReq_Options_UUIDOption{Content: &api.ReadReq_Options_UUIDOption_String_{}}
	stream := func(from uint64) *api.ReadReq_Options_Stream {
		return &api.ReadReq_Options_Stream{Stream: &api.ReadReq_Options_StreamOptions{
			StreamIdentifier: appendOptions("user-1").GetOptions().GetStreamIdentifier(),
			RevisionOption:   &api.ReadReq_Options_StreamOptions_Revision{Revision: from},
		}}
	}
	all := func(from uint64) *api.ReadReq_Options_All {
		position := &api.ReadReq_Options_Position{CommitPosition: from, PreparePosition: from}
		return &api.ReadReq_Options_All{All: &api.ReadReq_Options_AllOptions{
			AllOption: &api.ReadReq_Options_AllOptions_Position{Position: position},
		}}
	}
	limit := func(n uint64) *api.ReadReq_Options_Count { return &api.ReadReq_Options_Count{Count: n} }
	byType := &api.ReadReq_Options_Filter{Filter: &api.ReadReq_Options_FilterOptions{
		Filter: &api.ReadReq_Options_FilterOptions_EventType{
			EventType: &api.ReadReq_Options_FilterOptions_Expression{Regex: "^[a-z]+$"},
		},
		CheckpointIntervalMultiplier: 1,
	}}
	for _, from := range []uint64{0, 3, 5, math.MaxInt64, math.MaxUint64 - 1, math.MaxUint64} {
		for _, direction := range []api.ReadReq_Options_ReadDirection{
			api.ReadReq_Options_Forwards, api.ReadReq_Options_Backwards,
		} {
			seed(&api.ReadReq_Options{StreamOption: stream(from), ReadDirection: direction, UuidOption: ids,
				CountOption: limit(from + 1)})
			seed(&api.ReadReq_Options{StreamOption: all(from), ReadDirection: direction, UuidOption: ids,
				CountOption: limit(3), FilterOption: byType})
		}
	}
	f.Add([]byte{})

	server := &streams{node: n}
	f.Fuzz(func(t *testing.T, wire []byte) {
		var request api.ReadReq
		if proto.Unmarshal(wire, &request) != nil {
			return
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if request.GetOptions().GetSubscription() != nil {
			cancel() // it would wait for events
		}
		got := &answers{ctx: ctx}
		if err := server.Read(&request, got); err != nil {
			if got := []codes.Code{codes.InvalidArgument, codes.Canceled}; !slices.Contains(got, status.Code(err)) {
				t.Fatalf("%v: %v lacks %v", err, got, status.Code(err))
			}
			if status.Code(err) == codes.InvalidArgument {
				if len(got.sent) != 0 {
					t.Fatalf("got.sent = %v, want nothing", got.sent)
				}
			}
			return
		}
		options := request.GetOptions()
		if gotNow := uint64(len(got.sent)); gotNow > options.GetCount() {
			t.Fatalf("uint64(len(got.sent)) = %v, want at most %v", gotNow, options.GetCount())
		}
		var before *uint64
		for _, message := range got.sent {
			recorded := message.GetEvent().GetEvent()
			if recorded == nil {
				if got := message.GetStreamNotFound(); got == nil {
					t.Fatalf("message.GetStreamNotFound() = %v, want something", got)
				}
				continue
			}
			if wanted := options.GetStream(); wanted != nil {
				if diff := cmp.Diff(wanted.GetStreamIdentifier().GetStreamName(),
					recorded.GetStreamIdentifier().GetStreamName()); diff != "" {
					t.Fatalf("recorded.GetStreamIdentifier().GetStreamName() (-want +got):\n%s", diff)
				}
			}
			position := recorded.GetCommitPosition()
			if before != nil {
				forwards := options.GetReadDirection() == api.ReadReq_Options_Forwards
				if got := position > *before; got != forwards {
					t.Fatalf("position > *before = %v, want %v", got, forwards)
				}
			}
			before = &position
		}
	})
}

// FuzzCredentials: nobody gets in but with the one user and password.
func FuzzCredentials(f *testing.F) {
	const right = "admin:a secret"
	guard := newBasicAuth("admin", "a secret")
	encoded := base64.StdEncoding.EncodeToString([]byte(right))
	for _, header := range []string{
		"Basic " + encoded, "basic   " + encoded + " ", "Basic " + encoded + "=", "Bearer " + encoded, encoded, "Basic",
		"", "Basic \x00",
		"Basic " + base64.StdEncoding.EncodeToString([]byte("admin:a secret\x00")),
	} {
		f.Add(header, true)
		f.Add(header, false)
	}
	f.Fuzz(func(t *testing.T, header string, twice bool) {
		headers := metadata.MD{"authorization": {header}}
		if twice {
			headers.Append("authorization", "Basic "+encoded)
		}
		err := guard.check(metadata.NewIncomingContext(t.Context(), headers), api.Streams_Read_FullMethodName)
		if err != nil {
			if !errors.Is(err, errUnauthenticated) {
				t.Fatalf("%v, want %v", err, errUnauthenticated)
			}
			return
		}
		if twice {
			t.Fatal("two headers: a proxy in front may have looked at the other one")
		}
		_, given, _ := strings.Cut(header, " ")
		decoded, err := base64.StdEncoding.DecodeString(strings.TrimSpace(given))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(decoded); got != right {
			t.Fatalf("string(decoded) = %q, want %q", got, right)
		}
	})
}
