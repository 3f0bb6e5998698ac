package node

import (
	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// rawMessage is a message that is marshalled already. It is sent as it stands, once: its reference is given away.
type rawMessage struct{ mem.Buffer }

// serverCodec is gRPC's protobuf codec that also sends a *rawMessage. Reads then cost no
// unmarshalling and marshalling: the log holds the messages that readers get.
type serverCodec struct{ encoding.CodecV2 }

func newServerCodec() serverCodec {
	return serverCodec{encoding.GetCodecV2(protocodec.Name)}
}

func (c serverCodec) Marshal(v any) (mem.BufferSlice, error) {
	if raw, ok := v.(*rawMessage); ok {
		return mem.BufferSlice{raw.Buffer}, nil
	}
	return c.CodecV2.Marshal(v)
}
