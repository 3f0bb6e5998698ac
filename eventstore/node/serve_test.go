package node

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/secboard/secboard/pause/pausetest"
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
	pausetest.Until(t, "a socket", func() bool { _, err := os.Stat(socket); return err == nil })

	info, err := os.Stat(socket)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode(); got != os.ModeSocket|0o600 {
		t.Fatalf("info.Mode() = %v, want %v", got, os.ModeSocket|0o600)
	}
	_, err = client.AppendToStream(ctx, "stream", esdb.AppendToStreamOptions{}, esdb.EventData{EventType: "x"})
	if err != nil {
		t.Fatal(err)
	}

	// Somebody answers there: another node doesn't take the socket away.
	if err := openNode(t, t.TempDir()).ServeUnix(ctx, socket); !errors.Is(err, ErrInUse) {
		t.Fatalf("%v, want %v", err, ErrInUse)
	}

	cancel()
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 1 {
		t.Fatalf("nothing but the store is left: %v: got has %d elements, want 1: %v", left, len(left), left)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(shortDir(t), "s")
	// What a killed process leaves: a socket that nobody listens on.
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	if err := stale.Close(); err != nil {
		t.Fatal(err)
	}

	listener, err := listenUnix(socket)
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSocketPathMustMakeSense(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	n := openNode(t, t.TempDir())
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := n.ServeUnix(t.Context(), file); err == nil ||
		!strings.Contains(err.Error(), "something other than a socket") {
		t.Fatalf(`%v does not say "something other than a socket"`, err)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(content); got != "precious" {
		t.Fatalf(`string(content) = %q, want "precious"`, got)
	}

	long := filepath.Join(dir, strings.Repeat("x", 120))
	if err := n.ServeUnix(t.Context(), long); err == nil ||
		!strings.Contains(err.Error(), "too long for a Unix socket") {
		t.Fatalf(`%v does not say "too long for a Unix socket"`, err)
	}
	if err := n.ServeUnix(t.Context(), filepath.Join(dir, "missing", "s")); err == nil ||
		!strings.Contains(err.Error(), "no such file") {
		t.Fatalf(`%v does not say "no such file"`, err)
	}
}

func TestStoppingEndsSubscriptionsAndFinishesAppends(t *testing.T) {
	t.Parallel()
	n := openNode(t, t.TempDir())
	socket := serveUnix(t, n)
	streamsClient := api.NewStreamsClient(dialUnix(t, socket))

	subscription, err := streamsClient.Read(t.Context(), subscribeRequest())
	if err != nil {
		t.Fatal(err)
	}
	confirmation, err := subscription.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if got := confirmation.GetConfirmation(); got == nil {
		t.Fatalf("confirmation.GetConfirmation() = %v, want something", got)
	}
	caughtUp, err := subscription.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if got := caughtUp.GetCaughtUp(); got == nil {
		t.Fatalf("caughtUp.GetCaughtUp() = %v, want something", got)
	}

	underWay, err := streamsClient.Append(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := underWay.Send(appendOptions("stream")); err != nil {
		t.Fatal(err)
	}
	// Calls of one connection arrive in order: when this one is answered, the append has begun.
	_, err = streamsClient.Delete(t.Context(), &api.DeleteReq{})
	if got := status.Code(err); got != codes.PermissionDenied {
		t.Fatalf("status.Code(err) = %v, want %v", got, codes.PermissionDenied)
	}

	closed := make(chan error, 1)
	go func() { closed <- n.Close() }()
	_, err = subscription.Recv()
	if got := status.Code(err); got != codes.Unavailable {
		t.Fatalf("status.Code(err) = %v, want %v", got, codes.Unavailable)
	}

	if err := underWay.Send(appendEvent()); err != nil {
		t.Fatal(err)
	}
	answer, err := underWay.CloseAndRecv()
	if err != nil {
		t.Fatal(err)
	}
	if got := answer.GetSuccess(); got == nil {
		t.Fatalf("answer.GetSuccess() = %v, want something", got)
	}
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if err := n.ServeUnix(t.Context(), filepath.Join(shortDir(t), "s")); !errors.Is(err, ErrClosed) {
		t.Fatalf("%v, want %v", err, ErrClosed)
	}
}

func dialUnix(t testing.TB, socket string) *grpc.ClientConn {
	t.Helper()
	connection, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
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

func subscribeRequest() *api.ReadReq {
	return &api.ReadReq{Options: &api.ReadReq_Options{
		StreamOption: &api.ReadReq_Options_All{All: &api.ReadReq_Options_AllOptions{
			AllOption: &api.ReadReq_Options_AllOptions_Start{Start: &shared.Empty{}},
		}},
		CountOption:  &api.ReadReq_Options_Subscription{Subscription: &api.ReadReq_Options_SubscriptionOptions{}},
		FilterOption: &api.ReadReq_Options_NoFilter{NoFilter: &shared.Empty{}},
		UuidOption: &api.ReadReq_Options_UUIDOption{
			Content: &api.ReadReq_Options_UUIDOption_Structured{Structured: &shared.Empty{}},
		},
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
	if err != nil {
		t.Fatal(err)
	}

	var clientError *esdb.Error
	_, err = client.DeleteStream(t.Context(), "stream", esdb.DeleteStreamOptions{})
	if !errors.As(err, &clientError) {
		t.Fatalf("%T is not of the wanted type: %v", err, err)
	}
	if got := clientError.Code(); got != esdb.ErrorCodeAccessDenied {
		t.Fatalf("clientError.Code() = %v, want %v", got, esdb.ErrorCodeAccessDenied)
	}
	_, err = client.TombstoneStream(t.Context(), "stream", esdb.TombstoneStreamOptions{})
	if !errors.As(err, &clientError) {
		t.Fatalf("%T is not of the wanted type: %v", err, err)
	}
	if got := clientError.Code(); got != esdb.ErrorCodeAccessDenied {
		t.Fatalf("clientError.Code() = %v, want %v", got, esdb.ErrorCodeAccessDenied)
	}
	if got := countEvents(t.Context(), t, client, "stream", esdb.Forwards, esdb.Start{}); got != 1 {
		t.Fatalf("got %v, want 1", got)
	}

	var trailers metadata.MD
	_, err = raw.Delete(t.Context(), &api.DeleteReq{}, grpc.Trailer(&trailers))
	if got := status.Code(err); got != codes.PermissionDenied {
		t.Fatalf("status.Code(err) = %v, want %v", got, codes.PermissionDenied)
	}
	if diff := cmp.Diff([]string{"access-denied"}, trailers.Get("exception")); diff != "" {
		t.Fatalf("trailers.Get(\"exception\") (-want +got):\n%s", diff)
	}
	_, err = raw.Tombstone(t.Context(), &api.TombstoneReq{}, grpc.Trailer(&trailers))
	if got := status.Code(err); got != codes.PermissionDenied {
		t.Fatalf("status.Code(err) = %v, want %v", got, codes.PermissionDenied)
	}
	if diff := cmp.Diff([]string{"access-denied"}, trailers.Get("exception")); diff != "" {
		t.Fatalf("trailers.Get(\"exception\") (-want +got):\n%s", diff)
	}
}

func TestWhatIsLeftOutIsUnimplemented(t *testing.T) {
	t.Parallel()
	socket := serveUnix(t, openNode(t, t.TempDir()))
	client := unixClient(t, socket)
	err := client.CreatePersistentSubscription(t.Context(), "stream", "group",
		esdb.PersistentStreamSubscriptionOptions{})
	var clientError *esdb.Error
	if !errors.As(err, &clientError) {
		t.Fatalf("%T is not of the wanted type: %v", err, err)
	}
	if got := clientError.Code(); got != esdb.ErrorCodeUnsupportedFeature {
		t.Fatalf("clientError.Code() = %v, want %v", got, esdb.ErrorCodeUnsupportedFeature)
	}

	batch, err := api.NewStreamsClient(dialUnix(t, socket)).BatchAppend(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = batch.Recv()
	if got := status.Code(err); got != codes.Unimplemented {
		t.Fatalf("status.Code(err) = %v, want %v", got, codes.Unimplemented)
	}

	methods, err := features{}.GetSupportedMethods(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range methods.GetMethods() {
		if got := method.GetMethodName(); got == "batchappend" {
			t.Fatalf(`method.GetMethodName() = %q, want anything but "batchappend"`, got)
		}
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
	if got := status.Code(err); got != codes.Internal {
		t.Fatalf("status.Code(err) = %v, want %v", got, codes.Internal)
	}
	if got := err.Error(); strings.Contains(got, "secret detail") {
		t.Fatalf(`%q contains "secret detail"`, got)
	}
}

func TestCredentialsGuardReadingAndAppending(t *testing.T) {
	t.Parallel()
	n := openNode(t, t.TempDir())
	credentials, err := LoadOrCreateCredentials(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	listener := listenTCP(t)
	address := listener.Addr().String()
	serve(t, func(ctx context.Context) error { return n.ServeTCP(ctx, listener, credentials) })

	connect := func(password string) *esdb.Client {
		c := credentials
		c.Password = password
		configuration, err := esdb.ParseConnectionString(c.ConnectionString(address))
		if err != nil {
			t.Fatal(err)
		}
		return newClient(t, configuration)
	}
	event := esdb.EventData{EventType: "x"}
	_, err = connect(credentials.Password).AppendToStream(t.Context(), "stream", esdb.AppendToStreamOptions{}, event)
	if err != nil {
		t.Fatal(err)
	}

	nobody, err := esdb.ParseConnectionString("esdb://" + address + "?tlsCAFile=" + credentials.CertificateFile)
	if err != nil {
		t.Fatal(err)
	}
	for name, client := range map[string]*esdb.Client{
		"wrong password":       connect(credentials.Password + "x"),
		"part of the password": connect(credentials.Password[:5]), "nobody": newClient(t, nobody),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := client.AppendToStream(t.Context(), "stream", esdb.AppendToStreamOptions{}, event)
			var clientError *esdb.Error
			if !errors.As(err, &clientError) {
				t.Fatalf("%T is not of the wanted type: %v", err, err)
			}
			if got := clientError.Code(); got != esdb.ErrorCodeUnauthenticated {
				t.Fatalf("got %v, want %v", got, esdb.ErrorCodeUnauthenticated)
			}
			reader, err := client.ReadAll(t.Context(), esdb.ReadAllOptions{}, 10)
			if err != nil {
				t.Fatal(err)
			}
			_, err = reader.Recv()
			if !errors.As(err, &clientError) {
				t.Fatalf("%T is not of the wanted type: %v", err, err)
			}
			if got := clientError.Code(); got != esdb.ErrorCodeUnauthenticated {
				t.Fatalf("got %v, want %v", got, esdb.ErrorCodeUnauthenticated)
			}
		})
	}

	// The node is found by gossip too, under the address that was asked.
	discovered, err := esdb.ParseConnectionString(strings.Replace(credentials.ConnectionString(
		strings.Replace(address, "127.0.0.1", "localhost", 1)), "esdb://", "esdb+discover://", 1))
	if err != nil {
		t.Fatal(err)
	}
	if got := countEvents(t.Context(), t, newClient(t, discovered), "stream", esdb.Forwards, esdb.Start{}); got != 1 {
		t.Fatalf("got %v, want 1", got)
	}

	plain := &esdb.Configuration{Address: address, DisableTLS: true, MaxDiscoverAttempts: 1, GossipTimeout: 60}
	_, err = newClient(t, plain).AppendToStream(t.Context(), "stream", esdb.AppendToStreamOptions{}, event)
	if err == nil {
		t.Fatal("no error")
	}
}

func TestServeTCPNeedsCredentials(t *testing.T) {
	t.Parallel()
	n := openNode(t, t.TempDir())
	if err := n.ServeTCP(t.Context(), listenTCP(t), Credentials{}); err == nil ||
		!strings.Contains(err.Error(), "certificate") {
		t.Fatalf(`%v does not say "certificate"`, err)
	}
}

func TestServeInsecure(t *testing.T) {
	t.Parallel()
	n := openNode(t, t.TempDir())
	listener := listenTCP(t)
	serve(t, func(ctx context.Context) error { return n.ServeInsecure(ctx, listener) })
	configuration, err := esdb.ParseConnectionString("esdb+discover://" + listener.Addr().String() + "?tls=false")
	if err != nil {
		t.Fatal(err)
	}
	_, err = newClient(t, configuration).AppendToStream(t.Context(), "stream", esdb.AppendToStreamOptions{},
		esdb.EventData{EventType: "x"})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCredentialsAreKept(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "credentials")
	first, err := LoadOrCreateCredentials(dir)
	if err != nil {
		t.Fatal(err)
	}
	if first.Username != "admin" {
		t.Fatalf(`first.Username = %q, want "admin"`, first.Username)
	}
	if got := len(first.Password); got < 26 {
		t.Fatalf("128 bits of randomness: got %v, want at least 26", got)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 3 {
		t.Fatalf("files has %d elements, want 3: %v", len(files), files)
	}
	for _, file := range files {
		info, err := file.Info()
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode(); got != os.FileMode(0o600) {
			t.Fatalf("%s: got %v, want %v", file.Name(), got, os.FileMode(0o600))
		}
	}

	again, err := LoadOrCreateCredentials(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, again); diff != "" {
		t.Fatalf("again (-want +got):\n%s", diff)
	}

	// A new host needs a new certificate, which is still good for the former ones.
	wider, err := LoadOrCreateCredentials(dir, "", "events.example.org", "10.1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	if wider.Password != first.Password {
		t.Fatalf("wider.Password = %q, want %q", wider.Password, first.Password)
	}
	if cmp.Equal(first.Certificate.Certificate, wider.Certificate.Certificate) {
		t.Fatalf("wider.Certificate.Certificate = %v, want anything but that", wider.Certificate.Certificate)
	}
	for _, host := range []string{"localhost", "127.0.0.1", "::1", "events.example.org", "10.1.2.3"} {
		t.Run(host, func(t *testing.T) {
			if err := wider.Certificate.Leaf.VerifyHostname(host); err != nil {
				t.Fatal(err)
			}
		})
	}
	back, err := LoadOrCreateCredentials(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wider, back); diff != "" {
		t.Fatalf("back (-want +got):\n%s", diff)
	}

	if err := os.WriteFile(filepath.Join(dir, passwordFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = LoadOrCreateCredentials(dir)
	if err == nil || !strings.Contains(err.Error(), "is empty") {
		t.Fatalf(`%v does not say "is empty"`, err)
	}
}
