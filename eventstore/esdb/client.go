// Package esdb is the event log on EventStoreDB: its official client, which survives no outage by itself, behind one
// that does. In these files esdb.… means the official client's package.
package esdb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/secboard/secboard/eventstore"
)

// Client is an eventstore.Log on EventStoreDB through its official client, guarded against what that client does in an
// outage: it outlasts deadlines, hangs concurrent callers and may never recover. Every call here is bounded; after a
// failure calls are refused at once while one goroutine tries, with a new connection, until the server answers.
type Client struct {
	config  esdb.Configuration
	cluster bool // the server is found among the nodes of a cluster
	logger  *slog.Logger
	timeout time.Duration

	lifetime context.Context
	stop     context.CancelFunc
	recovery sync.WaitGroup

	mu      sync.Mutex
	current *connection
	up      chan struct{} // closed while the server answers
	down    error         // why it does not; nil while up
}

// DefaultTimeout bounds one call to the store: short enough to say 503 within two seconds.
const DefaultTimeout = 1500 * time.Millisecond

// Options of a Client.
type Options struct {
	Logger  *slog.Logger  // nil: slog.Default()
	Timeout time.Duration // of one append or stream read; 0: DefaultTimeout
}

// Connect makes a Client for a connection string (esdb://host:port?tls=false, esdb+discover://…), or for a Unix socket
// (unix:///path). It does not wait for the server.
func Connect(url string, options Options) (*Client, error) {
	config, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	// The official client stops trying after so many attempts and leaves callers hanging; so it has no limit here.
	config.MaxDiscoverAttempts = math.MaxInt32
	config.DiscoveryInterval = 100
	config.GossipTimeout = 1
	config.Logger = esdb.NoopLogging()
	client := &Client{config: *config, logger: options.Logger, timeout: options.Timeout, up: make(chan struct{})}
	if client.logger == nil {
		client.logger = slog.Default()
	}
	if client.timeout == 0 {
		client.timeout = DefaultTimeout
	}
	client.cluster = config.NodePreference == esdb.NodePreferenceLeader &&
		(config.DnsDiscover || len(config.GossipSeeds) > 0)
	close(client.up)
	client.lifetime, client.stop = context.WithCancel(context.Background())
	if client.current, err = dial(client.config, callChannels); err != nil {
		return nil, err
	}
	return client, nil
}

func parseURL(url string) (*esdb.Configuration, error) {
	if strings.HasPrefix(url, "unix://") {
		config, err := esdb.ParseConnectionString("esdb://localhost?tls=false")
		if err != nil {
			return nil, err
		}
		config.Address = url
		return config, nil
	}
	config, err := esdb.ParseConnectionString(url)
	if file, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, fmt.Errorf("its tlsCAFile can't be read: %w", file)
	}
	if err != nil && strings.Contains(err.Error(), "append certificate file") {
		return nil, errors.New("the file of its tlsCAFile holds no certificate in PEM form")
	}
	if err != nil || (config.Address == "" && len(config.GossipSeeds) == 0) {
		// The cause is left out: it repeats the URL, which may hold a password.
		return nil, errors.New("it is not a connection string such as esdb://admin:password@host:2113?tls=true")
	}
	return config, nil
}

// Close ends the connection. Calls under way end first or with eventstore.ErrUnavailable.
func (c *Client) Close() error {
	c.stop()
	c.recovery.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down == nil {
		c.down, c.up = errors.New("the client is closed"), make(chan struct{})
	}
	return c.retire(c.current)
}

// Ping says whether the server answers.
func (c *Client) Ping(ctx context.Context) error {
	_, err := c.End(ctx)
	return err
}

