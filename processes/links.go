// Package processes holds what follows on events outside of SecBoard. Each process has a checkpoint of its own, which no
// rebuild of read models moves: an effect is not repeated, but for one that a crash interrupts.
package processes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
)

// Mail features that links belong to.
const (
	FeaturePasswordReset = "password_reset"
	FeatureFirstLogin    = "first_login"
)

// Link is one to be mailed. Its URL lets whoever has it into the account: it belongs into the mail and nowhere else.
type Link struct {
	Feature   string // FeaturePasswordReset or FeatureFirstLogin
	UserID    uuid.UUID
	Email     string
	Name      string // of the person
	Language  string // en, uk or ru; "" for that of the site
	URL       string
	ExpiresAt time.Time
}

// Links mails the links that people ask for.
type Links struct {
	Pool     *pgxpool.Pool
	Commands *commands.Handler // for the log, the clock and the tokens, which are stored nowhere
	// BaseURL gives where the pages are, such as https://accounts.example.com.
	BaseURL func(context.Context) (string, error)
	// Mail hands a link over for delivery. After an error it is called again, until the link has expired.
	Mail   func(context.Context, Link) error
	Logger *slog.Logger
}

const (
	linksName = "links"
	// At a stop, a page under way may take drainTime; Watermill waits a little longer.
	drainTime = 5 * time.Second
)

// Run works until ctx ends, through outages of Postgres and of the event store. Any number may run on one database.
func (l *Links) Run(ctx context.Context) error {
	from, err := l.begin(ctx)
	if err != nil {
		return nil //nolint:nilerr // ctx has ended
	}
	tail := eventstore.NewTail(l.Commands.Log, l.Logger)
	subscriber := eventstore.NewSubscriber(tail, l.checkpoint, drainTime, l.Logger)
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: drainTime + 2*time.Second}, watermill.NopLogger{})
	if err != nil {
		return fmt.Errorf("make the router of the process %s: %w", linksName, err)
	}
	router.AddConsumerHandler(linksName, linksName, subscriber, func(msg *message.Message) error {
		page, ok := eventstore.PageOf(msg)
		if !ok {
			return errors.New("the message carries no page")
		}
		err := l.handle(msg.Context(), page)
		if err != nil {
			l.Logger.WarnContext(msg.Context(), "a link could not be mailed yet; it is tried again", "error", err)
		}
		return err
	})
	support, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tail.Run(support, from)
	}()
	err = router.Run(ctx)
	stop()
	<-ended
	return errors.Join(err, subscriber.Close())
}

// begin finds out from where to read, however long Postgres takes to answer; its error is that of ctx.
func (l *Links) begin(ctx context.Context) (eventstore.Position, error) {
	for said := false; ; said = true {
		position, err := l.checkpoint(ctx, linksName)
		if err == nil {
			return position, nil
		}
		if !said && ctx.Err() == nil {
			l.Logger.WarnContext(ctx, "mailing links waits for Postgres", "error", err)
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// checkpoint is the position up to which the log was worked through.
func (l *Links) checkpoint(ctx context.Context, name string) (position eventstore.Position, err error) {
	const query = `INSERT INTO app.process_checkpoints AS c (name, position, updated_at) VALUES ($1, 0, now())
		ON CONFLICT (name) DO UPDATE SET position = c.position RETURNING position`
	err = l.Pool.QueryRow(ctx, query, name).Scan(&position)
	return position, err
}

// handle works on a page. The row of the checkpoint is locked meanwhile, so that of several instances one does it.
func (l *Links) handle(ctx context.Context, page eventstore.Page) error {
	return pgx.BeginFunc(ctx, l.Pool, func(tx pgx.Tx) error {
		var done eventstore.Position
		if err := tx.QueryRow(ctx, `SELECT position FROM app.process_checkpoints WHERE name = $1 FOR UPDATE`, linksName).Scan(&done); err != nil {
			return err
		}
		for i := range page.Events {
			if e := &page.Events[i]; e.Position > done {
				if err := l.follow(ctx, e); err != nil {
					return err
				}
			}
		}
		_, err := tx.Exec(ctx, `UPDATE app.process_checkpoints SET position = greatest(position, $2), updated_at = now() WHERE name = $1`,
			linksName, page.Position())
		return err
	})
}

// follow mails the link that an event asks for. One that has expired is of use to nobody.
func (l *Links) follow(ctx context.Context, e *eventstore.Envelope) error {
	link := Link{}
	var id uuid.UUID
	var token func(account, link uuid.UUID) (string, error)
	var path string
	switch event := e.Event.(type) {
	case user.PasswordResetRequested:
		link.Feature, link.Language, link.ExpiresAt = FeaturePasswordReset, event.Language, event.ExpiresAt
		id, token, path = event.Link, l.Commands.ResetToken, "/password_reset/"
	case user.FirstLoginRequested:
		link.Feature, link.Language, link.ExpiresAt = FeatureFirstLogin, event.Language, event.ExpiresAt
		id, token, path = event.Link, l.Commands.FirstLoginToken, "/first_login/"
	default:
		return nil // also what can't be decoded: it is none of the two, which every version knows
	}
	if !l.Commands.Now().Before(link.ExpiresAt) {
		return nil
	}
	_, subject := domain.SplitStream(e.Stream)
	var err error
	if link.UserID, err = uuid.Parse(subject); err != nil {
		return fmt.Errorf("the stream %q is not named after an account: %w", e.Stream, err)
	}
	account, err := l.account(ctx, e.Stream)
	if err != nil {
		return err
	}
	link.Email, link.Name = account.Details.Email, account.Details.Name()
	if account.Language != "" {
		link.Language = account.Language
	}
	base, err := l.BaseURL(ctx)
	if err != nil {
		return err
	}
	signed, err := token(link.UserID, id)
	if err != nil {
		return err
	}
	link.URL = strings.TrimSuffix(base, "/") + path + signed
	if link.Language != "" {
		link.URL += "?lang=" + link.Language
	}
	return l.Mail(ctx, link)
}

// account is the account as it is now, from the log: the read models may be behind.
func (l *Links) account(ctx context.Context, stream string) (user.State, error) {
	var account user.State
	events, err := l.Commands.Log.ReadStream(ctx, stream)
	for _, recorded := range events {
		envelope := eventstore.Decode(recorded)
		if envelope.Err != nil {
			return account, envelope.Err
		}
		account.Evolve(envelope.Event)
	}
	return account, err
}
