package storetest

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// What the Go client doesn't show or never sends is asked over gRPC itself.
var wireTests = []test{
	{"a wrong expected revision is an answer with all its fields", wrongRevisionFields},
	{"type and content type of an event are required", requiredProperties},
	{"an event needs an id", requiredID},
	{"ids are taken and given in both forms", idForms},
	{"a content type other than JSON is binary", contentTypes},
	{"the size limit names itself in the trailers", sizeTrailer},
	{"what a read request lacks is refused", incompleteReads},
	{"reads answer with events only", readsAnswerEventsOnly},
	{"gossip shows a live leader", gossipShowsLeader},
}

func (s *store) dial(t *testing.T) *grpc.ClientConn {
	t.Helper()
	c := s.configuration
	transport := insecure.NewCredentials()
	options := []grpc.DialOption{}
	if !c.DisableTLS {
		transport = credentials.NewTLS(
			&tls.Config{RootCAs: c.RootCAs, InsecureSkipVerify: c.SkipCertificateVerification})
		if c.Username != "" {
			options = append(options, grpc.WithPerRPCCredentials(basicCredentials(c.Username+":"+c.Password)))
		}
	}
	address := c.Address
	if len(c.GossipSeeds) > 0 {
		address = c.GossipSeeds[0].String()
	}
	connection, err := grpc.NewClient(address, append(options, grpc.WithTransportCredentials(transport))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := connection.Close(); err != nil {
			t.Fatal(err)
		}
	})
	return connection
}

// basicCredentials is "user:password".
type basicCredentials string

func (b basicCredentials) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte(b))}, nil
}

func (basicCredentials) RequireTransportSecurity() bool { return true }

func optionsFor(stream string) *api.AppendReq_Options {
	return &api.AppendReq_Options{
		StreamIdentifier:       &shared.StreamIdentifier{StreamName: []byte(stream)},
		ExpectedStreamRevision: &api.AppendReq_Options_Any{Any: &shared.Empty{}},
	}
}

func textID(id uuid.UUID) *shared.UUID {
	return &shared.UUID{Value: &shared.UUID_String_{String_: id.String()}}
}

func proposed() *api.AppendReq_ProposedMessage {
	return &api.AppendReq_ProposedMessage{
		Id:       textID(uuid.New()),
		Metadata: map[string]string{"type": "wired", "content-type": "application/json"},
		Data:     []byte("{}"),
	}
}