// bounded runs one call on the current connection and returns when ctx or the client's time-out ends, whatever the
// official client does. The call itself ends later by its cancelled context.
func bounded[T any](ctx context.Context, c *Client, call func(context.Context, *esdb.Client) (T, error)) (T, error) {
	var none T
	conn, channel, err := c.acquire()
	if err != nil {
		return none, err
	}
	caller := ctx
	ctx, cancel := context.WithTimeout(c.ofLeader(ctx), c.timeout)
	defer cancel()
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	begun := time.Now()
	go func() {
		defer c.release(conn)
		value, err := call(ctx, channel.client)
		done <- outcome{value, err}
	}()
	select {
	case result := <-done:
		if !late(result.err) {
			err := c.classify(conn, result.err)
			if err == nil || errors.Is(err, eventstore.ErrConflict) {
				c.mu.Lock()
				channel.answered = time.Now()
				c.mu.Unlock()
			}
			return result.value, err
		}
		<-ctx.Done() // the server's clock for the same deadline, or gRPC's, was a little ahead
	case <-ctx.Done():
	}
	if errors.Is(caller.Err(), context.Canceled) {
		return none, caller.Err()
	}
	err = errors.New("no answer in time")
	c.mu.Lock()
	busy := channel.answered.After(begun)
	c.mu.Unlock()
	// A server that answers others is only slow; to drop the connection would fail all their calls too. And when the
	// caller's own time has ended, it may have been too short.
	if !busy && caller.Err() == nil {
		c.lost(conn, err)
	}
	return none, fmt.Errorf("%w: %w", eventstore.ErrUnavailable, err)
}

// ofLeader has a call answered by the cluster's leader only. The official client means to, but its header never leaves
// the process; and what a node reads that is the leader no longer may be old. The refusal of such a node is a lost
// connection: the next one is made to the leader.
func (c *Client) ofLeader(ctx context.Context) context.Context {
	if !c.cluster {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "requires-leader", "true")
}

// late says whether a call ended because its deadline did.
func late(err error) bool {
	return isCode(err, esdb.ErrorCodeDeadlineExceeded) || status.Code(err) == codes.DeadlineExceeded ||
		errors.Is(err, context.DeadlineExceeded)
}

// classify turns an error of the official client into one of ours, and notes a lost connection.
func (c *Client) classify(conn *connection, err error) error {
	var failure *esdb.Error
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return err
	case isCode(err, esdb.ErrorCodeWrongExpectedVersion):
		return eventstore.ErrConflict
	case errors.Is(err, eventstore.ErrTooLarge):
		return err
	case status.Code(err) == codes.Canceled:
		return context.Canceled
	case errors.As(err, &failure):
		switch failure.Code() {
		case esdb.ErrorCodeUnauthenticated, esdb.ErrorCodeAccessDenied:
			return fmt.Errorf("the event store refuses the user or password of the connection string: %w", err)
		case esdb.ErrorCodeUnknown:
			if strings.Contains(err.Error(), "code = InvalidArgument") {
				return fmt.Errorf("the event store refuses the request: %w", err)
			}
		}
	}
	// All else leaves open what happened: the connection broke, or the server is stopping, overloaded or not leader.
	c.lost(conn, err)
	return fmt.Errorf("%w: %w", eventstore.ErrUnavailable, err)
}

func isCode(err error, code esdb.ErrorCode) bool {
	var failure *esdb.Error
	return errors.As(err, &failure) && failure.Code() == code
}

// awaitUp waits until the server answers again; false when ctx ends first.
func (c *Client) awaitUp(ctx context.Context) bool {
	c.mu.Lock()
	up := c.up
	c.mu.Unlock()
	select {
	case <-up:
		return true
	case <-ctx.Done():
	case <-c.lifetime.Done():
	}
	return false
}

// maxAppend is the server's limit for the sum of an append's events, in bytes.
const maxAppend = 1 << 20

