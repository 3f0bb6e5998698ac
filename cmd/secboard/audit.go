package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/instance"
	"github.com/secboard/secboard/projections"
)

type auditCmd struct {
	Account auditAccountCmd `cmd:"" help:"Show an account as it is or was, what it may do and why, and its history."`
	Events  auditEventsCmd  `cmd:"" help:"Show the event log in readable form."`
	Access  auditAccessCmd  `cmd:"" help:"List who may do what, now or at an earlier time, and by which grant."`
	Export  auditExportCmd  `cmd:"" help:"Copy the log to a file or to standard output."`
	Replay  auditReplayCmd  `cmd:"" help:"Walk through the log from its beginning, without Postgres, and show what each event changed."`
}

// readTime reads a time, or a day in UTC, of which it gives the first instant or, with end, the last one. Without a
// text it is the zero time.
func readTime(flag, text string, end bool) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		day, err := domain.ParseDate(text)
		if err != nil {
			return time.Time{},
				usagef("%s is %q: it must be a time such as 2026-11-23T10:00:00Z, or a day such as 2026-11-23 (UTC)",
					flag, text)
		}
		if at = day.Time(); end {
			at = at.Add(24*time.Hour - time.Microsecond)
		}
	}
	if at.IsZero() {
		at = at.Add(time.Microsecond) // else it would count as not given
	}
	return at.UTC(), nil
}

func given(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// audited opens the stores, records that the operator reads the audit, and brings the read models up to that. They
// are kept up to date by `serve`; while none runs, this process does it.
func (p *program) audited(ctx context.Context, s *storeSettings, command string,
	work func(*projections.ReadModels, func(domain.Event) error) error) error {
	return p.withReadModels(ctx, s, command, func(st *instance.Stores) (err error) {
		h, err := st.Handler(ctx)
		if err != nil {
			return err
		}
		readModels, runner := auditing(st)
		running, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- runner.Run(running) }()
		defer func() {
			stop()
			if failed := <-ended; failed != nil && !errors.Is(failed, context.Canceled) {
				err = errors.Join(err, failed)
			}
		}()
		if err := st.CatchUp(ctx, runner, func(text string) { p.complain("secboard: " + text) }); err != nil {
			return err
		}
		return work(readModels, func(reading domain.Event) error {
			_, err := h.RecordReading(ctx, commands.OperatorNamed(operatorName()), reading)
			return err
		})
	})
}

// accountID finds an account by its id or its e-mail address of today.
func accountID(ctx context.Context, models *projections.ReadModels, text string) (uuid.UUID, error) {
	if id, err := uuid.Parse(text); err == nil {
		return id, nil
	}
	page := projections.PageRequest{Limit: projections.MaxLimit}
	for {
		found, err := models.Users(ctx, projections.UserFilter{Query: text}, page, time.Now())
		if err != nil {
			return uuid.Nil, err
		}
		for _, account := range found.Items {
			if user.NormalizeEmail(account.Email) == user.NormalizeEmail(text) {
				return account.ID, nil
			}
		}
		if found.NextCursor == nil {
			return uuid.Nil,
				fmt.Errorf("no account has the e-mail address %s: `secboard audit replay --account` knows former "+
					"addresses too", text)
		}
		page.Cursor = *found.NextCursor
	}
}