// appendRaw sends an append request and returns its answer, trailers and error.
func (s *store) appendRaw(ctx context.Context, t *testing.T, options *api.AppendReq_Options,
	events ...*api.AppendReq_ProposedMessage) (*api.AppendResp, metadata.MD, error) {
	t.Helper()
	call, err := api.NewStreamsClient(s.dial(t)).Append(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := call.Send(&api.AppendReq{Content: &api.AppendReq_Options_{Options: options}}); err != nil {
		t.Fatal(err)
	}
	for _, event := range events {
		err := call.Send(&api.AppendReq{Content: &api.AppendReq_ProposedMessage_{ProposedMessage: event}})
		if errors.Is(err, io.EOF) {
			break // the reason comes with the answer
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	answer, err := call.CloseAndRecv()
	return answer, call.Trailer(), err
}

func wrongRevisionFields(ctx context.Context, t *testing.T, s *store) {
	stream, missing := newStream("wire"), newStream("wire")
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvents("before", 3)...)

	options := optionsFor(stream)
	options.ExpectedStreamRevision = &api.AppendReq_Options_Revision{Revision: 7}
	answer, _, err := s.appendRaw(ctx, t, options, proposed())
	if err != nil {
		t.Fatal(err)
	}
	wrong := answer.GetWrongExpectedVersion()
	if wrong == nil {
		t.Fatalf("wrong = %v, want something", wrong)
	}
	if got := wrong.GetCurrentRevision(); got != uint64(2) {
		t.Fatalf("wrong.GetCurrentRevision() = %v, want %v", got, uint64(2))
	}
	if got := wrong.GetCurrentRevision_20_6_0(); got != uint64(2) {
		t.Fatalf("wrong.GetCurrentRevision_20_6_0() = %v, want %v", got, uint64(2))
	}
	if got := wrong.GetExpectedRevision(); got != uint64(7) {
		t.Fatalf("wrong.GetExpectedRevision() = %v, want %v", got, uint64(7))
	}
	if got := wrong.GetExpectedRevision_20_6_0(); got != uint64(7) {
		t.Fatalf("wrong.GetExpectedRevision_20_6_0() = %v, want %v", got, uint64(7))
	}

	options = optionsFor(missing)
	options.ExpectedStreamRevision = &api.AppendReq_Options_StreamExists{StreamExists: &shared.Empty{}}
	answer, _, err = s.appendRaw(ctx, t, options, proposed())
	if err != nil {
		t.Fatal(err)
	}
	wrong = answer.GetWrongExpectedVersion()
	if wrong == nil {
		t.Fatalf("wrong = %v, want something", wrong)
	}
	if got := wrong.GetCurrentNoStream(); got == nil {
		t.Fatalf("wrong.GetCurrentNoStream() = %v, want something", got)
	}
	if got := wrong.GetNoStream_20_6_0(); got == nil {
		t.Fatalf("wrong.GetNoStream_20_6_0() = %v, want something", got)
	}
	if got := wrong.GetExpectedStreamExists(); got == nil {
		t.Fatalf("wrong.GetExpectedStreamExists() = %v, want something", got)
	}
	if got := wrong.GetStreamExists_20_6_0(); got == nil {
		t.Fatalf("wrong.GetStreamExists_20_6_0() = %v, want something", got)
	}
}

func requiredProperties(ctx context.Context, t *testing.T, s *store) {
	for _, property := range []string{"type", "content-type"} {
		t.Run("no "+property, func(t *testing.T) {
			event := proposed()
			event.Metadata = maps.Clone(event.Metadata)
			delete(event.Metadata, property)
			_, trailers, err := s.appendRaw(ctx, t, optionsFor(newStream("wire")), proposed(), event)
			if got := status.Code(err); got != codes.InvalidArgument {
				t.Fatalf("status.Code(err) = %v, want %v", got, codes.InvalidArgument)
			}
			if diff := cmp.Diff([]string{"missing-required-metadata-property"}, trailers.Get("exception")); diff != "" {
				t.Fatalf("trailers.Get(\"exception\") (-want +got):\n%s", diff)
			}
		})
	}
	event := proposed()
	event.Metadata["type"] = ""
	_, _, err := s.appendRaw(ctx, t, optionsFor(newStream("wire")), event)
	if err == nil {
		t.Fatal("no error")
	}
}

func requiredID(ctx context.Context, t *testing.T, s *store) {
	for name, id := range map[string]*shared.UUID{
		"empty": textID(uuid.Nil), "no id": nil, "no UUID": {Value: &shared.UUID_String_{String_: "one"}},
	} {
		t.Run(name, func(t *testing.T) {
			event := proposed()
			event.Id = id
			stream := newStream("wire")
			_, _, err := s.appendRaw(ctx, t, optionsFor(stream), event)
			if err == nil {
				t.Fatal("no error")
			}
			_, err = s.read(ctx, stream, esdb.Forwards, esdb.Start{}, 1)
			requireCode(t, esdb.ErrorCodeResourceNotFound, err)
		})
	}
}

func readRequest(stream string) *api.ReadReq {
	return &api.ReadReq{Options: &api.ReadReq_Options{
		StreamOption: &api.ReadReq_Options_Stream{Stream: &api.ReadReq_Options_StreamOptions{
			StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte(stream)},
			RevisionOption:   &api.ReadReq_Options_StreamOptions_Start{Start: &shared.Empty{}},
		}},
		CountOption:  &api.ReadReq_Options_Count{Count: 100},
		FilterOption: &api.ReadReq_Options_NoFilter{NoFilter: &shared.Empty{}},
		UuidOption: &api.ReadReq_Options_UUIDOption{
			Content: &api.ReadReq_Options_UUIDOption_String_{String_: &shared.Empty{}},
		},
	}}
}

func (s *store) readRaw(ctx context.Context, t *testing.T, request *api.ReadReq) ([]*api.ReadResp, error) {
	t.Helper()
	call, err := api.NewStreamsClient(s.dial(t)).Read(ctx, request)
	if err != nil {
		t.Fatal(err)
	}
	var answers []*api.ReadResp
	for {
		answer, err := call.Recv()
		if errors.Is(err, io.EOF) {
			return answers, nil
		}
		if err != nil {
			return answers, err
		}
		answers = append(answers, answer)
	}
}

func idForms(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("wire")
	event := newEvent("wired") // the client sends two integers
	event.Data = make([]byte, 300)
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, event)
	message := proposed()
	_, _, err := s.appendRaw(ctx, t, optionsFor(stream), message)
	if err != nil {
		t.Fatal(err)
	}
	want := []uuid.UUID{event.EventID, uuid.MustParse(message.GetId().GetString_())}
	if diff := cmp.Diff(want, ids(s.mustRead(ctx, t, stream, esdb.Forwards, esdb.Start{}, 10))); diff != "" {
		t.Fatalf("got (-want +got):\n%s", diff)
	}

	answers, err := s.readRaw(ctx, t, readRequest(stream))
	if err != nil {
		t.Fatal(err)
	}
	if len(answers) != 2 {
		t.Fatalf("answers has %d elements, want 2: %v", len(answers), answers)
	}
	for i, answer := range answers {
		recorded := answer.GetEvent().GetEvent()
		if got := recorded.GetId().GetString_(); got != want[i].String() {
			t.Fatalf("recorded.GetId().GetString_() = %q, want %q", got, want[i].String())
		}
		if got := recorded.GetStreamRevision(); got != uint64(i) {
			t.Fatalf("recorded.GetStreamRevision() = %v, want %v", got, uint64(i))
		}
		if got := string(recorded.GetStreamIdentifier().GetStreamName()); got != stream {
			t.Fatalf("string(recorded.GetStreamIdentifier().GetStreamName()) = %q, want %q", got, stream)
		}
		if diff := cmp.Diff([]string{"type", "content-type", "created"},
			slices.Collect(maps.Keys(recorded.GetMetadata())), cmpopts.SortSlices(strings.Compare)); diff != "" {
			t.Fatalf("slices.Collect(maps.Keys(recorded.GetMetadata())) (-want +got):\n%s", diff)
		}
		if got := recorded.GetCommitPosition(); got != recorded.GetPreparePosition() {
			t.Fatalf("recorded.GetCommitPosition() = %v, want %v", got, recorded.GetPreparePosition())
		}
	}
	if diff := cmp.Diff(event.Data, answers[0].GetEvent().GetEvent().GetData()); diff != "" {
		t.Fatalf("answers[0].GetEvent().GetEvent().GetData() (-want +got):\n%s", diff)
	}
}

