package esdb

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"github.com/secboard/secboard/eventstore"
)

// ReadAll implements eventstore.Log.
func (c *Client) ReadAll(ctx context.Context, after eventstore.Position) iter.Seq2[eventstore.Recorded, error] {
	return func(yield func(eventstore.Recorded, error) bool) {
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

// Subscribe implements eventstore.Log. The server leaves its own events out.
func (c *Client) Subscribe(ctx context.Context, after eventstore.Position) iter.Seq2[eventstore.Delivery, error] {
	return func(yield func(eventstore.Delivery, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		conn, err := c.dialApart()
		if err != nil {
			yield(eventstore.Delivery{}, err)
			return
		}
		subscription, err := c.open(ctx, conn, after)
		if err != nil {
			c.check(ctx, err)
			yield(eventstore.Delivery{}, err)
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
				if !yield(eventstore.Delivery{Event: recorded(message.EventAppeared.Event)}, nil) {
					return
				}
			case message.CaughtUp != nil:
				if !yield(eventstore.Delivery{CaughtUp: true}, nil) {
					return
				}
			case message.SubscriptionDropped != nil:
				err := message.SubscriptionDropped.Error
				if ended := ctx.Err(); ended != nil {
					err = ended // which gRPC reports with an error of its own
				} else {
					err = c.classify(conn, err)
					c.check(ctx, err)
				}
				yield(eventstore.Delivery{}, err)
				return
			}
		}
	}
}

// dialApart makes a connection for one subscription, which release closes. On the connection of the calls, where
// streams take turns message by message, each event would wait for the answers to all calls under way: under load,
// projections would get further and further behind, and commands, which wait for them, be more and more at once.
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
	if !errors.Is(err, eventstore.ErrUnavailable) {
		return
	}
	if err := c.Ping(ctx); err != nil {
		c.logger.Debug("calls fail too", "error", err)
	}
}

// open subscribes on a connection within the time-out; on failure the connection is released.
func (c *Client) open(ctx context.Context, conn *connection, after eventstore.Position) (*esdb.Subscription, error) {
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
		err = fmt.Errorf("%w: no answer in time", eventstore.ErrUnavailable)
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
