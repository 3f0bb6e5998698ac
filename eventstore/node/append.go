package node

import (
	"context"
	"errors"
	"io"
	"math"
	"unicode/utf16"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const (
	// maxAppendSize is EventStoreDB's default limit of one append: the bytes of data, metadata and
	// types (as UTF-16).
	maxAppendSize = 1 << 20

	// maxStoredSize bounds what an append takes up in memory and on the disk. Only very many tiny
	// events in a stream with a very long name come near.
	maxStoredSize = 64 << 20

	// maxStreamName is the longest stream name, in bytes.
	maxStreamName = 1 << 16
)

// streams serves the protocol's Streams service.
type streams struct {
	api.UnimplementedStreamsServer
	node     *Node
	stopping <-chan struct{} // closed when the server goes down
}

// Append reads the whole request even when it is going to refuse it: the client, still sending,
// would otherwise see a bare EOF in place of the reason.
func (s *streams) Append(stream api.Streams_AppendServer) error {
	request, options, err := decodeAppend(stream.Recv)
	if err != nil {
		return refuse(stream, err)
	}
	request.ctx = stream.Context()
	result, err := s.node.append(request)
	if err != nil {
		return err
	}
	return stream.SendAndClose(appendResponse(options, result))
}

func (n *Node) append(request *appendRequest) (appendResult, error) {
	request.result = make(chan appendResult, 1)
	select {
	case <-n.failed:
		return appendResult{}, errAppendsStopped
	default:
	}
	select {
	case n.queue <- request:
	case <-n.failed:
		return appendResult{}, errAppendsStopped
	case <-request.ctx.Done():
		return appendResult{}, status.FromContextError(request.ctx.Err()).Err()
	}
	select {
	case result := <-request.result:
		return result, n.storageError(request.ctx, "append", result.err)
	case <-n.failed:
		return appendResult{}, errAppendsStopped
	case <-request.ctx.Done():
		return appendResult{}, status.FromContextError(request.ctx.Err()).Err()
	}
}

var errAppendsStopped = status.Error(codes.Unavailable,
	"the event store could not write to its disk and accepts no more appends until it is restarted; its log says why")

// storageError turns an error of the storage engine into one for clients, who see no internals.
func (n *Node) storageError(ctx context.Context, operation string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return status.FromContextError(ctx.Err()).Err()
	}
	n.logger.Error("event store operation failed", "operation", operation, "error", err)
	return status.Errorf(codes.Internal, "%s failed in the event store; its log says why", operation)
}

// refusal is a reason to refuse a request, with the trailers that clients look at.
type refusal struct {
	status   *status.Status
	trailers metadata.MD
}

func (r *refusal) Error() string { return r.status.Message() }

func invalid(message string, trailers ...string) *refusal {
	return &refusal{status: status.New(codes.InvalidArgument, message), trailers: metadata.Pairs(trailers...)}
}

// refuse ends a call with the status and trailers of err, if it is a refusal.
func refuse(stream interface{ SetTrailer(metadata.MD) }, err error) error {
	var r *refusal
	if !errors.As(err, &r) {
		return err
	}
	stream.SetTrailer(r.trailers)
	return r.status.Err()
}

// decodeAppend reads an append request to its end. The first thing wrong with it comes back as a
// refusal, other errors are those of next.
func decodeAppend(next func() (*api.AppendReq, error)) (*appendRequest, *api.AppendReq_Options, error) {
	d := appendDecoder{}
	var refused error
	for {
		message, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, err
		}
		if refused == nil {
			refused = d.add(message)
		}
	}
	if refused != nil {
		return nil, nil, refused
	}
	if d.options == nil {
		return nil, nil, invalid("the append request is empty: its first message must be the options")
	}
	return &d.request, d.options, nil
}

type appendDecoder struct {
	request appendRequest
	options *api.AppendReq_Options
	counted int // bytes counted against maxAppendSize
}

