package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/audit"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/instance"
	"github.com/secboard/secboard/pause"
	"github.com/secboard/secboard/projections"
)

type auditEventsCmd struct {
	Actor       string `placeholder:"EMAIL|ID" help:"Who did it."`
	Subject     string `placeholder:"EMAIL|ID" help:"What it was about: an account's e-mail address, or an id."`
	Type        string `placeholder:"PREFIX" help:"Start of the event's type, such as user.group."`
	From        string `placeholder:"T" help:"Earliest time, or first day (UTC)."`
	To          string `placeholder:"T" help:"Latest time, or last day (UTC)."`
	IP          string `name:"ip" placeholder:"ADDRESS" help:"IP address that the request came from."`
	Correlation string `placeholder:"ID" help:"Only events of one request. The id of a sign-in's event finds everything done in that session."`
	Limit       int    `default:"50" placeholder:"N" help:"Only the newest N, default ${default}; 0 for all."`
	Follow      bool   `help:"Keep showing new events, until Ctrl-C."`
	JSON        bool   `name:"json" help:"Print JSON: a list, or with --follow one object per line."`
	storeSettings
}

// Help is the end of the command's --help.
func (auditEventsCmd) Help() string {
	return `The newest event comes last. The query itself is recorded, once for each run, as done by the operator.

Examples:

    secboard audit events --subject anna@example.com
    secboard audit events --type user.group --from 2026-11-01 --limit 0
    secboard audit events --follow`
}

// followPace is how often what is new is asked for.
const followPace = 500 * time.Millisecond

// Run carries the command out.
func (c *auditEventsCmd) Run(ctx context.Context, p *program) error {
	from, err := readTime("--from", c.From, false)
	if err != nil {
		return err
	}
	to, err := readTime("--to", c.To, true)
	if err != nil {
		return err
	}
	if c.Limit < 0 {
		return usagef("--limit is %d: it must be 0 or more", c.Limit)
	}
	reading := audit.EventsRead{Type: c.Type, From: from, To: to}
	filter := projections.AuditFilter{Type: c.Type, From: given(from), To: given(to)}
	if c.Correlation != "" {
		if reading.CorrelationID, err = uuid.Parse(c.Correlation); err != nil {
			return usagef("--correlation is %q: it must be an id", c.Correlation)
		}
		filter.CorrelationID = &reading.CorrelationID
	}
	if c.IP != "" {
		address, err := netip.ParseAddr(c.IP)
		if err != nil {
			return usagef("--ip is %q: it must be an address such as 203.0.113.9 or 2001:db8::7", c.IP)
		}
		filter.IP = address.Unmap().String()
		reading.IP = filter.IP
	}
	return p.audited(ctx, &c.storeSettings, "audit events",
		func(models *projections.ReadModels, record func(domain.Event) error) error {
			if c.Actor != "" {
				id, err := accountID(ctx, models, c.Actor)
				if err != nil {
					return err
				}
				filter.ActorID = id.String()
			}
			if filter.SubjectID, err = subjectID(ctx, models, c.Subject); err != nil {
				return err
			}
			reading.ActorID, reading.SubjectID = filter.ActorID, filter.SubjectID
			if err := record(reading); err != nil {
				return err
			}
			return c.show(ctx, p, models, filter)
		})
}

// subjectID is the id of a subject: an account may be named by its e-mail address, and not every id is a UUID.
func subjectID(ctx context.Context, models *projections.ReadModels, text string) (string, error) {
	if _, err := uuid.Parse(text); err != nil && !strings.Contains(text, "@") {
		return text, nil // a module's key, the name of settings, or none
	}
	id, err := accountID(ctx, models, text)
	return id.String(), err
}

func (c *auditEventsCmd) show(ctx context.Context, p *program, models *projections.ReadModels,
	filter projections.AuditFilter) error {
	events, err := newest(ctx, models, filter, c.Limit)
	if err != nil {
		return err
	}
	if c.JSON && !c.Follow {
		return p.printJSON(map[string]any{"items": events})
	}
	last, away := eventstore.Position(0), false
	for {
		for i := range events {
			last = events[i].Position
			if err := c.showEvent(p, &events[i]); err != nil {
				return err
			}
		}
		if !c.Follow {
			return nil
		}
		if len(events) == 0 && !pause.For(ctx, followPace) {
			return nil
		}
		events, _, err = models.AuditEvents(ctx, filter,
			projections.AuditPage{After: &last, Limit: projections.MaxLimit})
		select {
		case <-ctx.Done(): // Ctrl-C, which may have cut the query
			return nil
		default:
		}
		switch {
		case instance.Refused(err):
			return err
		case err != nil && !away: // serve may be restarting
			p.complain("secboard: the database does not answer, new events are shown as soon as it does: " +
				err.Error())
		case err == nil && away:
			p.complain("secboard: the database answers again")
		}
		away = err != nil
		slices.Reverse(events)
	}
}

func (c *auditEventsCmd) showEvent(p *program, e *projections.AuditEvent) error {
	if c.JSON {
		return json.NewEncoder(p.stdout).Encode(e)
	}
	return p.showEntry(&e.HistoryEntry, subjectText(e.Subject))
}

// newest gives the newest events, oldest first; limit 0 stands for all.
func newest(ctx context.Context, models *projections.ReadModels, filter projections.AuditFilter,
	limit int) ([]projections.AuditEvent, error) {
	found := []projections.AuditEvent{}
	page := projections.AuditPage{}
	for {
		page.Limit = projections.MaxLimit
		if limit > 0 {
			page.Limit = min(page.Limit, limit-len(found))
		}
		events, more, err := models.AuditEvents(ctx, filter, page)
		if err != nil {
			return nil, err
		}
		found = append(found, events...)
		if !more || limit > 0 && len(found) >= limit {
			slices.Reverse(found)
			return found, nil
		}
		page.Before = &found[len(found)-1].Position
	}
}

func subjectText(s projections.Subject) string {
	if s.Name != nil {
		return s.Kind + " " + printable(*s.Name)
	}
	return s.Kind + " " + s.ID
}

// showEntry prints one event, and each field that it changed.
func (p *program) showEntry(e *projections.HistoryEntry, subject string) error {
	if subject != "" {
		subject += ": "
	}
	from := ""
	if e.IP != nil {
		from = " from " + *e.IP
	}
	if err := p.printf("%s  %-8d %s%s (%s; by %s%s)\n", e.At.Format(time.RFC3339), e.Position, subject,
		printable(e.Summary), e.Type, actorText(e.Actor), from); err != nil {
		return err
	}
	for _, change := range e.Changes {
		if err := p.printf("    %s: %s → %s\n", change.Field, valueText(change.From, change.FromName),
			valueText(change.To, change.ToName)); err != nil {
			return err
		}
	}
	return nil
}

func valueText(value any, name *string) string {
	switch {
	case name != nil:
		return printable(*name)
	case value == nil:
		return "–"
	}
	if text, ok := value.(string); ok {
		return printable(text)
	}
	if text, err := json.Marshal(value); err == nil {
		return printable(string(text))
	}
	return fmt.Sprint(value)
}
