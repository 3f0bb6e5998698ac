package sessions

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/secboard/secboard/domain/settings"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/postgres/pgtest"
	"github.com/secboard/secboard/secrets"
)

// testNow is to the microsecond, as Postgres keeps times.
var testNow = time.Date(2026, time.November, 23, 10, 0, 0, 0, time.UTC)

// newAccount makes a row of the read model users.
func newAccount(t *testing.T, pool *pgxpool.Pool) uuid.UUID {
	t.Helper()
	id := uuid.New()
	_, err := pool.Exec(t.Context(), `
		INSERT INTO users (id, email, first_name, last_name, phone, department, position, active, inactive_reason,
		superuser, require_two_factor,
			source, has_password, two_factor_enrolled, backup_codes_left, language, has_photo, created_at, updated_at,
			revision, name_key, email_key, search)
		VALUES ($1, 'anna@example.com', '', '', '', '', '', true, '', false, false, 'local', true, false, 0, '', false,
		$2, $2, 0, '', '', '')`, id, testNow)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func openSession(t *testing.T, store *Store, session Session, begins Revisions) (string, Session) {
	t.Helper()
	session.ID = uuid.Must(uuid.NewV7())
	session.CreatedAt, session.LastSeenAt, session.ExpiresAt = testNow, testNow, testNow.Add(time.Hour)
	token, err := store.Open(t.Context(), session, begins)
	if err != nil {
		t.Fatal(err)
	}
	return token, session
}

// wantFound checks what a token opens; nil: nothing.
func wantFound(t *testing.T, store *Store, token string, now time.Time, want *Session) {
	t.Helper()
	found, access, err := store.Find(t.Context(), token, now)
	if want == nil {
		if !errors.Is(err, ErrNone) {
			t.Errorf("the token still opens %+v: %v", found, err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(*want, found); diff != "" {
		t.Error(diff)
	}
	if access.UserID != want.UserID || access.Email != "anna@example.com" {
		t.Errorf("what somebody else may do: %+v", access)
	}
}

func TestATokenOpensItsSession(t *testing.T) {
	t.Parallel()
	pool := pgtest.NewDatabase(t)
	store, account := NewStore(pool), newAccount(t, pool)
	token, session := openSession(t, store,
		Session{UserID: account, Kind: TwoFactorSetupOnly, IP: "203.0.113.9", UserAgent: "curl"}, Revisions{})
	_, other := openSession(t, store, Session{UserID: account, Kind: Full}, Revisions{})

	wantFound(t, store, token, testNow, &session)
	wantFound(t, store, token, session.ExpiresAt, nil)
	wantFound(t, store, "another token", testNow, nil)
	var hashed bool
	if err := pool.QueryRow(t.Context(), `SELECT token_hash = $2 FROM app.sessions
		WHERE id = $1`, session.ID, secrets.TokenHash(token)).Scan(&hashed); err != nil || !hashed {
		t.Errorf("not the hash of the token is stored: %v", err)
	}

	if err := store.MakeFull(t.Context(), session.ID); err != nil {
		t.Fatal(err)
	}
	session.Kind = Full
	wantFound(t, store, token, testNow, &session)
	for _, c := range []struct{ after, seen time.Duration }{{touchEvery - time.Second, 0}, {touchEvery, touchEvery}} {
		t.Run("used after "+c.after.String(), func(t *testing.T) {
			if err := store.Touch(t.Context(), other, testNow.Add(c.after)); err != nil {
				t.Fatal(err)
			}
			listed, err := store.OfAccount(t.Context(), account)
			if err != nil || !listed[0].LastSeenAt.Equal(testNow.Add(c.seen)) {
				t.Errorf("%+v %v", listed, err)
			}
		})
	}
}

func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	ended := func(ctx context.Context, pool *pgxpool.Pool, revision int64, kept uuid.UUID) error {
		_, err := pool.Exec(ctx, `UPDATE users SET sessions_ended = $1, session_kept = $2`, revision, kept)
		return err
	}
	joined := uuid.New()
	widened := func(ctx context.Context, pool *pgxpool.Pool, revision int, superuser bool) error {
		_, err := pool.Exec(ctx, `WITH g AS (
			INSERT INTO groups (id, name, description, permissions, retired, created_at, updated_at, revision, widened,
				name_key, search) VALUES ($1, '', '', '{}', false, $2, $2, $3, $3, '', '')),
			m AS (INSERT INTO memberships (user_id, group_id, group_name, joined_at, joined_by_kind, joined_event,
				joined_position) SELECT id, $1, '', $2, 'operator', $1, 1 FROM users)
			UPDATE users SET superuser = $4`, joined, testNow, revision, superuser)
		return err
	}
	for name, c := range map[string]struct {
		end                  func(context.Context, *Store, *pgxpool.Pool, Session) error // given the first of two
		firstGone, otherGone bool
	}{
		"one by itself": {func(ctx context.Context, store *Store, _ *pgxpool.Pool, first Session) error {
			ended, err := store.End(ctx, first.ID)
			if again, _ := store.End(ctx, first.ID); !ended || again {
				return fmt.Errorf("it ended: %t, and again: %t", ended, again)
			}
			return err
		}, true, false},
		"all others": {func(ctx context.Context, store *Store, _ *pgxpool.Pool, first Session) error {
			return store.EndOthers(ctx, first.UserID, first.ID)
		}, false, true},
		"all": {func(ctx context.Context, store *Store, _ *pgxpool.Pool, first Session) error {
			return store.EndOthers(ctx, first.UserID, uuid.Nil)
		}, true, true},
		"none of another account": {func(ctx context.Context, store *Store, _ *pgxpool.Pool, _ Session) error {
			return store.EndOthers(ctx, uuid.New(), uuid.Nil)
		}, false, false},
		"by an event of the account": {func(ctx context.Context, _ *Store, pool *pgxpool.Pool, _ Session) error {
			return ended(ctx, pool, 5, uuid.New())
		}, true, false},
		"by an event that keeps one": {func(ctx context.Context, _ *Store, pool *pgxpool.Pool, first Session) error {
			return ended(ctx, pool, 6, first.ID)
		}, false, true},
		"by a group that gives more": {func(ctx context.Context, _ *Store, pool *pgxpool.Pool, _ Session) error {
			return widened(ctx, pool, 3, false)
		}, true, false},
		"not by one that gave more before": {func(ctx context.Context, _ *Store, pool *pgxpool.Pool, _ Session) error {
			return widened(ctx, pool, 2, false)
		}, false, false},
		"not those of superusers": {func(ctx context.Context, _ *Store, pool *pgxpool.Pool, _ Session) error {
			return widened(ctx, pool, 3, true)
		}, false, false},
		"as expired": {func(ctx context.Context, store *Store, _ *pgxpool.Pool, first Session) error {
			return store.RemoveExpired(ctx, first.ExpiresAt.Add(time.Microsecond))
		}, true, true},
		"not before": {func(ctx context.Context, store *Store, _ *pgxpool.Pool, first Session) error {
			return store.RemoveExpired(ctx, first.ExpiresAt)
		}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := pgtest.NewDatabase(t)
			store, account := NewStore(pool), newAccount(t, pool)
			firstToken, first := openSession(t, store, Session{UserID: account, Kind: Full},
				Revisions{4, map[uuid.UUID]eventstore.Revision{joined: 2}})
			otherToken, other := openSession(t, store, Session{UserID: account, Kind: Full},
				Revisions{5, map[uuid.UUID]eventstore.Revision{joined: 3}})
			if err := c.end(t.Context(), store, pool, first); err != nil {
				t.Fatal(err)
			}
			want, wantList := map[bool]*Session{false: &first, true: nil}, []Session{}
			wantFound(t, store, firstToken, testNow, want[c.firstGone])
			want[false] = &other
			wantFound(t, store, otherToken, testNow, want[c.otherGone])
			if !c.otherGone {
				wantList = append(wantList, other)
			}
			if !c.firstGone {
				wantList = append(wantList, first)
			}
			listed, err := store.OfAccount(t.Context(), account)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(wantList, listed); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestASessionEndsByItself(t *testing.T) {
	t.Parallel()
	security := settings.Security{SessionLength: 60, SessionIdle: 10}
	session := Session{CreatedAt: testNow, LastSeenAt: testNow.Add(45 * time.Minute), ExpiresAt: testNow.Add(time.Hour)}
	tightened := security
	tightened.SessionLength = 50
	for name, c := range map[string]struct {
		security settings.Security
		after    time.Duration
		alive    bool
	}{
		"in use":                    {security, 55 * time.Minute, true},
		"unused for too long":       {security, 55*time.Minute + time.Second, false},
		"expired":                   {security, time.Hour, false},
		"longer than allowed since": {tightened, 50 * time.Minute, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if alive := session.Alive(c.security, testNow.Add(c.after)); alive != c.alive {
				t.Errorf("alive: %t", alive)
			}
		})
	}
}

// No statement that is carried out for a request, or in passing, may read the whole table.
func TestStatementsUseIndexes(t *testing.T) {
	t.Parallel()
	conn, err := pgtest.NewDatabase(t).Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if _, err := conn.Exec(t.Context(), "SET enable_seqscan = off"); err != nil { // as little use as in large tables
		t.Fatal(err)
	}
	for index, c := range map[string]struct {
		statement string
		values    []any
	}{
		"sessions_token_hash_key": {findStatement, []any{[]byte("x"), testNow}},
		"sessions_user_id":        {ofAccountStatement, []any{uuid.New()}},
		"sessions_expires_at":     {removeExpiredStatement, []any{testNow}},
	} {
		t.Run(index, func(t *testing.T) {
			rows, err := conn.Query(t.Context(), "EXPLAIN "+c.statement, c.values...)
			if err != nil {
				t.Fatal(err)
			}
			lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				t.Fatal(err)
			}
			plan := strings.Join(lines, "\n")
			if strings.Contains(plan, "Seq Scan on sessions") || !strings.Contains(plan, index) {
				t.Errorf("%s does not use %s:\n%s", c.statement, index, plan)
			}
		})
	}
}
