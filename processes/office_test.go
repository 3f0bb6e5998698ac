package processes

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain/mailaccount"
	"github.com/secboard/secboard/domain/mailserver"
	"github.com/secboard/secboard/domain/settings"
	"github.com/secboard/secboard/eventstore/nodetest"
	"github.com/secboard/secboard/mailing"
	"github.com/secboard/secboard/mailing/mailtest"
	"github.com/secboard/secboard/pause/pausetest"
	"github.com/secboard/secboard/postgres"
	"github.com/secboard/secboard/postgres/pgtest"
	"github.com/secboard/secboard/projections"
	"github.com/secboard/secboard/projections/engine"
	"github.com/secboard/secboard/secrets"
	"github.com/secboard/secboard/secrets/secretstest"
	"github.com/secboard/secboard/targets/targetstest"
)

// office is a log, its read models and the process that sends mail.
type office struct {
	*commands.Handler
	t              *testing.T
	pool           *pgxpool.Pool
	readModels     *projections.ReadModels
	mail           *Mail
	stopReadModels func()
	ahead          atomic.Int64 // how far the clock is ahead of the real one, in nanoseconds
	log            syncedLog
}

// syncedLog keeps what was logged.
type syncedLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *syncedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *syncedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// patience bounds every wait for what has to happen. It is no expectation of how long something takes.
const patience = 3 * time.Minute

func newOffice(t *testing.T) *office {
	t.Helper()
	keys, err := secrets.LoadOrCreateKeyset(filepath.Join(t.TempDir(), "keyset.json"))
	if err != nil {
		t.Fatal(err)
	}
	pool, err := postgres.Open(t.Context(), pgtest.NewDatabaseURL(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	o := &office{t: t, Handler: commands.New(nodetest.Connect(t), keys, secretstest.Hasher(t)), pool: pool,
		readModels: projections.NewReadModels(pool)}
	o.Now = func() time.Time { return time.Now().Add(time.Duration(o.ahead.Load())) }
	o.mail = o.newMail()
	o.runReadModels()
	return o
}

func (o *office) newMail() *Mail {
	return &Mail{
		Pool: o.pool, Commands: o.Handler, Due: o.readModels.DueMail, Superusers: o.readModels.Superusers,
		Transport: mailing.Transport{Targets: targetstest.Loopback},
		Logger:    slog.New(slog.NewTextHandler(&o.log, nil)),
		BaseURL:   func(context.Context) (string, error) { return "https://accounts.example.com/", nil },
	}
}

func (o *office) runReadModels() {
	o.stopReadModels = o.background(engine.NewRunner(projections.Set(), o.pool, o.Log, slog.New(slog.DiscardHandler),
		nil).Run)
}

// start begins to send mail.
func (o *office) start() (stop func()) {
	o.t.Helper()
	if err := o.mail.Begin(o.t.Context()); err != nil {
		o.t.Fatal(err)
	}
	return o.background(o.mail.Run)
}

func (o *office) background(run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			o.t.Error(err)
		}
	})
	o.t.Cleanup(stop)
	return stop
}

// account makes a mail account at a server in the test's process.
func (o *office) account(sink *mailtest.Sink, address string) uuid.UUID {
	o.t.Helper()
	server, err := o.CreateMailServer(o.t.Context(), commands.Operator(), mailserver.Details{
		Name: "Sink", Host: sink.Host, Port: sink.Port, Security: mailserver.None, TimeoutS: 20,
	})
	if err != nil {
		o.t.Fatal(err)
	}
	account, err := o.CreateMailAccount(o.t.Context(), commands.Operator(), mailaccount.Details{
		ServerID: uuid.MustParse(server.ID), Address: address, DisplayName: "SecBoard of Нова",
	}, "")
	if err != nil {
		o.t.Fatal(err)
	}
	return uuid.MustParse(account.ID)
}

// siteAccount makes a mail account that sends everything.
func (o *office) siteAccount(sink *mailtest.Sink) uuid.UUID {
	o.t.Helper()
	id := o.account(sink, "accounts@example.com")
	_, err := o.ChangeSite(o.t.Context(), commands.Operator(), settings.SitePatch{DefaultMailAccountID: &id})
	if err != nil {
		o.t.Fatal(err)
	}
	return id
}

const phrase = "the pass phrase of somebody"

func (o *office) person(email string) uuid.UUID {
	o.t.Helper()
	result, err := o.CreateSuperuser(o.t.Context(), commands.System(), email, phrase)
	if err != nil {
		o.t.Fatal(err)
	}
	return uuid.MustParse(result.ID)
}

func (o *office) askForReset(email, language string) {
	o.t.Helper()
	if err := o.RequestPasswordReset(o.t.Context(), commands.Operator(), email, language); err != nil {
		o.t.Fatal(err)
	}
}

// messages lists all messages, as the read model shows them.
func (o *office) messages() []projections.MailMessage {
	o.t.Helper()
	list, err := o.readModels.MailMessages(o.t.Context(), projections.MailMessageFilter{},
		projections.PageRequest{Limit: 200, Sort: "created_at"})
	if err != nil {
		o.t.Fatal(err)
	}
	return list.Items
}

func (o *office) eventually(what string, check func() bool) {
	o.t.Helper()
	pausetest.Until(o.t, what, check)
}

// settled waits for the states of all messages, oldest first.
func (o *office) settled(states ...string) []projections.MailMessage {
	o.t.Helper()
	var messages []projections.MailMessage
	var found []string
	o.eventually(fmt.Sprint("never came to ", states), func() bool {
		messages, found = o.messages(), nil
		for _, m := range messages {
			found = append(found, m.State)
		}
		return fmt.Sprint(found) == fmt.Sprint(states)
	})
	return messages
}

// pass lets time pass, so that what was put off is due.
func (o *office) pass(d time.Duration) { o.ahead.Add(int64(d)) }
