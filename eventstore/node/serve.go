package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// maxSocketPath is the longest path of a Unix socket that Linux and macOS both take, in bytes.
const maxSocketPath = 103

// ServeUnix serves clients on a Unix socket that only its owner may use (mode 0600), until the
// context ends or the node is closed, and returns nil then. A socket that a killed process left
// is replaced; ErrInUse is returned when something still answers on it.
//
// The client's address is "unix:" and the absolute path, with TLS disabled.
func (n *Node) ServeUnix(ctx context.Context, socketPath string) error {
	path, err := filepath.Abs(socketPath)
	if err != nil {
		return fmt.Errorf("event store socket %s: %w", socketPath, err)
	}
	listener, err := listenUnix(path)
	if err != nil {
		return fmt.Errorf("event store socket %s: %w", path, err)
	}
	err = n.serve(ctx, listener)
	if removed := os.Remove(path); removed != nil && !errors.Is(removed, fs.ErrNotExist) {
		err = errors.Join(err, removed)
	}
	return err
}

// listenUnix makes the socket in a folder of its own that nobody else can enter, and moves it to
// its place when its mode is right, so that there is no moment at which others could connect.
func listenUnix(path string) (_ net.Listener, err error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	private, err := os.MkdirTemp(filepath.Dir(path), ".s")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(private)) }()
	temporary := filepath.Join(private, "s")
	if longest := max(len(path), len(temporary)); longest > maxSocketPath {
		return nil, fmt.Errorf("the path is %d bytes too long for a Unix socket: use a folder with a shorter path",
			longest-maxSocketPath)
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: temporary, Net: "unix"})
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(temporary, 0o600), os.Rename(temporary, path)); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return listener, nil
}

func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("something other than a socket is at this path: remove it or choose another path")
	}
	connection, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		return errors.Join(ErrInUse, connection.Close())
	}
	return os.Remove(path)
}

// ServeTCP serves clients over TLS until the context ends or the node is closed, and returns nil
// then. Reading and appending need the user name and password; gossip and server features are
// open, as the client asks for them without credentials. It closes the listener.
func (n *Node) ServeTCP(ctx context.Context, listener net.Listener, c Credentials) error {
	if len(c.Certificate.Certificate) == 0 || c.Username == "" || c.Password == "" {
		return errors.Join(errors.New("node: ServeTCP needs a certificate, a user name and a password"),
			listener.Close())
	}
	guard := newBasicAuth(c.Username, c.Password)
	return n.serve(ctx, listener,
		grpc.Creds(credentials.NewTLS(
			&tls.Config{Certificates: []tls.Certificate{c.Certificate}, MinVersion: tls.VersionTLS12})),
		grpc.ChainUnaryInterceptor(guard.unary),
		grpc.ChainStreamInterceptor(guard.stream))
}

// ServeInsecure serves clients over plain TCP without asking who they are: whoever reaches the
// port can write history. It is for development. Otherwise it is like ServeTCP.
func (n *Node) ServeInsecure(ctx context.Context, listener net.Listener) error {
	return n.serve(ctx, listener)
}

func (n *Node) serve(ctx context.Context, listener net.Listener, options ...grpc.ServerOption) error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return errors.Join(ErrClosed, listener.Close())
	}
	n.serving.Add(1)
	n.mu.Unlock()
	defer n.serving.Done()

	stopping := make(chan struct{})
	server := n.newServer(stopping, listener.Addr(), options)
	ctx, cancel := context.WithCancel(ctx)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-ctx.Done():
		case <-n.closing:
		}
		close(stopping)
		stop(server)
	}()
	err := server.Serve(listener)
	cancel()
	<-stopped
	return err
}

// stop lets calls under way end, but not for ever.
func stop(server *grpc.Server) {
	hurry := time.AfterFunc(closeGrace, server.Stop)
	defer hurry.Stop()
	server.GracefulStop()
}

func (n *Node) newServer(stopping <-chan struct{}, address net.Addr, options []grpc.ServerOption) *grpc.Server {
	common := []grpc.ServerOption{
		grpc.ForceServerCodecV2(newServerCodec()),
		grpc.MaxRecvMsgSize(16 << 20),
		grpc.WaitForHandlers(true),
		// The client pings every 10 s, also when no call is under way.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 20 * time.Second}),
		grpc.WriteBufferSize(128 << 10),
		grpc.InitialWindowSize(1 << 20),
		grpc.InitialConnWindowSize(4 << 20),
		grpc.ChainUnaryInterceptor(n.recoverUnary),
		grpc.ChainStreamInterceptor(n.recoverStream),
	}
	server := grpc.NewServer(append(common, options...)...)
	api.RegisterStreamsServer(server, &streams{node: n, stopping: stopping})
	serverfeatures.RegisterServerFeaturesServer(server, features{})
	gossip.RegisterGossipServer(server, newGossip(address))
	return server
}

func (n *Node) recoverUnary(ctx context.Context, request any, info *grpc.UnaryServerInfo,
	handler grpc.UnaryHandler) (_ any, err error) {
	defer n.recoverPanic(info.FullMethod, &err)
	return handler(ctx, request)
}

func (n *Node) recoverStream(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo,
	handler grpc.StreamHandler) (err error) {
	defer n.recoverPanic(info.FullMethod, &err)
	return handler(server, stream)
}

func (n *Node) recoverPanic(method string, err *error) {
	if r := recover(); r != nil {
		n.logger.Error("event store call panicked", "method", method, "panic", r, "stack", string(debug.Stack()))
		*err = status.Error(codes.Internal, "the call failed in the event store; its log says why")
	}
}
