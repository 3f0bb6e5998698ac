package node

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func TestSocketIsPrivate(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	socket := filepath.Join(dir, "es.sock")
	n := openNode(t, filepath.Join(dir, "store"))
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- n.ServeUnix(ctx, socket) }()
	client := unixClient(t, socket)
	require.Eventually(t, func() bool { _, err := os.Stat(socket); return err == nil }, patience, time.Millisecond)

	info, err := os.Stat(socket)
	require.NoError(t, err)
	require.Equal(t, os.ModeSocket|0o600, info.Mode())
	_, err = client.AppendToStream(ctx, "stream", esdb.AppendToStreamOptions{}, esdb.EventData{EventType: "x"})
	require.NoError(t, err)

	// Somebody answers there: another node doesn't take the socket away.
	require.ErrorIs(t, openNode(t, t.TempDir()).ServeUnix(ctx, socket), ErrInUse)

	cancel()
	require.NoError(t, <-stopped)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1, "nothing but the store is left: %v", left)
}

func TestStaleSocketIsReplaced(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(shortDir(t), "s")
	// What a killed process leaves: a socket that nobody listens on.
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	require.NoError(t, err)
	stale.SetUnlinkOnClose(false)
	require.NoError(t, stale.Close())

	listener, err := listenUnix(socket)
	require.NoError(t, err)
	require.NoError(t, listener.Close())
}

func TestSocketPathMustMakeSense(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	n := openNode(t, t.TempDir())
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, []byte("precious"), 0o600))
	require.ErrorContains(t, n.ServeUnix(t.Context(), file), "something else than a socket")
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "precious", string(content))

	long := filepath.Join(dir, strings.Repeat("x", 120))
	require.ErrorContains(t, n.ServeUnix(t.Context(), long), "too long for a Unix socket")
	require.ErrorContains(t, n.ServeUnix(t.Context(), filepath.Join(dir, "missing", "s")), "no such file")
}

func TestStoppingEndsSubscriptionsAndFinishesAppends(t *testing.T) {
	t.Parallel()
	n := openNode(t, t.TempDir())
	socket := serveUnix(t, n)
	streamsClient := api.NewStreamsClient(dialUnix(t, socket))

	subscription, err := streamsClient.Read(t.Context(), subscribeRequest())
	require.NoError(t, err)
	confirmation, err := subscription.Recv()
	require.NoError(t, err)
	require.NotNil(t, confirmation.GetConfirmation())
	caughtUp, err := subscription.Recv()
	require.NoError(t, err)
	require.NotNil(t, caughtUp.GetCaughtUp())

	underWay, err := streamsClient.Append(t.Context())
	require.NoError(t, err)
	require.NoError(t, underWay.Send(appendOptions("stream")))
	// Calls of one connection arrive in order: when this one is answered, the append has begun.
	_, err = streamsClient.Delete(t.Context(), &api.DeleteReq{})
	require.Equal(t, codes.PermissionDenied, status.Code(err))

	closed := make(chan error, 1)
	go func() { closed <- n.Close() }()
	_, err = subscription.Recv()
	require.Equal(t, codes.Unavailable, status.Code(err))

	require.NoError(t, underWay.Send(appendEvent()))
	answer, err := underWay.CloseAndRecv()
	require.NoError(t, err)
	require.NotNil(t, answer.GetSuccess())
	require.NoError(t, <-closed)
	require.ErrorIs(t, n.ServeUnix(t.Context(), filepath.Join(shortDir(t), "s")), ErrClosed)
}

func dialUnix(t testing.TB, socket string) *grpc.ClientConn {
	t.Helper()
	connection, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, connection.Close()) })
	return connection
}

func subscribeRequest() *api.ReadReq {
	return &api.ReadReq{Options: &api.ReadReq_Options{
		StreamOption: &api.ReadReq_Options_All{All: &api.ReadReq_Options_AllOptions{
			AllOption: &api.ReadReq_Options_AllOptions_Start{Start: &shared.Empty{}},
		}},
		CountOption:  &api.ReadReq_Options_Subscription{Subscription: &api.ReadReq_Options_SubscriptionOptions{}},
		FilterOption: &api.ReadReq_Options_NoFilter{NoFilter: &shared.Empty{}},
		UuidOption:   &api.ReadReq_Options_UUIDOption{Content: &api.ReadReq_Options_UUIDOption_Structured{Structured: &shared.Empty{}}},
	}}
}

