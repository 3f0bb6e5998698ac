// Package processes holds what follows on events outside of SecBoard. Each process has a checkpoint of its own, which
// no rebuild of read models moves: an effect is not repeated, but for one that a crash interrupts.
package processes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain/mailmessage"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/feed"
	"github.com/secboard/secboard/mailing"
	"github.com/secboard/secboard/pause"
)

// Mail queues the mails that events ask for, and delivers what is queued. Any number may run on one log: each event is
// followed by one of them, and each attempt at a message is reserved on the message's stream.
type Mail struct {
	Pool      *pgxpool.Pool
	Commands  *commands.Handler // for the log, the clock and the tokens of links, which are stored nowhere
	Transport mailing.Transport
	// BaseURL gives where the pages for people are, such as https://accounts.example.com.
	BaseURL func(context.Context) (string, error)
	// Due lists messages that something has to be done about at a time, without those in except and those of closed
	// routes. It may be behind the log.
	Due func(ctx context.Context, at time.Time, except []uuid.UUID, closed []mailmessage.Route,
		limit int) ([]mailmessage.Due, error)
	// Superusers lists the accounts that are superusers. It may be behind the log.
	Superusers func(context.Context) ([]uuid.UUID, error)
	// ShowLink, where it is set, gets the links that no mail account can send, and nothing is queued without one: for
	// the demo. Whoever has a link gets into the account.
	ShowLink func(ctx context.Context, feature, to, url string)
	Logger   *slog.Logger

	batch int // how many due messages are taken at once; 0: scanBatch

	// stuck is the event that failed last, and how often in a row.
	stuck struct {
		at    eventstore.Position
		times int
	}
}

const (
	mailName = "mail"
	// tries is how often an event is worked on that fails while the stores are there.
	tries = 10
)

// Begin decides from where on the log is followed: a log that has been written before the first start asks for nothing
// any more. It has to be called before people are served; later calls change nothing.
func (m *Mail) Begin(ctx context.Context) error {
	var known bool
	if err := m.Pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM app.process_checkpoints
		WHERE name = $1)`, mailName).Scan(&known); err != nil || known {
		return err
	}
	end, err := m.Commands.Log.End(ctx)
	if err != nil {
		return fmt.Errorf("find the end of the log: %w", err)
	}
	_, err = m.Pool.Exec(ctx, `INSERT INTO app.process_checkpoints (name, position, updated_at) VALUES ($1, $2, now())
		ON CONFLICT DO NOTHING`, mailName, end)
	return err
}

// Run works until ctx ends, through outages of Postgres, of the event store and of mail servers. A message being handed
// over is finished before it returns.
func (m *Mail) Run(ctx context.Context) error {
	from, err := m.start(ctx)
	if err != nil {
		return nil // ctx has ended
	}
	delivering, endDelivery := context.WithCancel(ctx)
	defer endDelivery()
	var delivery sync.WaitGroup
	delivery.Go(func() { newDelivery(m).run(delivering) })
	subscriber := feed.NewSubscriber(feed.NewTail(m.Commands.Log, m.Logger), m.checkpoint, m.Logger)
	err = subscriber.Consume(ctx, from, map[string]feed.Handler{mailName: m.handle})
	endDelivery() // also where following the log ended by itself, or that would go unnoticed
	delivery.Wait()
	return err
}

// start finds out from where to read, however long the stores take to answer; its error is that of ctx.
func (m *Mail) start(ctx context.Context) (eventstore.Position, error) {
	for said := false; ; said = true {
		err := m.Begin(ctx)
		if err == nil {
			var position eventstore.Position
			if position, err = m.checkpoint(ctx, mailName); err == nil {
				return position, nil
			}
		}
		if !said && ctx.Err() == nil {
			m.Logger.WarnContext(ctx, "sending mail waits for Postgres and the event store", "error", err)
		}
		if !pause.For(ctx, 500*time.Millisecond) {
			return 0, ctx.Err()
		}
	}
}

// checkpoint is the position up to which the log was worked through.
func (m *Mail) checkpoint(ctx context.Context, name string) (position eventstore.Position, err error) {
	err = m.Pool.QueryRow(ctx, `SELECT position FROM app.process_checkpoints WHERE name = $1`, name).Scan(&position)
	return position, err
}

// handle works on a page. The row of the checkpoint is locked meanwhile, so that of several instances one does it. What
// a crash makes it do again changes nothing: the id of a message comes from the event that asks for it.
func (m *Mail) handle(ctx context.Context, page feed.Page) error {
	err := pgx.BeginFunc(ctx, m.Pool, func(tx pgx.Tx) error {
		var done eventstore.Position
		if err := tx.QueryRow(ctx, `SELECT position FROM app.process_checkpoints
			WHERE name = $1 FOR UPDATE`, mailName).Scan(&done); err != nil {
			return err
		}
		for i := range page.Events {
			if e := &page.Events[i]; e.Position > done {
				if err := m.follow(ctx, e); err != nil {
					return err
				}
			}
		}
		_, err := tx.Exec(ctx, `UPDATE app.process_checkpoints SET position = greatest(position, $2), updated_at = now()
			WHERE name = $1`,
			mailName, page.Position())
		return err
	})
	if err != nil {
		m.Logger.WarnContext(ctx, "mails could not be queued yet; this is tried again", "error", err)
	}
	return err
}

// follow queues the mails that an event asks for. One event that can't be understood must not hold up the mail of
// everybody: it is skipped when it has failed again and again while the stores were there.
func (m *Mail) follow(ctx context.Context, e *eventstore.Envelope) error {
	requests, err := m.requestsOf(ctx, e)
	for i := 0; err == nil && i < len(requests); i++ {
		err = m.queue(ctx, e, requests[i])
	}
	if err == nil || errors.Is(err, eventstore.ErrUnavailable) || ctx.Err() != nil {
		return err
	}
	if m.stuck.at != e.Position {
		m.stuck.at, m.stuck.times = e.Position, 0
	}
	if m.stuck.times++; m.stuck.times < tries {
		return err
	}
	m.Logger.ErrorContext(ctx, "the mails for an event can't be queued; the event is skipped", "event", e.ID,
		"type", e.Type,
		"position", e.Position, "error", err)
	return nil
}

func (m *Mail) queue(ctx context.Context, e *eventstore.Envelope, r mailRequest) error {
	if m.ShowLink != nil {
		_, err := m.Commands.MailSenderFor(ctx,
			commands.MailPurpose{Feature: r.Feature, CompanyID: r.CompanyID, UserID: r.UserID})
		if errors.Is(err, commands.ErrNoMailAccount) {
			return m.show(ctx, r)
		}
		if err != nil {
			return err
		}
	}
	_, err := m.Commands.QueueMail(ctx, e, r.id, r.Queued)
	return err
}
