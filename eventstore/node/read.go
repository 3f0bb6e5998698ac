package node

import (
	"math"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc"
)

// readOptions is a read request after checking.
type readOptions struct {
	stream    []byte // nil: $all
	backwards bool
	stringIDs bool
	filter    *filter
	subscribe bool
	count     uint64

	// Exactly one of these three says where to begin.
	fromStart bool
	fromEnd   bool
	from      uint64 // revision or commit position
}

func parseRead(request *api.ReadReq) (readOptions, error) {
	options := request.GetOptions()
	r := readOptions{}
	if err := r.parseSource(options); err != nil {
		return r, err
	}
	switch options.GetReadDirection() {
	case api.ReadReq_Options_Forwards:
	case api.ReadReq_Options_Backwards:
		r.backwards = true
	default:
		return r, invalid("read_direction must be Forwards or Backwards")
	}
	switch options.GetUuidOption().GetContent().(type) {
	case *api.ReadReq_Options_UUIDOption_Structured:
	case *api.ReadReq_Options_UUIDOption_String_:
		r.stringIDs = true
	default:
		return r, invalid("uuid_option is missing: ask for structured or string")
	}
	switch count := options.GetCountOption().(type) {
	case *api.ReadReq_Options_Count:
		if r.count = count.Count; r.count == 0 {
			return r, invalid("count must be at least 1")
		}
	case *api.ReadReq_Options_Subscription:
		if r.subscribe = true; r.backwards {
			return r, invalid("read_direction of a subscription must be Forwards")
		}
	default:
		return r, invalid("count_option is missing: give a count or subscribe")
	}
	if chosen, ok := options.GetFilterOption().(*api.ReadReq_Options_Filter); ok {
		if r.stream != nil {
			return r, invalid("filter works on $all only, not on a stream")
		}
		var err error
		if r.filter, err = newFilter(chosen.Filter); err != nil {
			return r, err
		}
	}
	return r, nil
}

func (r *readOptions) parseSource(options *api.ReadReq_Options) error {
	switch source := options.GetStreamOption().(type) {
	case *api.ReadReq_Options_Stream:
		r.stream = source.Stream.GetStreamIdentifier().GetStreamName()
		if err := checkStreamName(r.stream); err != nil {
			return err
		}
		switch from := source.Stream.GetRevisionOption().(type) {
		case *api.ReadReq_Options_StreamOptions_Revision:
			r.setFrom(from.Revision)
		case *api.ReadReq_Options_StreamOptions_Start:
			r.fromStart = true
		case *api.ReadReq_Options_StreamOptions_End:
			r.fromEnd = true
		default:
			return invalid("revision_option is missing: give a revision, start or end")
		}
	case *api.ReadReq_Options_All:
		switch from := source.All.GetAllOption().(type) {
		case *api.ReadReq_Options_AllOptions_Position:
			r.setFrom(from.Position.GetCommitPosition())
		case *api.ReadReq_Options_AllOptions_Start:
			r.fromStart = true
		case *api.ReadReq_Options_AllOptions_End:
			r.fromEnd = true
		default:
			return invalid("all_option is missing: give a position, start or end")
		}
	default:
		return invalid("stream_option is missing: name a stream or $all")
	}
	return nil
}

// setFrom takes 2^64-1 for the end, as EventStoreDB does.
func (r *readOptions) setFrom(from uint64) {
	r.from, r.fromEnd = from, from == math.MaxUint64
}

// Read serves reads and subscriptions.
func (s *streams) Read(request *api.ReadReq, stream api.Streams_ReadServer) error {
	options, err := parseRead(request)
	if err != nil {
		return refuse(stream, err)
	}
	switch {
	case options.subscribe && options.stream == nil:
		return s.subscribeAll(stream, options)
	case options.subscribe:
		return s.subscribeStream(stream, options)
	case options.stream == nil:
		return s.readAll(stream, options)
	default:
		return s.readStream(stream, options)
	}
}

// readAll is inclusive forwards and exclusive backwards.
func (s *streams) readAll(stream grpc.ServerStream, options readOptions) error {
	reader := allReader{
		node: s.node, filter: options.filter, stringIDs: options.stringIDs, backwards: options.backwards,
	}
	upTo, _ := s.node.head.load()
	from := options.from
	switch {
	case options.fromStart:
		from = 0
	case options.fromEnd:
		from = upTo + 1
	}
	next := func(p page) uint64 {
		if options.backwards {
			return p.cursor
		}
		return p.cursor + 1
	}
	return s.sendPages(stream, options.count, func(remaining uint64) (page, error) {
		p, err := reader.page(from, upTo, remaining)
		from = next(p)
		return p, err
	})
}

// readStream is inclusive both ways.
func (s *streams) readStream(stream grpc.ServerStream, options readOptions) error {
	reader := streamReader{
		node: s.node, stream: options.stream, stringIDs: options.stringIDs, backwards: options.backwards,
	}
	upTo, _ := s.node.head.load()
	last, found, err := s.node.lastRevision(options.stream, upTo)
	if err != nil {
		return s.node.storageError(stream.Context(), "read", err)
	}
	if !found {
		return stream.SendMsg(
			&api.ReadResp{Content: &api.ReadResp_StreamNotFound_{StreamNotFound: &api.ReadResp_StreamNotFound{
				StreamIdentifier: &shared.StreamIdentifier{StreamName: options.stream},
			}}})
	}
	from := options.from
	switch {
	case options.fromStart:
		from = 0
	case options.fromEnd && options.backwards:
		from = last
	case options.fromEnd:
		from = last + 1
	}
	return s.sendPages(stream, options.count, func(remaining uint64) (page, error) {
		p, err := reader.page(from, upTo, remaining)
		if options.backwards {
			from = p.cursor - 1 // wraps after revision 0 only, which is the end
		} else {
			from = p.cursor + 1
		}
		return p, err
	})
}

// sendPages sends up to count events, page by page.
func (s *streams) sendPages(stream grpc.ServerStream, count uint64, next func(remaining uint64) (page, error)) error {
	for count > 0 {
		p, err := next(count)
		if err != nil {
			return s.node.storageError(stream.Context(), "read", err)
		}
		if err := send(stream, p.items); err != nil {
			return err
		}
		if p.end {
			return nil
		}
		count -= uint64(p.events)
	}
	return nil
}

func send(stream grpc.ServerStream, items []item) error {
	for i := range items {
		if items[i].message == nil {
			if err := sendCheckpoint(stream, items[i].checkpoint); err != nil {
				return err
			}
			continue
		}
		if err := stream.SendMsg(items[i].message); err != nil {
			return err
		}
	}
	return nil
}

func sendCheckpoint(stream grpc.ServerStream, position uint64) error {
	return stream.SendMsg(&api.ReadResp{Content: &api.ReadResp_Checkpoint_{Checkpoint: &api.ReadResp_Checkpoint{
		CommitPosition: position, PreparePosition: position,
	}}})
}