func (d *appendDecoder) add(message *api.AppendReq) error {
	switch content := message.GetContent().(type) {
	case *api.AppendReq_Options_:
		if d.options != nil {
			return invalid("options came twice in the append request")
		}
		return d.addOptions(content.Options)
	case *api.AppendReq_ProposedMessage_:
		if d.options == nil {
			return invalid("the first message of an append request must be the options")
		}
		return d.addEvent(content.ProposedMessage)
	default:
		return invalid("a message of the append request has neither options nor an event")
	}
}

func (d *appendDecoder) addOptions(options *api.AppendReq_Options) error {
	name := options.GetStreamIdentifier().GetStreamName()
	if err := checkStreamName(name); err != nil {
		return err
	}
	d.request.stream = name
	switch expected := options.GetExpectedStreamRevision().(type) {
	case *api.AppendReq_Options_Revision:
		d.request.expected = revisionFromWire(expected.Revision)
	case *api.AppendReq_Options_NoStream:
		d.request.expected = expectNoStream
	case *api.AppendReq_Options_Any:
		d.request.expected = expectAny
	case *api.AppendReq_Options_StreamExists:
		d.request.expected = expectStreamExists
	default:
		return invalid("expected_stream_revision is missing: name a revision, no_stream, any or stream_exists")
	}
	d.options = options
	return nil
}

// revisionFromWire takes 2^64-1 for "no stream", as EventStoreDB does. Other revisions above 2^63
// are greater than any that exists.
func revisionFromWire(revision uint64) int64 {
	if revision == math.MaxUint64 {
		return expectNoStream
	}
	return int64(min(revision, math.MaxInt64))
}

func checkStreamName(name []byte) error {
	switch {
	case len(name) == 0:
		return invalid("stream_identifier is missing or empty: name the stream")
	case string(name) == "$$":
		return invalid(`"$$" is not a stream name: the metadata of a stream is in "$$" plus its name`)
	case len(name) > maxStreamName:
		return invalid("stream_identifier is longer than 65536 bytes")
	}
	return nil
}

func (d *appendDecoder) addEvent(event *api.AppendReq_ProposedMessage) error {
	id, err := parseID(event.GetId())
	if err != nil {
		return invalid("id of an event is not a UUID")
	}
	if id == uuid.Nil {
		return invalid("id of an event is missing or zero: give each event a UUID")
	}
	eventType := event.GetMetadata()["type"]
	if eventType == "" {
		return missingProperty("type")
	}
	contentType, ok := event.GetMetadata()["content-type"]
	if !ok {
		return missingProperty("content-type")
	}
	d.counted += len(event.GetData()) + len(event.GetCustomMetadata()) + 2*utf16Len(eventType)
	if d.counted > maxAppendSize {
		return invalid("the events of one append are larger than 1048576 bytes together: append fewer at once",
			"exception", "maximum-append-size-exceeded", "maximum-append-size", "1048576")
	}
	proposed := newProposal(d.request.stream, id, eventType, contentType == contentTypeJSON, event.GetCustomMetadata(),
		event.GetData())
	d.request.size += len(proposed.body) + len(d.request.stream)
	if d.request.size > maxStoredSize {
		return invalid("the events of one append take up more than 64 MiB in the store: append fewer at once",
			"exception", "maximum-append-size-exceeded", "maximum-append-size", "1048576")
	}
	d.request.events = append(d.request.events, proposed)
	return nil
}

func missingProperty(name string) error {
	return invalid("metadata property '"+name+"' of an event is missing or empty",
		"exception", "missing-required-metadata-property", "required-metadata-properties", "type,content-type")
}

func utf16Len(s string) int {
	n := 0
	for _, r := range s {
		n += utf16.RuneLen(r)
	}
	return n
}

func appendResponse(options *api.AppendReq_Options, result appendResult) *api.AppendResp {
	if result.wrongVersion {
		return &api.AppendResp{
			Result: &api.AppendResp_WrongExpectedVersion_{WrongExpectedVersion: wrongVersion(options, result.revision)},
		}
	}
	success := &api.AppendResp_Success{}
	if result.revision == noRevision {
		success.CurrentRevisionOption = &api.AppendResp_Success_NoStream{NoStream: &shared.Empty{}}
	} else {
		success.CurrentRevisionOption = &api.AppendResp_Success_CurrentRevision{
			CurrentRevision: uint64(result.revision),
		}
	}
	if result.position == 0 {
		success.PositionOption = &api.AppendResp_Success_NoPosition{NoPosition: &shared.Empty{}}
	} else {
		success.PositionOption = &api.AppendResp_Success_Position{Position: &api.AppendResp_Position{
			CommitPosition: result.position, PreparePosition: result.position,
		}}
	}
	return &api.AppendResp{Result: &api.AppendResp_Success_{Success: success}}
}

