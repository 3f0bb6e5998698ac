package processes

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/mailmessage"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/mailing"
	"github.com/secboard/secboard/pause"
	"github.com/secboard/secboard/smtpclient"
)

const (
	// scanPace is how often is looked for messages that are due.
	scanPace = 500 * time.Millisecond
	// scanBatch is how many are taken at once.
	scanBatch = 500
	// laneBatches is how many batches wait for one mail server at most; more stay where they are until it has taken
	// some.
	laneBatches = 2
	// perServer is how many connections to one mail server an instance has at most.
	perServer = 4
	// stopGrace is how long a message that is being sent may take after a stop before its connection is closed.
	stopGrace = 15 * time.Second
	// recordTime is how long recording an attempt's outcome is tried within the attempt's time.
	recordTime = 15 * time.Second
)

// attemptTime bounds an attempt at a server: resolving, connecting, TLS, login and the commands before the message each
// have the server's own limit, and the answer to the message's end three of it.
func attemptTime(sender commands.MailSender) time.Duration {
	return 10 * (time.Duration(sender.Server.TimeoutS)*time.Second + time.Second)
}

// delivery hands messages to mail servers. Each server has a queue and connections of its own, so that a slow one
// delays its own messages only.
type delivery struct {
	*Mail
	mu      sync.Mutex
	inHand  map[uuid.UUID]bool
	lanes   map[uuid.UUID]*lane // by mail server
	ending  bool                // no further message is begun
	batch   int
	working sync.WaitGroup
}

// lane is the queue of one mail server.
type lane struct {
	waiting []uuid.UUID
	workers int
}

func newDelivery(m *Mail) *delivery {
	return &delivery{
		Mail: m, inHand: map[uuid.UUID]bool{}, lanes: map[uuid.UUID]*lane{}, batch: cmp.Or(m.batch, scanBatch),
	}
}

// run delivers until ctx ends, and then finishes the messages that are being handed over.
func (d *delivery) run(ctx context.Context) {
	// What is under way outlives ctx by stopGrace.
	work, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	failing := false
	for {
		err := d.scan(ctx, work)
		if err != nil && !failing && ctx.Err() == nil {
			d.Logger.WarnContext(ctx, "mails that are due could not be found; this is tried again", "error", err)
		}
		failing = err != nil
		if !pause.For(ctx, scanPace) {
			break
		}
	}
	d.mu.Lock()
	d.ending = true
	d.mu.Unlock()
	timer := time.AfterFunc(stopGrace, cut)
	defer timer.Stop()
	d.working.Wait()
}

// scan hands out the messages that are due. What goes to a server whose lane is full is skipped: it must keep nothing
// back that goes to another.
func (d *delivery) scan(ctx, work context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	full := []mailmessage.Route{} // that lead to a full lane
	for {
		d.mu.Lock()
		except := slices.AppendSeq([]uuid.UUID{}, maps.Keys(d.inHand))
		d.mu.Unlock()
		due, err := d.Due(ctx, d.Commands.Now(), except, full, d.batch)
		if err != nil {
			return err
		}
		known := len(full)
		for _, message := range due {
			if slices.Contains(full, message.Route) {
				continue
			}
			taken, err := d.take(ctx, work, message.ID)
			if err != nil {
				return err
			}
			if !taken {
				full = append(full, message.Route)
			}
		}
		if len(full) == known {
			return nil
		}
	}
}

