package node

import (
	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// serverCodec is gRPC's protobuf codec that also sends a mem.Buffer: a message that is marshalled
// already, whose reference is given away. Reads then cost no unmarshalling and marshalling: the log
// holds the messages that readers get.
type serverCodec struct{ encoding.CodecV2 }

func newServerCodec() serverCodec {
	return serverCodec{encoding.GetCodecV2(protocodec.Name)}
}

func (c serverCodec) Marshal(v any) (mem.BufferSlice, error) {
	if ready, ok := v.(mem.Buffer); ok {
		return mem.BufferSlice{ready}, nil
	}
	return c.CodecV2.Marshal(v)
}