// wrongVersion fills the fields of today and those of clients from before 20.6.1.
func wrongVersion(options *api.AppendReq_Options, current int64) *api.AppendResp_WrongExpectedVersion {
	wrong := &api.AppendResp_WrongExpectedVersion{}
	if current == noRevision {
		wrong.CurrentRevisionOption = &api.AppendResp_WrongExpectedVersion_CurrentNoStream{
			CurrentNoStream: &shared.Empty{},
		}
		wrong.CurrentRevisionOption_20_6_0 = &api.AppendResp_WrongExpectedVersion_NoStream_20_6_0{
			NoStream_20_6_0: &shared.Empty{},
		}
	} else {
		wrong.CurrentRevisionOption = &api.AppendResp_WrongExpectedVersion_CurrentRevision{
			CurrentRevision: uint64(current),
		}
		wrong.CurrentRevisionOption_20_6_0 = &api.AppendResp_WrongExpectedVersion_CurrentRevision_20_6_0{
			CurrentRevision_20_6_0: uint64(current),
		}
	}
	switch expected := options.GetExpectedStreamRevision().(type) {
	case *api.AppendReq_Options_Any:
		wrong.ExpectedRevisionOption = &api.AppendResp_WrongExpectedVersion_ExpectedAny{ExpectedAny: &shared.Empty{}}
		wrong.ExpectedRevisionOption_20_6_0 = &api.AppendResp_WrongExpectedVersion_Any_20_6_0{
			Any_20_6_0: &shared.Empty{},
		}
	case *api.AppendReq_Options_StreamExists:
		wrong.ExpectedRevisionOption = &api.AppendResp_WrongExpectedVersion_ExpectedStreamExists{
			ExpectedStreamExists: &shared.Empty{},
		}
		wrong.ExpectedRevisionOption_20_6_0 = &api.AppendResp_WrongExpectedVersion_StreamExists_20_6_0{
			StreamExists_20_6_0: &shared.Empty{},
		}
	case *api.AppendReq_Options_NoStream:
		wrong.ExpectedRevisionOption = &api.AppendResp_WrongExpectedVersion_ExpectedNoStream{
			ExpectedNoStream: &shared.Empty{},
		}
		wrong.ExpectedRevisionOption_20_6_0 = &api.AppendResp_WrongExpectedVersion_ExpectedRevision_20_6_0{
			ExpectedRevision_20_6_0: math.MaxUint64,
		}
	case *api.AppendReq_Options_Revision:
		wrong.ExpectedRevisionOption = &api.AppendResp_WrongExpectedVersion_ExpectedRevision{
			ExpectedRevision: expected.Revision,
		}
		wrong.ExpectedRevisionOption_20_6_0 = &api.AppendResp_WrongExpectedVersion_ExpectedRevision_20_6_0{
			ExpectedRevision_20_6_0: expected.Revision,
		}
	}
	return wrong
}

// Delete is refused: nothing is ever removed from the log.
func (s *streams) Delete(ctx context.Context, _ *api.DeleteReq) (*api.DeleteResp, error) {
	return nil, deleteRefused(ctx)
}

// Tombstone is refused: nothing is ever removed from the log.
func (s *streams) Tombstone(ctx context.Context, _ *api.TombstoneReq) (*api.TombstoneResp, error) {
	return nil, deleteRefused(ctx)
}

func deleteRefused(ctx context.Context) error {
	if err := grpc.SetTrailer(ctx, metadata.Pairs("exception", "access-denied")); err != nil {
		return err
	}
	return status.Error(codes.PermissionDenied, "streams can't be deleted: this event store keeps history")
}