func appendOptions(stream string) *api.AppendReq {
	return &api.AppendReq{Content: &api.AppendReq_Options_{Options: &api.AppendReq_Options{
		StreamIdentifier:       &shared.StreamIdentifier{StreamName: []byte(stream)},
		ExpectedStreamRevision: &api.AppendReq_Options_Any{Any: &shared.Empty{}},
	}}}
}

func appendEvent() *api.AppendReq {
	return &api.AppendReq{Content: &api.AppendReq_ProposedMessage_{ProposedMessage: &api.AppendReq_ProposedMessage{
		Id:       &shared.UUID{Value: &shared.UUID_String_{String_: uuid.NewString()}},
		Metadata: map[string]string{"type": "x", "content-type": contentTypeJSON},
	}}}
}

func TestDeletingIsRefused(t *testing.T) {
	t.Parallel()
	socket := serveUnix(t, openNode(t, t.TempDir()))
	client, raw := unixClient(t, socket), api.NewStreamsClient(dialUnix(t, socket))
	_, err := client.AppendToStream(t.Context(), "stream", esdb.AppendToStreamOptions{}, esdb.EventData{EventType: "x"})
	require.NoError(t, err)

	var clientError *esdb.Error
	_, err = client.DeleteStream(t.Context(), "stream", esdb.DeleteStreamOptions{})
	require.ErrorAs(t, err, &clientError)
	require.Equal(t, esdb.ErrorCodeAccessDenied, clientError.Code())
	_, err = client.TombstoneStream(t.Context(), "stream", esdb.TombstoneStreamOptions{})
	require.ErrorAs(t, err, &clientError)
	require.Equal(t, esdb.ErrorCodeAccessDenied, clientError.Code())
	require.Equal(t, 1, countEvents(t.Context(), t, client, "stream", esdb.Forwards, esdb.Start{}))

	var trailers metadata.MD
	_, err = raw.Delete(t.Context(), &api.DeleteReq{}, grpc.Trailer(&trailers))
	require.Equal(t, codes.PermissionDenied, status.Code(err))
	require.Equal(t, []string{"access-denied"}, trailers.Get("exception"))
	_, err = raw.Tombstone(t.Context(), &api.TombstoneReq{}, grpc.Trailer(&trailers))
	require.Equal(t, codes.PermissionDenied, status.Code(err))
	require.Equal(t, []string{"access-denied"}, trailers.Get("exception"))
}

func TestWhatIsLeftOutIsUnimplemented(t *testing.T) {
	t.Parallel()
	socket := serveUnix(t, openNode(t, t.TempDir()))
	client := unixClient(t, socket)
	err := client.CreatePersistentSubscription(t.Context(), "stream", "group", esdb.PersistentStreamSubscriptionOptions{})
	var clientError *esdb.Error
	require.ErrorAs(t, err, &clientError)
	require.Equal(t, esdb.ErrorCodeUnsupportedFeature, clientError.Code())

	batch, err := api.NewStreamsClient(dialUnix(t, socket)).BatchAppend(t.Context())
	require.NoError(t, err)
	_, err = batch.Recv()
	require.Equal(t, codes.Unimplemented, status.Code(err))

	methods, err := features{}.GetSupportedMethods(t.Context(), nil)
	require.NoError(t, err)
	for _, method := range methods.GetMethods() {
		require.NotEqual(t, "batchappend", method.GetMethodName())
	}
}

func TestPanicInCallIsContained(t *testing.T) {
	t.Parallel()
	n := openNode(t, t.TempDir())
	var err error
	func() {
		defer n.recoverPanic("/method", &err)
		panic(errors.New("secret detail"))
	}()
	require.Equal(t, codes.Internal, status.Code(err))
	require.NotContains(t, err.Error(), "secret detail")
}