func contentTypes(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("wire")
	for _, given := range []string{"application/json", "application/octet-stream", "text/plain"} {
		t.Run(given, func(t *testing.T) {
			event := proposed()
			event.Metadata["content-type"] = given
			_, _, err := s.appendRaw(ctx, t, optionsFor(stream), event)
			if err != nil {
				t.Fatal(err)
			}
		})
	}
	var got []string
	for _, event := range s.mustRead(ctx, t, stream, esdb.Forwards, esdb.Start{}, 10) {
		got = append(got, event.ContentType)
	}
	if diff := cmp.Diff([]string{"application/json", "application/octet-stream", "application/octet-stream"},
		got); diff != "" {
		t.Fatalf("got (-want +got):\n%s", diff)
	}
}

func sizeTrailer(ctx context.Context, t *testing.T, s *store) {
	events := make([]*api.AppendReq_ProposedMessage, 30)
	for i := range events {
		events[i] = proposed()
		events[i].Data = []byte(strings.Repeat("x", 100_000))
	}
	oneBig := proposed()
	oneBig.Data = make([]byte, 8<<20) // far over gRPC's own default limit of a message
	for name, batch := range map[string][]*api.AppendReq_ProposedMessage{"many": events, "one that is big": {oneBig}} {
		t.Run(name, func(t *testing.T) {
			_, trailers, err := s.appendRaw(ctx, t, optionsFor(newStream("wire")), batch...)
			if got := status.Code(err); got != codes.InvalidArgument {
				t.Fatalf("status.Code(err) = %v, want %v", got, codes.InvalidArgument)
			}
			if diff := cmp.Diff([]string{"maximum-append-size-exceeded"}, trailers.Get("exception")); diff != "" {
				t.Fatalf("trailers.Get(\"exception\") (-want +got):\n%s", diff)
			}
		})
	}
}

