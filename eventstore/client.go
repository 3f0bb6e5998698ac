package eventstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
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
)

// Client is a Log on EventStoreDB through its official client, guarded against what that client does in an outage:
// it outlasts deadlines, hangs concurrent callers and can be dead for good. Every call here is bounded; after a
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

// callChannels is how many gRPC connections the calls take in turn. The streams of one take turns message by message, so on a
// single one each call would wait for a part of the answers to all others.
const callChannels = 4

// connection is what calls go over, or one subscription: one or several channels, which live and end together. It counts the
// calls under way, because closing an official client during one can panic.
type connection struct {
	channels []*channel
	taken    int // calls begun so far
	calls    int
	retired  bool
}

// channel is an official client, and with it a gRPC connection of its own.
type channel struct {
	client   *esdb.Client
	answered time.Time // when a call was last answered
}

// close closes all channels. The caller knows that no call is under way.
func (conn *connection) close() error {
	var errs []error
	for _, channel := range conn.channels {
		errs = append(errs, channel.client.Close())
	}
	return errors.Join(errs...)
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
	// The official client gives up for good after so many attempts, with callers left hanging; so it never gives up.
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
	client.cluster = config.NodePreference == esdb.NodePreferenceLeader && (config.DnsDiscover || len(config.GossipSeeds) > 0)
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
		return nil, fmt.Errorf("SECBOARD_EVENTSTORE_URL: its tlsCAFile can't be read: %w", file)
	}
	if err != nil && strings.Contains(err.Error(), "append certificate file") {
		return nil, errors.New("SECBOARD_EVENTSTORE_URL: the file of its tlsCAFile holds no certificate in PEM form")
	}
	if err != nil || (config.Address == "" && len(config.GossipSeeds) == 0) {
		// The cause is left out: it repeats the URL, which may hold a password.
		return nil, errors.New("SECBOARD_EVENTSTORE_URL is not a connection string such as esdb://admin:password@host:2113?tls=true")
	}
	return config, nil
}

// dial makes a connection of so many channels, none of which goes to the server before its first call.
func dial(config esdb.Configuration, channels int) (*connection, error) {
	conn := &connection{channels: make([]*channel, channels)}
	for i := range conn.channels {
		own := config // the client keeps it
		client, err := esdb.NewClient(&own)
		if err != nil {
			return nil, fmt.Errorf("SECBOARD_EVENTSTORE_URL: %w", err)
		}
		conn.channels[i] = &channel{client: client}
	}
	return conn, nil
}

// Close ends the connection. Calls under way end first or with ErrUnavailable.
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

// retire closes a connection, now or when its last call has ended. The caller holds c.mu.
func (c *Client) retire(conn *connection) error {
	conn.retired = true
	if conn.calls == 0 {
		return conn.close()
	}
	return nil
}

// acquire gives the connection and the channel of it for one call, or says at once that the server is away.
func (c *Client) acquire() (*connection, *channel, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.away(); err != nil {
		return nil, nil, err
	}
	conn := c.current
	conn.calls++
	conn.taken++
	return conn, conn.channels[conn.taken%len(conn.channels)], nil
}

// away says why the server is known to be away; nil while it isn't. The caller holds c.mu.
func (c *Client) away() error {
	if c.down == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, c.down)
}

func (c *Client) release(conn *connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	conn.calls--
	if conn.retired && conn.calls == 0 {
		if err := conn.close(); err != nil {
			c.logger.Warn("close a former event store connection", "error", err)
		}
	}
}

// lost notes that a connection failed and starts the recovery, once.
func (c *Client) lost(failed *connection, cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down != nil || failed != c.current || c.lifetime.Err() != nil {
		return
	}
	c.logger.Warn("event store unavailable", "error", cause)
	c.down, c.up = cause, make(chan struct{})
	if err := c.retire(failed); err != nil {
		c.logger.Warn("close the failed event store connection", "error", err)
	}
	c.recovery.Go(c.recover)
}

// recover tries new connections until one answers. A candidate is given up after a few refusals, because its
// connection may be one into nowhere.
func (c *Client) recover() {
	var candidate *connection
	for attempt := 0; ; attempt++ {
		if candidate == nil {
			var err error
			if candidate, err = dial(c.config, callChannels); err != nil {
				c.logger.Error("event store recovery", "error", err)
				return // the configuration was accepted at the start, so this can't succeed later
			}
		}
		answered := make(chan error, 1)
		c.mu.Lock()
		candidate.calls++
		c.mu.Unlock()
		go func(conn *connection) {
			ctx, cancel := context.WithTimeout(c.ofLeader(c.lifetime), c.timeout)
			defer cancel()
			answered <- ping(ctx, conn.channels[0].client)
			c.release(conn)
		}(candidate)
		var err error
		select {
		case err = <-answered:
		case <-c.lifetime.Done():
			c.mu.Lock()
			defer c.mu.Unlock()
			if err := c.retire(candidate); err != nil {
				c.logger.Warn("close an event store connection", "error", err)
			}
			return
		}
		c.mu.Lock()
		if err == nil {
			c.current, c.down = candidate, nil
			close(c.up)
			c.mu.Unlock()
			c.logger.Info("event store available again")
			return
		}
		c.down = err
		if attempt%3 == 2 || isCode(err, esdb.ErrorCodeConnectionClosed) {
			if err := c.retire(candidate); err != nil {
				c.logger.Warn("close an event store connection", "error", err)
			}
			candidate = nil
		}
		c.mu.Unlock()
		select {
		case <-time.After(100 * time.Millisecond):
		case <-c.lifetime.Done():
		}
	}
}