// take puts a message into the queue of the server that will send it; taken is false where that is full.
func (d *delivery) take(ctx, work context.Context, id uuid.UUID) (taken bool, err error) {
	m, err := d.Commands.MailOf(ctx, id)
	if err != nil || m.Over() || d.Commands.Now().Before(m.DueAt) {
		return true, err // the read model is behind
	}
	sender, err := d.senderOf(ctx, m)
	if err != nil {
		return true, d.postpone(ctx, m, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.inHand[id] {
		return true, nil
	}
	l := d.lanes[sender.Account.ServerID]
	if l == nil {
		l = &lane{}
		d.lanes[sender.Account.ServerID] = l
	}
	if len(l.waiting) >= laneBatches*d.batch {
		return false, nil
	}
	d.inHand[id] = true
	l.waiting = append(l.waiting, id)
	if l.workers < perServer {
		l.workers++
		d.working.Go(func() { d.work(work, l) })
	}
	return true, nil
}

// postpone puts a message off that can't be sent for a reason of its own, so that it holds up no other. In an outage of
// the event store nothing can be written; the next scan finds the message again.
func (d *delivery) postpone(ctx context.Context, m commands.Mail, err error) error {
	if errors.Is(err, eventstore.ErrUnavailable) || ctx.Err() != nil {
		return err
	}
	reason := err.Error()
	if refused, isRefusal := errors.AsType[*domain.Error](err); isRefusal {
		reason = refused.Detail
	}
	return d.Commands.PostponeMail(ctx, m, reason)
}

func (d *delivery) senderOf(ctx context.Context, m commands.Mail) (commands.MailSender, error) {
	purpose := commands.MailPurpose{Feature: m.Queued.Feature, CompanyID: m.Queued.CompanyID, UserID: m.Queued.UserID}
	if m.Queued.Feature == mailmessage.ContactAutoReply {
		contacts, err := d.Commands.ContactSettings(ctx)
		if err != nil {
			return commands.MailSender{}, err
		}
		if contacts.AutoReply != nil {
			purpose.Preferred = contacts.AutoReply.MailAccountID
		}
	}
	return d.Commands.MailSenderFor(ctx, purpose)
}

// work sends the messages of a queue one after the other, until it is empty or the delivery is ending.
func (d *delivery) work(ctx context.Context, l *lane) {
	for {
		d.mu.Lock()
		if len(l.waiting) == 0 || d.ending {
			l.workers--
			d.mu.Unlock()
			return
		}
		id := l.waiting[0]
		l.waiting = l.waiting[1:]
		d.mu.Unlock()
		if err := d.deliver(ctx, id); err != nil {
			d.Logger.WarnContext(ctx, "a mail could not be processed; this is tried again", "message", id, "error", err)
		}
		d.mu.Lock()
		delete(d.inHand, id)
		d.mu.Unlock()
	}
}

// deliver makes one attempt at a message.
func (d *delivery) deliver(ctx context.Context, id uuid.UUID) error {
	m, err := d.Commands.MailOf(ctx, id)
	if err != nil || m.Over() || d.Commands.Now().Before(m.DueAt) {
		return err // another instance was faster
	}
	sender, err := d.senderOf(ctx, m)
	if err != nil {
		return d.postpone(ctx, m, err)
	}
	content, err := d.contentOf(ctx, m)
	if errors.Is(err, errObsolete) {
		return d.Commands.GiveUpMail(ctx, m, err.Error())
	}
	if err != nil {
		return d.postpone(ctx, m, err)
	}
	msg, err := mailing.Compose(content, sender)
	if err != nil {
		return d.postpone(ctx, m, err)
	}
	limit := attemptTime(sender)
	attempt, started, err := d.Commands.BeginMail(ctx, m, sender.ID, d.Commands.Now().Add(limit+recordTime))
	if err != nil || !started {
		return err
	}
	sending, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	_, err = d.Transport.Send(sending, sender, msg)
	return d.record(ctx, m, attempt, outcomeOf(err))
}

func (d *delivery) contentOf(ctx context.Context, m commands.Mail) (mailing.Message, error) {
	site, err := d.Commands.SiteSettings(ctx)
	if err != nil {
		return mailing.Message{}, err
	}
	if !d.Commands.Now().Before(m.ExpiresAt) {
		return mailing.Message{Site: site}, nil // it is not sent: beginning an attempt gives it up
	}
	content, err := d.content(ctx, m.Queued, site)
	if err != nil {
		return content, err
	}
	return content, d.addLink(ctx, &content, m.Queued)
}

// outcomeOf is what an attempt's error means for the message; nil when the server took it.
func outcomeOf(err error) *mailmessage.Outcome {
	if err == nil {
		return nil
	}
	outcome := &mailmessage.Outcome{Reason: err.Error()}
	if failure, known := errors.AsType[*smtpclient.Failure](err); known {
		outcome.Permanent, outcome.InDoubt = failure.Permanent, failure.InDoubt
		outcome.Reason = domain.Sentences(outcome.Reason, failure.Fix)
	}
	return outcome
}

// record records the outcome of an attempt. While the event store is away it is tried again, also after a stop: what
// is not recorded counts as in doubt, and is sent once more.
func (d *delivery) record(ctx context.Context, m commands.Mail, attempt int, outcome *mailmessage.Outcome) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	for {
		err := d.Commands.EndMail(ctx, m, attempt, outcome)
		if err == nil {
			return nil
		}
		if !pause.For(ctx, 200*time.Millisecond) {
			return err
		}
	}
}