// Append implements eventstore.Log. It is refused at once while the server is known to be away; while its outcome is
// unknown it is repeated until ctx or twice the client's time-out ends.
func (c *Client) Append(ctx context.Context, stream string, expected eventstore.Revision,
	events []eventstore.Proposed) (eventstore.Appended, error) {
	options := esdb.AppendToStreamOptions{ExpectedRevision: esdb.NoStream{}}
	if expected != eventstore.NoStream {
		options.ExpectedRevision = esdb.Revision(uint64(expected))
	}
	proposed := make([]esdb.EventData, len(events))
	size := 0
	for i, event := range events {
		proposed[i] = esdb.EventData{EventID: event.ID, EventType: event.Type, ContentType: esdb.ContentTypeJson,
			Data: event.Data, Metadata: event.Metadata}
		size += len(event.Data) + len(event.Metadata) + 2*len(event.Type)
	}
	if size > maxAppend {
		return eventstore.Appended{}, eventstore.ErrTooLarge
	}
	c.mu.Lock()
	err := c.away()
	c.mu.Unlock()
	if err != nil {
		return eventstore.Appended{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*c.timeout)
	defer cancel()
	for {
		result, err := bounded(ctx, c, func(ctx context.Context, client *esdb.Client) (*esdb.WriteResult, error) {
			return client.AppendToStream(ctx, stream, options, proposed...)
		})
		if err == nil {
			return eventstore.Appended{
				Revision: eventstore.Revision(result.NextExpectedVersion),
				Position: eventstore.Position(result.CommitPosition),
			}, nil
		}
		if !errors.Is(err, eventstore.ErrUnavailable) || !c.awaitUp(ctx) {
			return eventstore.Appended{}, err
		}
	}
}

// ReadStream implements eventstore.Log.
func (c *Client) ReadStream(ctx context.Context, name string) ([]eventstore.Recorded, error) {
	return c.readStream(ctx, name, esdb.ReadStreamOptions{From: esdb.Start{}}, math.MaxInt64)
}

// ReadNewest implements eventstore.Log.
func (c *Client) ReadNewest(ctx context.Context, name string, n int) ([]eventstore.Recorded, error) {
	events, err := c.readStream(ctx, name, esdb.ReadStreamOptions{From: esdb.End{}, Direction: esdb.Backwards},
		uint64(n))
	slices.Reverse(events)
	return events, err
}

func (c *Client) readStream(ctx context.Context, name string, options esdb.ReadStreamOptions,
	count uint64) ([]eventstore.Recorded, error) {
	return bounded(ctx, c, func(ctx context.Context, client *esdb.Client) ([]eventstore.Recorded, error) {
		stream, err := client.ReadStream(ctx, name, options, count)
		if err != nil {
			return nil, err
		}
		defer stream.Close()
		var events []eventstore.Recorded
		for {
			// After an error Recv answers io.EOF, as if the stream were complete: the first error counts.
			event, err := stream.Recv()
			switch {
			case errors.Is(err, io.EOF), isCode(err, esdb.ErrorCodeResourceNotFound):
				return events, nil
			case err != nil:
				return nil, err
			}
			events = append(events, recorded(event.Event))
		}
	})
}

// End implements eventstore.Log.
func (c *Client) End(ctx context.Context) (eventstore.Position, error) { return bounded(ctx, c, end) }

func end(ctx context.Context, client *esdb.Client) (eventstore.Position, error) {
	stream, err := client.ReadAll(ctx, esdb.ReadAllOptions{Direction: esdb.Backwards, From: esdb.End{}}, 1)
	if err != nil {
		return 0, err
	}
	defer stream.Close()
	last, err := stream.Recv()
	switch {
	case errors.Is(err, io.EOF):
		return 0, nil
	case err != nil:
		return 0, err
	}
	return recorded(last.Event).Position, nil
}

func recorded(event *esdb.RecordedEvent) eventstore.Recorded {
	return eventstore.Recorded{
		ID: event.EventID, Stream: event.StreamID, Revision: eventstore.Revision(event.EventNumber),
		Position: eventstore.Position(event.Position.Commit),
		Type:     event.EventType, Created: event.CreatedDate, Data: event.Data, Metadata: event.UserMetadata,
	}
}