func ping(ctx context.Context, client *esdb.Client) error {
	stream, err := client.ReadAll(ctx, esdb.ReadAllOptions{Direction: esdb.Backwards, From: esdb.End{}}, 1)
	if err != nil {
		return err
	}
	defer stream.Close()
	if _, err := stream.Recv(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// Ping says whether the server answers.
func (c *Client) Ping(ctx context.Context) error {
	_, err := bounded(ctx, c, func(ctx context.Context, client *esdb.Client) (struct{}, error) {
		return struct{}{}, ping(ctx, client)
	})
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
			if err == nil || errors.Is(err, ErrConflict) {
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
	return none, fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// ofLeader has a call answered by the cluster's leader only. The official client means to, but its header never leaves the process;
// and what a node reads that is the leader no longer may be old. The refusal of such a node is a lost connection: the next one is
// made to the leader.
func (c *Client) ofLeader(ctx context.Context) context.Context {
	if !c.cluster {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "requires-leader", "true")
}

// late says whether a call ended because its deadline did.
func late(err error) bool {
	return isCode(err, esdb.ErrorCodeDeadlineExceeded) || status.Code(err) == codes.DeadlineExceeded || errors.Is(err, context.DeadlineExceeded)
}

// classify turns an error of the official client into one of ours, and notes a lost connection.
func (c *Client) classify(conn *connection, err error) error {
	var failure *esdb.Error
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return err
	case isCode(err, esdb.ErrorCodeWrongExpectedVersion):
		return ErrConflict
	case errors.Is(err, ErrTooLarge):
		return err
	case status.Code(err) == codes.Canceled:
		return context.Canceled
	case errors.As(err, &failure):
		switch failure.Code() {
		case esdb.ErrorCodeUnauthenticated, esdb.ErrorCodeAccessDenied:
			return fmt.Errorf("the event store refuses the user or password in SECBOARD_EVENTSTORE_URL: %w", err)
		case esdb.ErrorCodeUnknown:
			if strings.Contains(err.Error(), "code = InvalidArgument") {
				return fmt.Errorf("the event store refuses the request: %w", err)
			}
		}
	}
	// All else leaves open what happened: the connection broke, or the server is stopping, overloaded or not leader.
	c.lost(conn, err)
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
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

// Append implements Log. It is refused at once while the server is known to be away; while its outcome is unknown it is repeated until
// ctx or twice the client's time-out ends.
func (c *Client) Append(ctx context.Context, stream string, expected Revision, events []Proposed) (Appended, error) {
	options := esdb.AppendToStreamOptions{ExpectedRevision: esdb.NoStream{}}
	if expected != NoStream {
		options.ExpectedRevision = esdb.Revision(uint64(expected))
	}
	proposed := make([]esdb.EventData, len(events))
	size := 0
	for i, event := range events {
		proposed[i] = esdb.EventData{EventID: event.ID, EventType: event.Type, ContentType: esdb.ContentTypeJson, Data: event.Data, Metadata: event.Metadata}
		size += len(event.Data) + len(event.Metadata) + 2*len(event.Type)
	}
	if size > maxAppend {
		return Appended{}, ErrTooLarge
	}
	c.mu.Lock()
	err := c.away()
	c.mu.Unlock()
	if err != nil {
		return Appended{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*c.timeout)
	defer cancel()
	for {
		result, err := bounded(ctx, c, func(ctx context.Context, client *esdb.Client) (*esdb.WriteResult, error) {
			return client.AppendToStream(ctx, stream, options, proposed...)
		})
		if err == nil {
			return Appended{Revision: Revision(result.NextExpectedVersion), Position: Position(result.CommitPosition)}, nil
		}
		if !errors.Is(err, ErrUnavailable) || !c.awaitUp(ctx) {
			return Appended{}, err
		}
	}
}

// ReadStream implements Log.
func (c *Client) ReadStream(ctx context.Context, name string) ([]Recorded, error) {
	return c.readStream(ctx, name, esdb.ReadStreamOptions{From: esdb.Start{}}, math.MaxInt64)
}

// ReadNewest implements Log.
func (c *Client) ReadNewest(ctx context.Context, name string, n int) ([]Recorded, error) {
	events, err := c.readStream(ctx, name, esdb.ReadStreamOptions{From: esdb.End{}, Direction: esdb.Backwards}, uint64(n))
	slices.Reverse(events)
	return events, err
}

func (c *Client) readStream(ctx context.Context, name string, options esdb.ReadStreamOptions, count uint64) ([]Recorded, error) {
	return bounded(ctx, c, func(ctx context.Context, client *esdb.Client) ([]Recorded, error) {
		stream, err := client.ReadStream(ctx, name, options, count)
		if err != nil {
			return nil, err
		}
		defer stream.Close()
		var events []Recorded
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

// ReadAll implements Log.
func (c *Client) ReadAll(ctx context.Context, after Position) iter.Seq2[Recorded, error] {
	return func(yield func(Recorded, error) bool) {
		for delivery, err := range c.Subscribe(ctx, after) {
			if delivery.CaughtUp {
				return
			}
			if !yield(delivery.Event, err) || err != nil {
				return
			}
		}
	}
}

// Subscribe implements Log. The server leaves its own events out.
func (c *Client) Subscribe(ctx context.Context, after Position) iter.Seq2[Delivery, error] {
	return func(yield func(Delivery, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		conn, err := c.dialApart()
		if err != nil {
			yield(Delivery{}, err)
			return
		}
		subscription, err := c.open(ctx, conn, after)
		if err != nil {
			c.check(ctx, err)
			yield(Delivery{}, err)
			return
		}
		defer c.release(conn)
		defer func() {
			if err := subscription.Close(); err != nil {
				c.logger.Warn("close a subscription", "error", err)
			}
		}()
		for {
			message := subscription.Recv()
			switch {
			case message.EventAppeared != nil:
				if !yield(Delivery{Event: recorded(message.EventAppeared.Event)}, nil) {
					return
				}
			case message.CaughtUp != nil:
				if !yield(Delivery{CaughtUp: true}, nil) {
					return
				}
			case message.SubscriptionDropped != nil:
				err := message.SubscriptionDropped.Error
				if ended := ctx.Err(); ended != nil {
					err = ended // which gRPC tells in words of its own
				} else {
					err = c.classify(conn, err)
					c.check(ctx, err)
				}
				yield(Delivery{}, err)
				return
			}
		}
	}
}

// dialApart makes a connection for one subscription, which release closes. On the connection of the calls, where streams take
// turns message by message, each event would wait for the answers to all calls under way: under load, projections would get
// further and further behind, and commands, which wait for them, be more and more at once.
func (c *Client) dialApart() (*connection, error) {
	c.mu.Lock()
	err := c.away()
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	config := c.config
	// Nobody else uses it who could be left hanging, so it may give up when nobody waits for it any more.
	config.MaxDiscoverAttempts = int(c.timeout.Milliseconds())/config.DiscoveryInterval + 1
	conn, err := dial(config, 1)
	if err != nil {
		return nil, err
	}
	conn.calls, conn.retired = 1, true
	return conn, nil
}

// check finds out, when a subscription fails because the server seems to be away, whether it is away for calls too.
func (c *Client) check(ctx context.Context, err error) {
	if !errors.Is(err, ErrUnavailable) {
		return
	}
	if err := c.Ping(ctx); err != nil {
		c.logger.Debug("calls fail too", "error", err)
	}
}

// open subscribes on a connection within the time-out; on failure the connection is released.
func (c *Client) open(ctx context.Context, conn *connection, after Position) (*esdb.Subscription, error) {
	var from esdb.AllPosition = esdb.Start{}
	if after > 0 {
		from = esdb.Position{Commit: uint64(after), Prepare: uint64(after)}
	}
	options := esdb.SubscribeToAllOptions{
		From: from, Filter: esdb.ExcludeSystemEventsFilter(),
		MaxSearchWindow: 1000, CheckpointInterval: 10, // the defaults send a checkpoint every 32 events
	}
	type outcome struct {
		subscription *esdb.Subscription
		err          error
	}
	opened := make(chan outcome, 1)
	go func() {
		subscription, err := conn.channels[0].client.SubscribeToAll(ctx, options)
		opened <- outcome{subscription, err}
	}()
	timeout := time.NewTimer(c.timeout)
	defer timeout.Stop()
	var err error
	select {
	case result := <-opened:
		if result.err == nil {
			return result.subscription, nil
		}
		c.release(conn)
		return nil, c.classify(conn, result.err)
	case <-timeout.C:
		err = fmt.Errorf("%w: no answer in time", ErrUnavailable)
	case <-ctx.Done():
		err = ctx.Err()
	}
	go func() { // the caller's cancelled context ends the late subscription
		if result := <-opened; result.err == nil {
			if err := result.subscription.Close(); err != nil {
				c.logger.Warn("close a late subscription", "error", err)
			}
		}
		c.release(conn)
	}()
	return nil, err
}

func recorded(event *esdb.RecordedEvent) Recorded {
	return Recorded{
		ID: event.EventID, Stream: event.StreamID, Revision: Revision(event.EventNumber), Position: Position(event.Position.Commit),
		Type: event.EventType, Created: event.CreatedDate, Data: event.Data, Metadata: event.UserMetadata,
	}
}
