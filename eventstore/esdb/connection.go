package esdb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/pause"
)

// callChannels is how many gRPC connections the calls take in turn. The streams of one take turns message by message,
// so on a single one each call would wait for a part of the answers to all others.
const callChannels = 4

// connection is what calls go over, or one subscription: one or several channels, which live and end together. It
// counts the calls under way, because closing an official client during one can panic.
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

// dial makes a connection of so many channels, none of which goes to the server before its first call.
func dial(config esdb.Configuration, channels int) (*connection, error) {
	conn := &connection{channels: make([]*channel, channels)}
	for i := range conn.channels {
		own := config // the client keeps it
		client, err := esdb.NewClient(&own)
		if err != nil {
			return nil, fmt.Errorf("make a client for the connection string: %w", err)
		}
		conn.channels[i] = &channel{client: client}
	}
	return conn, nil
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
	return fmt.Errorf("%w: %w", eventstore.ErrUnavailable, c.down)
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
			_, err := end(ctx, conn.channels[0].client)
			answered <- err
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
		pause.For(c.lifetime, 100*time.Millisecond)
	}
}
