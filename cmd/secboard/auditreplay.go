package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/audit"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/instance"
	"github.com/secboard/secboard/projections"
)

type auditReplayCmd struct {
	Until   string `placeholder:"T|POSITION" help:"Stop after this time, this day (UTC), or the event at this position."`
	Account string `placeholder:"EMAIL|ID" help:"Only what concerns this account: its changes, its sign-ins, and the changes of its groups."`
	JSON    bool   `name:"json" help:"Print JSON: one event per line, then one object with the state at the end."`
	storeSettings
}

// Help is the end of the command's --help.
func (auditReplayCmd) Help() string {
	return `It uses the log alone: what it shows depends on no read model, so it can be compared with them. The
bookkeeping of unique e-mail addresses and names is left out. --account finds an account by a former address too. The
replay itself is recorded, as done by the operator.

Examples:

    secboard audit replay --account anna@example.com
    secboard audit replay --account anna@example.com --until 2026-03-31
    secboard audit replay --until 48213 --json`
}

// bound is where a replay ends: at a time, or after a position.
type bound struct {
	at       time.Time
	position eventstore.Position
}

func readBound(text string) (bound, error) {
	if position, err := strconv.ParseUint(text, 10, 63); err == nil && position > 0 { // no event stands at 0
		return bound{position: eventstore.Position(position)}, nil
	}
	at, err := readTime("--until", text, true)
	if err != nil {
		err = usagef("--until is %q: it must be a time such as 2026-11-23T10:00:00Z, a day such as 2026-11-23 (UTC), "+
			"or a position from 1 on such as 48213", text)
	}
	return bound{at: at}, err
}

// Run carries the command out.
func (c *auditReplayCmd) Run(ctx context.Context, p *program) error {
	until, err := readBound(c.Until)
	if err != nil {
		return err
	}
	return p.with(ctx, &c.storeSettings, instance.Parts{Log: true}, "audit replay", func(st *instance.Stores) error {
		h, err := st.Handler(ctx)
		if err != nil {
			return err
		}
		account := uuid.Nil
		if c.Account != "" {
			if account, err = accountInLog(ctx, st.Log, c.Account); err != nil {
				return err
			}
		}
		recorded, err := h.RecordReading(ctx, commands.OperatorNamed(operatorName()),
			audit.Replayed{AccountID: account, Until: until.at, UntilPosition: uint64(until.position)})
		if err != nil {
			return err
		}
		if until.position == 0 || until.position >= recorded.Position {
			until.position = recorded.Position - 1
		}
		return c.replay(ctx, p, st.Log, until, account)
	})
}

// accountInLog finds an account by its id, or by an e-mail address that it has or had; the last one that had it.
func accountInLog(ctx context.Context, log eventstore.Log, text string) (uuid.UUID, error) {
	if id, err := uuid.Parse(text); err == nil {
		return id, nil
	}
	found := uuid.Nil
	for e, err := range envelopes(ctx, log, bound{}) {
		if err != nil {
			return uuid.Nil, err
		}
		email := ""
		switch event := e.Event.(type) {
		case user.Registered:
			email = event.Email
		case user.EmailChanged:
			email = event.Email.To
		}
		if email != "" && user.NormalizeEmail(email) == user.NormalizeEmail(text) {
			_, id := domain.SplitStream(e.Stream)
			if found, err = uuid.Parse(id); err != nil {
				return uuid.Nil, err
			}
		}
	}
	if found == uuid.Nil {
		return uuid.Nil, fmt.Errorf("no account has or had the e-mail address %s", text)
	}
	return found, nil
}

// envelopes gives the events of the log up to a bound. Times may go back a little from one stream to another, so events
// after the time are skipped.
func envelopes(ctx context.Context, log eventstore.Log, until bound) iter.Seq2[*eventstore.Envelope, error] {
	return func(yield func(*eventstore.Envelope, error) bool) {
		for recorded, err := range log.ReadAll(ctx, 0) {
			if err != nil {
				yield(nil, err)
				return
			}
			if until.position > 0 && recorded.Position > until.position {
				return
			}
			e := eventstore.Decode(recorded)
			if e.Foreign() || !until.at.IsZero() && e.Meta.At.After(until.at) {
				continue
			}
			if !yield(&e, e.Err) {
				return
			}
		}
	}
}

func (c *auditReplayCmd) replay(ctx context.Context, p *program, log eventstore.Log, until bound,
	account uuid.UUID) error {
	replay := projections.NewReplay()
	at := until.at
	for e, err := range envelopes(ctx, log, until) {
		if err != nil {
			return err
		}
		concerned := account == uuid.Nil || replay.Concerns(e, account)
		if err := replay.Apply(e); err != nil {
			return fmt.Errorf("event %s at %d: %w", e.ID, e.Position, err)
		}
		if until.at.IsZero() && e.Meta.At.After(at) {
			at = e.Meta.At
		}
		if !concerned || strings.HasPrefix(e.Type, "claim.") {
			continue
		}
		if err := c.showStep(p, replay.Read(e)); err != nil {
			return err
		}
	}
	if until.at.IsZero() && c.Until == "" {
		at = time.Now().UTC()
	}
	if account != uuid.Nil {
		return c.showEnd(p, replay, account, at)
	}
	return c.showAll(p, replay, at)
}

func (c *auditReplayCmd) showStep(p *program, e projections.AuditEvent) error {
	if c.JSON {
		return json.NewEncoder(p.stdout).Encode(e)
	}
	return p.showEntry(&e.HistoryEntry, subjectText(e.Subject))
}

// showEnd shows the account and its access where the replay ended.
func (c *auditReplayCmd) showEnd(p *program, replay *projections.Replay, id uuid.UUID, at time.Time) error {
	account, err := replay.Account(id, at)
	if errors.Is(err, projections.ErrNotFound) {
		return fmt.Errorf("there is no account %s, or there was none at that time", c.Account)
	}
	if err != nil {
		return err
	}
	access, err := replay.Access(id, projections.AccessFilter{}, at)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(p.stdout).Encode(map[string]any{"account": account, "access": access})
	}
	if err := p.printf("\nAt %s\n", at.Format(time.RFC3339)); err != nil {
		return err
	}
	return p.showAccount(account, access.Items)
}

// showAll shows all accounts where the replay ended.
func (c *auditReplayCmd) showAll(p *program, replay *projections.Replay, at time.Time) error {
	type end struct {
		projections.User
		Access []string `json:"access"` // "module.action"
	}
	accounts := []end{}
	rows := [][]string{{"EMAIL", "NAME", "STATE", "SUPERUSER", "GROUPS", "MAY"}}
	for _, id := range replay.Accounts() {
		account, err := replay.Account(id, at)
		if err != nil {
			return err
		}
		access, err := replay.Access(id, projections.AccessFilter{}, at)
		if err != nil {
			return err
		}
		may := make([]string, len(access.Items))
		for i, item := range access.Items {
			may[i] = item.Module + "." + string(item.Action)
		}
		accounts = append(accounts, end{account, may})
		rows = append(rows, []string{account.Email, access.Name, account.State, yesNo(account.Superuser),
			refNames(account.Groups), shortened(may)})
	}
	if c.JSON {
		return json.NewEncoder(p.stdout).Encode(map[string]any{"at": at, "accounts": accounts})
	}
	if err := p.printf("\nAt %s\n", at.Format(time.RFC3339)); err != nil {
		return err
	}
	return p.table(rows)
}

// shortened lists a few and counts the rest.
func shortened(list []string) string {
	const most = 4
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}
