package projections

import (
	"context"
	"testing"
	"time"

	"github.com/secboard/secboard/pause/pausetest"

	"github.com/secboard/secboard/domain/settings"
)

// While the database takes its time, all who want the settings wait for one query, and each no longer than for itself.
func TestNobodyWaitsForAnothersSecuritySettings(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	ctx := t.Context()
	blocking, err := s.pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = blocking.Rollback(context.WithoutCancel(ctx)) }() // it is over where the test came to its end
	if _, err := blocking.Exec(ctx, `LOCK TABLE history IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	type answer struct {
		security settings.Security
		err      error
	}
	answers := make(chan answer)
	ask := func(ctx context.Context) {
		go func() {
			security, err := s.Security(ctx)
			answers <- answer{security, err}
		}()
	}
	queries := func() (n int) {
		if err := s.pool.QueryRow(ctx, `
			SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'history'::regclass
			AND mode = 'AccessShareLock'
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	ask(ctx)
	pausetest.Until(t, "the first query waits", func() bool { return queries() == 1 })

	gone, leave := context.WithCancel(ctx)
	for range 3 {
		ask(gone)
	}
	leave()
	for range 3 {
		select {
		case a := <-answers:
			if a.err == nil {
				t.Error("somebody who has gone away got settings that nobody knew")
			}
		case <-time.After(patience):
			t.Fatal("somebody who has gone away waits for the query of another")
		}
	}
	if n := queries(); n > 1 {
		t.Errorf("there are %d queries for the same", n)
	}
	if err := blocking.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	<-answers // the first one's, in time or not
	pausetest.Until(t, "the settings are known", func() bool {
		security, err := s.Security(ctx)
		return err == nil && security == settings.DefaultSecurity
	})
	if security, err := s.Security(gone); err != nil || security != settings.DefaultSecurity {
		t.Errorf("what is known is %+v, %v", security, err)
	}
}
