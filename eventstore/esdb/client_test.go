package esdb_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/secboard/secboard/pause/pausetest"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/esdb"
	"github.com/secboard/secboard/eventstore/nodetest"
	"github.com/secboard/secboard/pause"
)

var quiet = slog.New(slog.DiscardHandler)

const (
	// patience bounds every wait for what has to happen. It is no expectation of how long something takes.
	patience = 3 * time.Minute
	// brief is the client's time-out where a call has to run into it. On a busy machine every other call may run into
	// it as well: those are repeated until they are answered.
	brief = 500 * time.Millisecond
)

func connect(t *testing.T, url string, timeout time.Duration) *esdb.Client {
	t.Helper()
	client, err := esdb.Connect(url, esdb.Options{Logger: quiet, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return client
}

func proposed(n int) []eventstore.Proposed {
	events := make([]eventstore.Proposed, n)
	for i := range events {
		events[i] = eventstore.Proposed{
			ID: uuid.New(), Type: "test.happened", Data: []byte(fmt.Sprintf(`{"n":%d}`, i)),
			Metadata: []byte(`{"who":"me"}`),
		}
	}
	return events
}

// appendOnce appends, again with the same ids while the outcome is unknown.
func appendOnce(t *testing.T, client *esdb.Client, stream string, expected eventstore.Revision,
	events []eventstore.Proposed) {
	t.Helper()
	pausetest.Until(t, "an append", func() bool {
		_, err := client.Append(t.Context(), stream, expected, events)
		if err != nil && !errors.Is(err, eventstore.ErrUnavailable) {
			t.Fatal(err)
		}
		return err == nil
	})
}

func TestAppendsAtExactRevisions(t *testing.T) {
	t.Parallel()
	client := nodetest.Connect(t)
	ctx := t.Context()
	first := proposed(2)
	written, err := client.Append(ctx, "test-1", eventstore.NoStream, first)
	if err != nil || written.Revision != 1 || written.Position == 0 {
		t.Fatalf("append: %+v, %v", written, err)
	}
	if again, err := client.Append(ctx, "test-1", eventstore.NoStream, first); err != nil || again != written {
		t.Errorf("the same append again: %+v, %v", again, err)
	}
	if _, err := client.Append(ctx, "test-1", eventstore.NoStream, proposed(1)); !errors.Is(err,
		eventstore.ErrConflict) {
		t.Errorf("another append at a past revision: %v", err)
	}
	if _, err := client.Append(ctx, "test-1", 1, proposed(1)); err != nil {
		t.Errorf("append at the revision: %v", err)
	}
	events, err := client.ReadStream(ctx, "test-1")
	if err != nil || len(events) != 3 || events[1].ID != first[1].ID || events[1].Revision != 1 ||
		string(events[1].Data) != `{"n":1}` || events[1].Position != written.Position {
		t.Errorf("read: %+v, %v", events, err)
	}
	if none, err := client.ReadStream(ctx, "test-nowhere"); err != nil || len(none) != 0 {
		t.Errorf("a stream that does not exist: %v, %v", none, err)
	}
	huge := proposed(1)
	huge[0].Data = []byte(`"` + strings.Repeat("x", 1<<20) + `"`)
	if _, err := client.Append(ctx, "test-2", eventstore.NoStream, huge); !errors.Is(err, eventstore.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
}

func TestTheEndIsThePositionOfTheLastEvent(t *testing.T) {
	t.Parallel()
	client := nodetest.Connect(t)
	if end, err := client.End(t.Context()); err != nil || end != 0 {
		t.Errorf("the end of an empty log: %d, %v", end, err)
	}
	written, err := client.Append(t.Context(), "test-1", eventstore.NoStream, proposed(3))
	if err != nil {
		t.Fatal(err)
	}
	if end, err := client.End(t.Context()); err != nil || end != written.Position {
		t.Errorf("the end is %d, %v; want %d", end, err, written.Position)
	}
}

func TestReadAllAndSubscribeSeeTheSame(t *testing.T) {
	t.Parallel()
	client := nodetest.Connect(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for i := range 3 {
		if _, err := client.Append(ctx, fmt.Sprintf("test-%d", i), eventstore.NoStream, proposed(2)); err != nil {
			t.Fatal(err)
		}
	}
	var read []eventstore.Recorded
	for event, err := range client.ReadAll(ctx, 0) {
		if err != nil {
			t.Fatal(err)
		}
		read = append(read, event)
	}
	if len(read) != 6 {
		t.Fatalf("read %d events", len(read))
	}
	var seen []eventstore.Recorded
	for delivery, err := range client.Subscribe(ctx, read[1].Position) {
		if err != nil {
			t.Fatal(err)
		}
		if delivery.CaughtUp {
			if len(seen) != 4 {
				t.Errorf("caught up after %d events", len(seen))
			}
			if _, err := client.Append(ctx, "test-late", eventstore.NoStream, proposed(1)); err != nil {
				t.Fatal(err)
			}
			continue
		}
		seen = append(seen, delivery.Event)
		if len(seen) == 5 {
			break
		}
	}
	if seen[0].ID != read[2].ID || seen[4].Stream != "test-late" || seen[4].Position <= read[5].Position {
		t.Errorf("subscribed: %+v", seen)
	}
}

func TestASubscriptionThatIsEndedSaysSo(t *testing.T) {
	t.Parallel()
	client := nodetest.Connect(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for delivery, err := range client.Subscribe(ctx, 0) {
		if delivery.CaughtUp {
			cancel()
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want what other calls answer", err)
		}
	}
	if ctx.Err() == nil {
		t.Error("it did not catch up")
	}
}

func TestAnOutageIsRefusedAtOnceAndHealsByItself(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	address, stop := nodetest.ListenAndServe(t, dir, "127.0.0.1:0")
	client := connect(t, "esdb://"+address+"?tls=false", brief)
	ctx := t.Context()
	appendOnce(t, client, "test-1", eventstore.NoStream, proposed(1))
	stop()
	if _, err := client.ReadStream(ctx, "test-1"); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Fatalf("read without a server: %v", err)
	}
	// Many callers during an outage that is longer than the official client survives.
	failures := make(chan error, 50)
	for range cap(failures) {
		go func() {
			_, err := client.Append(ctx, "test-1", 0, proposed(1))
			failures <- err
		}()
	}
	for range cap(failures) {
		if err := <-failures; !errors.Is(err, eventstore.ErrUnavailable) {
			t.Errorf("append without a server: %v", err)
		}
	}
	outage := time.Now()
	pausetest.Until(t, "a long outage", func() bool { return time.Since(outage) > 1500*time.Millisecond })
	_, stopAgain := nodetest.ListenAndServe(t, dir, address)
	defer stopAgain()
	pausetest.Until(t, "recovery", func() bool {
		events, err := client.ReadStream(ctx, "test-1")
		return err == nil && len(events) == 1
	})
	appendOnce(t, client, "test-1", 0, proposed(1))
}

// proxied starts a node behind a proxy that can be told to misbehave.
func proxied(t *testing.T, timeout time.Duration) (*toxiproxy.Proxy, *esdb.Client) {
	t.Helper()
	address, _ := nodetest.ListenAndServe(t, t.TempDir(), "127.0.0.1:0")
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	proxy := toxiproxy.NewProxy(server, "node", "127.0.0.1:0", address)
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Stop)
	return proxy, connect(t, "esdb://"+proxy.Listen+"?tls=false", timeout)
}

func poison(t *testing.T, proxy *toxiproxy.Proxy, toxic string) {
	t.Helper()
	if _, err := proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
		t.Fatal(err)
	}
}

func TestAnAppendWhoseAnswerIsLostIsWrittenOnce(t *testing.T) {
	t.Parallel()
	proxy, client := proxied(t, brief)
	ctx := t.Context()
	appendOnce(t, client, "test-1", eventstore.NoStream, proposed(1))
	// The request goes through, the answer does not: the connection is cut with its first byte.
	poison(t, proxy, `{"name":"cut","type":"limit_data","stream":"downstream","attributes":{"bytes":0}}`)
	done := make(chan error, 1)
	events := proposed(3)
	go func() {
		_, err := client.Append(ctx, "test-1", 0, events)
		done <- err
	}()
	pausetest.Until(t, "the outage", func() bool { return errors.Is(client.Ping(ctx), eventstore.ErrUnavailable) })
	if err := proxy.Toxics.RemoveToxic(ctx, "cut"); err != nil {
		t.Fatal(err)
	}
	err := <-done
	if errors.Is(err, eventstore.ErrUnavailable) { // its time was over first: the caller asks again, with the same ids
		appendOnce(t, client, "test-1", 0, events)
	} else if err != nil {
		t.Fatal(err)
	}
	var recorded []eventstore.Recorded
	pausetest.Until(t, "reading", func() bool { recorded, err = client.ReadStream(ctx, "test-1"); return err == nil })
	if len(recorded) != 4 {
		t.Errorf("%d events are recorded, want 4", len(recorded))
	}
}

func TestACutReadIsAnErrorAndNotAShortStream(t *testing.T) {
	t.Parallel()
	proxy, client := proxied(t, patience)
	ctx := t.Context()
	for i := range 10 {
		if _, err := client.Append(ctx, "test-1", eventstore.Revision(i*100-1), proposed(100)); err != nil {
			t.Fatal(err)
		}
	}
	poison(t, proxy, `{"name":"cut","type":"limit_data","stream":"downstream","attributes":{"bytes":20000}}`)
	cut := 0
	for range 5 {
		events, err := client.ReadStream(ctx, "test-1")
		if err == nil && len(events) != 1000 {
			t.Fatalf("%d of 1000 events without an error", len(events))
		}
		if err != nil {
			cut++
		}
		n := 0
		for _, err := range client.ReadAll(ctx, 0) {
			if err != nil {
				n = -1
				break
			}
			n++
		}
		if n != -1 && n != 1000 {
			t.Fatalf("%d of 1000 events of the log without an error", n)
		}
	}
	if cut == 0 {
		t.Error("no read was cut: the test shows nothing")
	}
	if err := proxy.Toxics.RemoveToxic(ctx, "cut"); err != nil {
		t.Fatal(err)
	}
	pausetest.Until(t, "recovery", func() bool {
		events, err := client.ReadStream(ctx, "test-1")
		return err == nil && len(events) == 1000
	})
}

func TestABlackHoleIsBoundedAndHeals(t *testing.T) {
	t.Parallel()
	proxy, client := proxied(t, brief)
	ctx := t.Context()
	appendOnce(t, client, "test-1", eventstore.NoStream, proposed(1))
	poison(t, proxy, `{"name":"hole","type":"timeout","stream":"downstream","attributes":{"timeout":0}}`)
	if _, err := client.ReadStream(ctx, "test-1"); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Fatalf("read into a black hole: %v", err)
	}
	if err := proxy.Toxics.RemoveToxic(ctx, "hole"); err != nil {
		t.Fatal(err)
	}
	pausetest.Until(t, "recovery", func() bool { _, err := client.ReadStream(ctx, "test-1"); return err == nil })
}

func TestOneSilentConnectionOfSeveralIsReplaced(t *testing.T) {
	t.Parallel()
	address, _ := nodetest.ListenAndServe(t, t.TempDir(), "127.0.0.1:0")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	silent := make(chan struct{}) // closed: what comes through the first connection is swallowed from now on
	go func() {
		for n := 0; ; n++ {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", address)
			if err != nil {
				t.Error(err)
				return
			}
			hole := silent
			if n > 0 {
				hole = nil
			}
			go relay(from, to, hole)
			go relay(to, from, hole)
		}
	}()
	t.Cleanup(func() {
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
	})
	client := connect(t, "esdb://"+listener.Addr().String()+"?tls=false", 4*brief)
	// So many in a row that one of four connections can't have been missed, whoever else uses them.
	const several = 60
	for range several {
		pausetest.Until(t, "an answer", func() bool { return client.Ping(t.Context()) == nil })
	}
	close(silent)
	ctx, cancel := context.WithCancel(t.Context())
	var others sync.WaitGroup
	defer others.Wait()
	defer cancel()
	for range 3 { // the other connections answer all the time
		others.Go(func() {
			for pause.For(ctx, time.Millisecond) {
				if err := client.Ping(ctx); err != nil && !errors.Is(err, eventstore.ErrUnavailable) &&
					ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
	}
	failed := 0
	for answered := 0; answered < several; {
		if client.Ping(t.Context()) == nil {
			answered++
			continue
		}
		// One or none, but for a machine that is too busy to answer others in time. A connection that is not replaced
		// fails for ever.
		if failed, answered = failed+1, 0; failed > 20 {
			t.Fatalf("%d calls failed, and the silent connection is still used", failed)
		}
		pausetest.Until(t, "recovery", func() bool { return client.Ping(t.Context()) == nil })
	}
}

// relay copies until one side ends; from the moment that hole is closed, into nothing.
func relay(from io.ReadCloser, to io.WriteCloser, hole <-chan struct{}) {
	defer to.Close()   //nolint:errcheck // both ends may have ended already
	defer from.Close() //nolint:errcheck // as above
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		select {
		case <-hole:
			continue
		default:
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// neverReads is a server that answers appends at once and reads never.
type neverReads struct{ api.UnimplementedStreamsServer }

func (neverReads) Read(_ *api.ReadReq, stream api.Streams_ReadServer) error {
	<-stream.Context().Done()
	return stream.Context().Err()
}

func (neverReads) Append(stream api.Streams_AppendServer) error {
	for {
		if _, err := stream.Recv(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
	}
	return stream.SendAndClose(&api.AppendResp{Result: &api.AppendResp_Success_{Success: &api.AppendResp_Success{
		CurrentRevisionOption: &api.AppendResp_Success_CurrentRevision{},
		PositionOption:        &api.AppendResp_Success_NoPosition{NoPosition: &shared.Empty{}},
	}}})
}

func TestASlowCallDoesNotFailTheOthers(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	api.RegisterStreamsServer(server, neverReads{})
	go server.Serve(listener) //nolint:errcheck // it ends with Stop
	t.Cleanup(server.Stop)
	client := connect(t, "esdb://"+listener.Addr().String()+"?tls=false", 6*brief)
	ctx := t.Context()
	slow := make(chan error, 1)
	go func() {
		_, err := client.ReadStream(ctx, "test-slow")
		slow <- err
	}()
	write := func() {
		t.Helper()
		if _, err := client.Append(ctx, "test-1", eventstore.NoStream, proposed(1)); err != nil {
			t.Fatalf("append while another call gets no answer, and after it: %v", err)
		}
	}
	for {
		select {
		case err := <-slow:
			if !errors.Is(err, eventstore.ErrUnavailable) {
				t.Errorf("the slow call: %v", err)
			}
			write()
			return
		case <-time.After(5 * time.Millisecond):
			write()
		}
	}
}

func TestAWrongConnectionStringIsASentenceWithoutThePassword(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"http://admin:hunter2@host:2113", "esdb://", "esdb://admin:hunter2@host:port", "nonsense hunter2",
	} {
		t.Run(url, func(t *testing.T) {
			client, err := esdb.Connect(url, esdb.Options{})
			if err == nil {
				t.Errorf("%q was accepted", url)
				if err := client.Close(); err != nil {
					t.Error(err)
				}
				return
			}
			if !strings.Contains(err.Error(), "connection string") || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%q: %v", url, err)
			}
		})
	}
}

func TestAWrongCertificateFileIsASentenceWithoutThePassword(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"/no/where/ca.pem": "open /no/where/ca.pem: no such file or directory", empty: "holds no certificate",
	} {
		t.Run(want, func(t *testing.T) {
			_, err := esdb.Connect("esdb://admin:hunter2@host:2113?tls=true&tlsCAFile="+file, esdb.Options{})
			if err == nil || !strings.Contains(err.Error(), "tlsCAFile") || !strings.Contains(err.Error(), want) ||
				strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: %v", file, err)
			}
		})
	}
}

// clusterNode is one of two nodes that take turns in leading, and of which every stream is empty.
type clusterNode struct {
	api.UnimplementedStreamsServer
	number    int32
	leader    *atomic.Int32
	addresses [2]*net.TCPAddr
	stale     *atomic.Int32 // reads that a node answered that was not the leader
}

func (n *clusterNode) member(of int32) *gossip.MemberInfo {
	state := gossip.MemberInfo_Follower
	if n.leader.Load() == of {
		state = gossip.MemberInfo_Leader
	}
	address := n.addresses[of]
	return &gossip.MemberInfo{
		InstanceId: &shared.UUID{Value: &shared.UUID_String_{String_: uuid.NewString()}}, State: state, IsAlive: true,
		HttpEndPoint: &gossip.EndPoint{Address: address.IP.String(), Port: uint32(address.Port)},
	}
}

type clusterGossip struct {
	gossip.UnimplementedGossipServer
	node *clusterNode
}

func (g clusterGossip) Read(context.Context, *shared.Empty) (*gossip.ClusterInfo, error) {
	return &gossip.ClusterInfo{Members: []*gossip.MemberInfo{g.node.member(0), g.node.member(1)}}, nil
}

func (n *clusterNode) Read(request *api.ReadReq, stream api.Streams_ReadServer) error {
	if leader := n.leader.Load(); leader != n.number {
		if len(metadata.ValueFromIncomingContext(stream.Context(), "requires-leader")) > 0 {
			address := n.addresses[leader]
			stream.SetTrailer(metadata.Pairs("exception", "not-leader", "leader-endpoint-host", address.IP.String(),
				"leader-endpoint-port", strconv.Itoa(address.Port)))
			return status.Error(codes.NotFound, "Leader info available")
		}
		n.stale.Add(1)
	}
	if request.Options.GetAll() != nil {
		return nil
	}
	return stream.Send(
		&api.ReadResp{Content: &api.ReadResp_StreamNotFound_{StreamNotFound: &api.ReadResp_StreamNotFound{
			StreamIdentifier: request.Options.GetStream().StreamIdentifier,
		}}})
}

func TestOfAClusterOnlyTheLeaderIsBelieved(t *testing.T) {
	t.Parallel()
	var leader, stale atomic.Int32
	var addresses [2]*net.TCPAddr
	var listeners [2]net.Listener
	for i := range listeners {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners[i], addresses[i] = listener, listener.Addr().(*net.TCPAddr)
	}
	for i, listener := range listeners {
		node := &clusterNode{number: int32(i), leader: &leader, addresses: addresses, stale: &stale}
		server := grpc.NewServer()
		api.RegisterStreamsServer(server, node)
		gossip.RegisterGossipServer(server, clusterGossip{node: node})
		go server.Serve(listener) //nolint:errcheck // it ends with Stop
		t.Cleanup(server.Stop)
	}
	client := connect(t, fmt.Sprintf("esdb://%s,%s?tls=false", addresses[0], addresses[1]), brief)
	for _, next := range []int32{0, 1, 0} {
		leader.Store(next)
		for range 10 { // more than there are connections, each of which was made while another may have led
			pausetest.Until(t, "the leader answers", func() bool {
				_, err := client.ReadStream(t.Context(), "user-1")
				return err == nil
			})
		}
	}
	if stale.Load() > 0 {
		t.Errorf("%d reads were answered by a node that was not the leader", stale.Load())
	}
}