func incompleteReads(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("wire")
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvent("here"))
	for name, spoil := range map[string]func(*api.ReadReq_Options){
		"no uuid_option":   func(o *api.ReadReq_Options) { o.UuidOption = nil },
		"no stream_option": func(o *api.ReadReq_Options) { o.StreamOption = nil },
		"no count_option":  func(o *api.ReadReq_Options) { o.CountOption = nil },
		"count 0":          func(o *api.ReadReq_Options) { o.CountOption = &api.ReadReq_Options_Count{} },
		"subscription backwards": func(o *api.ReadReq_Options) {
			o.CountOption = &api.ReadReq_Options_Subscription{Subscription: &api.ReadReq_Options_SubscriptionOptions{}}
			o.ReadDirection = api.ReadReq_Options_Backwards
		},
		"filtered stream": func(o *api.ReadReq_Options) {
			o.FilterOption = &api.ReadReq_Options_Filter{Filter: &api.ReadReq_Options_FilterOptions{
				Filter: &api.ReadReq_Options_FilterOptions_EventType{
					EventType: &api.ReadReq_Options_FilterOptions_Expression{Prefix: []string{"x"}},
				},
				Window: &api.ReadReq_Options_FilterOptions_Max{Max: 32}, CheckpointIntervalMultiplier: 1,
			}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			request := readRequest(stream)
			spoil(request.Options)
			answers, err := s.readRaw(ctx, t, request)
			if err == nil {
				t.Fatal("no error")
			}
			if len(answers) != 0 {
				t.Fatalf("got %v, want nothing", answers)
			}
		})
	}
}

func readsAnswerEventsOnly(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("wire")
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvents("here", 5)...)
	for _, direction := range []api.ReadReq_Options_ReadDirection{
		api.ReadReq_Options_Forwards, api.ReadReq_Options_Backwards,
	} {
		t.Run(direction.String(), func(t *testing.T) {
			request := readRequest(stream)
			request.Options.ReadDirection = direction
			if direction == api.ReadReq_Options_Backwards {
				end := &api.ReadReq_Options_StreamOptions_End{End: &shared.Empty{}}
				request.Options.GetStream().RevisionOption = end
			}
			answers, err := s.readRaw(ctx, t, request)
			if err != nil {
				t.Fatal(err)
			}
			if len(answers) != 5 {
				t.Fatalf("answers has %d elements, want 5: %v", len(answers), answers)
			}
			for _, answer := range answers {
				if got := answer.GetEvent(); got == nil {
					t.Fatalf("the Go client panics on %T: got %v, want something", answer.GetContent(), got)
				}
			}
		})
	}
	answers, err := s.readRaw(ctx, t, readRequest(newStream("missing")))
	if err != nil {
		t.Fatal(err)
	}
	if len(answers) != 1 {
		t.Fatalf("answers has %d elements, want 1: %v", len(answers), answers)
	}
	if got := answers[0].GetStreamNotFound().GetStreamIdentifier(); got == nil {
		t.Fatalf("answers[0].GetStreamNotFound().GetStreamIdentifier() = %v, want something", got)
	}
}

func gossipShowsLeader(ctx context.Context, t *testing.T, s *store) {
	cluster, err := gossip.NewGossipClient(s.dial(t)).Read(ctx, &shared.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	leaders := 0
	for _, member := range cluster.GetMembers() {
		if member.GetState() == gossip.MemberInfo_Leader && member.GetIsAlive() {
			leaders++
		}
	}
	if leaders != 1 {
		t.Fatalf("leaders = %v, want 1", leaders)
	}
}
