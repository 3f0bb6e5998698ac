package processes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/secboard/secboard/commands"
)

// Directories compares the accounts of each directory with it, as often as its check_minutes say, so that an entry that
// was disabled or removed closes its account without a sign-in.
type Directories struct {
	Pool     *pgxpool.Pool
	Commands *commands.Handler
	Logger   *slog.Logger
	// Pace is how often it is looked which checks are due; 0: every 10 s.
	Pace time.Duration
	// Limit is how long one check may take; 0: commands.CheckTimeout.
	Limit time.Duration
}

// retryCheck is how soon a directory that did not answer is asked again, if its own period is not shorter.
const retryCheck = 5 * time.Minute

// Run works until ctx ends, through outages of everything. Any number may run on one database.
func (d *Directories) Run(ctx context.Context) error {
	pace := d.Pace
	if pace == 0 {
		pace = 10 * time.Second
	}
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	for {
		if err := d.round(ctx); err != nil && ctx.Err() == nil {
			d.Logger.WarnContext(ctx, "directories could not be checked; this is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (d *Directories) round(ctx context.Context) error {
	schedules, err := d.Commands.DirectorySchedules(ctx)
	for _, schedule := range schedules {
		err = errors.Join(err, d.checkIfDue(ctx, schedule))
	}
	return err
}

// checkIfDue checks one directory, unless another instance does or has just done it.
func (d *Directories) checkIfDue(ctx context.Context, schedule commands.DirectorySchedule) error {
	return d.Pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		const lock = `hashtextextended('secboard directory check ' || $1, 0)`
		var locked bool
		if err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock(`+lock+`)`,
			schedule.ID.String()).Scan(&locked); err != nil || !locked {
			return err
		}
		due, err := d.isDue(ctx, conn, schedule)
		if err == nil && due {
			err = d.check(ctx, conn, schedule)
		}
		// A connection that can't unlock is broken, and with it the lock is gone.
		_, unlocking := conn.Exec(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock(`+lock+`)`,
			schedule.ID.String())
		return errors.Join(err, unlocking)
	})
}

func (d *Directories) isDue(ctx context.Context, conn *pgxpool.Conn,
	schedule commands.DirectorySchedule) (bool, error) {
	var last time.Time
	var failed bool
	err := conn.QueryRow(ctx, `SELECT checked_at, error IS NOT NULL FROM app.directory_checks
		WHERE directory_id = $1`, schedule.ID).Scan(&last, &failed)
	if errors.Is(err, pgx.ErrNoRows) {
		return true, nil
	}
	every := schedule.Every
	if failed {
		every = min(every, retryCheck)
	}
	return d.Commands.Now().Sub(last) >= every, err
}

func (d *Directories) check(ctx context.Context, conn *pgxpool.Conn, schedule commands.DirectorySchedule) error {
	limit := cmp.Or(d.Limit, commands.CheckTimeout)
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	check, failed := d.Commands.CheckDirectory(limited, commands.System(), schedule.ID, commands.CheckUnconfirmed)
	if failed != nil && limited.Err() != nil {
		failed = fmt.Errorf("the check was stopped after %s: check whether the directory is slow, or narrow "+
			"user_filter or base_dn: %w", limit, failed)
	}
	logger := d.Logger.With("directory", schedule.Name, "directory_id", schedule.ID)
	var note *string
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case failed != nil:
		text := failed.Error()
		note = &text
		logger.WarnContext(ctx, "the accounts of a directory could not be compared with it", "error", failed)
	case check.Stopped != "":
		logger.WarnContext(ctx, "the check of a directory stopped: somebody has to confirm its changes or correct "+
			"the connection",
			"close", check.Findings.Close, "open", check.Findings.Open, "reason", check.Stopped)
	case len(check.Changes) > 0:
		logger.InfoContext(ctx, "accounts were closed or opened to match their "+
			"directory", "closed", check.Findings.Close,
			"opened", check.Findings.Open)
	}
	_, err := conn.Exec(ctx, `INSERT INTO app.directory_checks (directory_id, checked_at, error) VALUES ($1, $2, $3)
		ON CONFLICT (directory_id) DO UPDATE SET checked_at = excluded.checked_at, error = excluded.error`, schedule.ID,
		d.Commands.Now(), note)
	return err
}
