package node

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strings"
	"time"

	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// basicAuth lets calls of the Streams service through that carry the one user and password.
type basicAuth struct{ want [sha256.Size]byte }

func newBasicAuth(username, password string) *basicAuth {
	return &basicAuth{want: sha256.Sum256([]byte(username + ":" + password))}
}

var errUnauthenticated = status.Error(codes.Unauthenticated, "user name or password is missing or wrong")

func (b *basicAuth) check(ctx context.Context, method string) error {
	if !strings.HasPrefix(method, "/"+api.Streams_ServiceDesc.ServiceName+"/") {
		return nil
	}
	headers := metadata.ValueFromIncomingContext(ctx, "authorization")
	if len(headers) != 1 {
		return errUnauthenticated
	}
	scheme, encoded, _ := strings.Cut(headers[0], " ")
	if !strings.EqualFold(scheme, "basic") {
		return errUnauthenticated
	}
	given, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	if err != nil {
		return errUnauthenticated
	}
	// Hashing first makes the comparison take the same time whatever the length.
	got := sha256.Sum256(given)
	if subtle.ConstantTimeCompare(got[:], b.want[:]) != 1 {
		return errUnauthenticated
	}
	return nil
}

func (b *basicAuth) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo,
	handler grpc.UnaryHandler) (any, error) {
	if err := b.check(ctx, info.FullMethod); err != nil {
		return nil, err
	}
	return handler(ctx, request)
}

func (b *basicAuth) stream(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo,
	handler grpc.StreamHandler) error {
	err := b.check(stream.Context(), info.FullMethod)
	if err == nil {
		return handler(server, stream)
	}
	if info.IsClientStream {
		passOver(stream)
	}
	return err
}

const (
	passedOver   = 1000        // messages of a refused request that are read
	passOverTime = time.Second // that their sender has for them
)

// passOver reads what a refused caller sends, within limits: still sending, it would see a bare EOF in place of the
// reason.
func passOver(stream grpc.ServerStream) {
	done := make(chan struct{})
	go func() { // ends with the stream if not before
		defer close(done)
		for range passedOver {
			if err := stream.RecvMsg(&api.AppendReq{}); err != nil {
				return
			}
		}
	}()
	select {
	case <-done:
	case <-time.After(passOverTime):
	}
}