func TestCredentialsGuardReadingAndAppending(t *testing.T) {
	t.Parallel()
	n := openNode(t, t.TempDir())
	credentials, err := LoadOrCreateCredentials(t.TempDir())
	require.NoError(t, err)
	listener := listenTCP(t)
	address := listener.Addr().String()
	serve(t, func(ctx context.Context) error { return n.ServeTCP(ctx, listener, credentials) })

	connect := func(password string) *esdb.Client {
		c := credentials
		c.Password = password
		configuration, err := esdb.ParseConnectionString(c.ConnectionString(address))
		require.NoError(t, err)
		return newClient(t, configuration)
	}
	event := esdb.EventData{EventType: "x"}
	_, err = connect(credentials.Password).AppendToStream(t.Context(), "stream", esdb.AppendToStreamOptions{}, event)
	require.NoError(t, err)

	nobody, err := esdb.ParseConnectionString("esdb://" + address + "?tlsCAFile=" + credentials.CertificateFile)
	require.NoError(t, err)
	for name, client := range map[string]*esdb.Client{
		"wrong password": connect(credentials.Password + "x"), "part of the password": connect(credentials.Password[:5]), "nobody": newClient(t, nobody),
	} {
		_, err := client.AppendToStream(t.Context(), "stream", esdb.AppendToStreamOptions{}, event)
		var clientError *esdb.Error
		require.ErrorAs(t, err, &clientError, name)
		require.Equal(t, esdb.ErrorCodeUnauthenticated, clientError.Code(), name)
		reader, err := client.ReadAll(t.Context(), esdb.ReadAllOptions{}, 10)
		require.NoError(t, err)
		_, err = reader.Recv()
		require.ErrorAs(t, err, &clientError, name)
		require.Equal(t, esdb.ErrorCodeUnauthenticated, clientError.Code(), name)
	}

	// The node is found by gossip too, under the address that was asked.
	discovered, err := esdb.ParseConnectionString(strings.Replace(credentials.ConnectionString(
		strings.Replace(address, "127.0.0.1", "localhost", 1)), "esdb://", "esdb+discover://", 1))
	require.NoError(t, err)
	require.Equal(t, 1, countEvents(t.Context(), t, newClient(t, discovered), "stream", esdb.Forwards, esdb.Start{}))

	plain := &esdb.Configuration{Address: address, DisableTLS: true, MaxDiscoverAttempts: 1, GossipTimeout: 60}
	_, err = newClient(t, plain).AppendToStream(t.Context(), "stream", esdb.AppendToStreamOptions{}, event)
	require.Error(t, err)
}

func TestServeTCPNeedsCredentials(t *testing.T) {
	t.Parallel()
	n := openNode(t, t.TempDir())
	require.ErrorContains(t, n.ServeTCP(t.Context(), listenTCP(t), Credentials{}), "certificate")
}

func TestServeInsecure(t *testing.T) {
	t.Parallel()
	n := openNode(t, t.TempDir())
	listener := listenTCP(t)
	serve(t, func(ctx context.Context) error { return n.ServeInsecure(ctx, listener) })
	configuration, err := esdb.ParseConnectionString("esdb+discover://" + listener.Addr().String() + "?tls=false")
	require.NoError(t, err)
	_, err = newClient(t, configuration).AppendToStream(t.Context(), "stream", esdb.AppendToStreamOptions{}, esdb.EventData{EventType: "x"})
	require.NoError(t, err)
}

func TestCredentialsAreKept(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "credentials")
	first, err := LoadOrCreateCredentials(dir)
	require.NoError(t, err)
	require.Equal(t, "admin", first.Username)
	require.GreaterOrEqual(t, len(first.Password), 26, "128 bits of randomness")
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, files, 3)
	for _, file := range files {
		info, err := file.Info()
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode(), file.Name())
	}

	again, err := LoadOrCreateCredentials(dir)
	require.NoError(t, err)
	require.Equal(t, first, again)

	// A new host needs a new certificate, which is still good for the former ones.
	wider, err := LoadOrCreateCredentials(dir, "", "events.example.org", "10.1.2.3")
	require.NoError(t, err)
	require.Equal(t, first.Password, wider.Password)
	require.NotEqual(t, first.Certificate.Certificate, wider.Certificate.Certificate)
	for _, host := range []string{"localhost", "127.0.0.1", "::1", "events.example.org", "10.1.2.3"} {
		require.NoError(t, wider.Certificate.Leaf.VerifyHostname(host))
	}
	back, err := LoadOrCreateCredentials(dir)
	require.NoError(t, err)
	require.Equal(t, wider, back)

	require.NoError(t, os.WriteFile(filepath.Join(dir, passwordFile), nil, 0o600))
	_, err = LoadOrCreateCredentials(dir)
	require.ErrorContains(t, err, "is empty")
}
