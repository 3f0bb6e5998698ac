// Package sessions keeps who is signed in. It is the only owner of the table app.sessions: nothing else reads or writes
// it.
package sessions

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/secboard/secboard/domain/settings"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections"
	"github.com/secboard/secboard/secrets"
)

// Kind is what a session may do.
type Kind string

// Kinds of session, as they are stored.
const (
	Full               Kind = "full"
	TwoFactorSetupOnly Kind = "two_factor_setup"
)

// Session is a row of app.sessions. IP and UserAgent are empty where unknown.
type Session struct {
	ID         uuid.UUID
	UserID     uuid.UUID
	Kind       Kind
	CreatedAt  time.Time
	LastSeenAt time.Time
	ExpiresAt  time.Time
	IP         string
	UserAgent  string
}

// touchEvery is how often it is recorded that a session is in use.
const touchEvery = time.Minute

// ErrNone says that there is no such session, or none any more.
var ErrNone = errors.New("there is no such session")

// Store is the table of sessions.
type Store struct{ pool *pgxpool.Pool }

// NewStore gives the sessions of a database.
func NewStore(pool *pgxpool.Pool) *Store { return &Store{pool} }

// Length is how long a session lasts at most.
func Length(security settings.Security) time.Duration {
	return time.Duration(security.SessionLength) * time.Minute
}

// Alive says whether a session has not ended by itself. Settings that were tightened count for sessions under way.
func (s Session) Alive(security settings.Security, now time.Time) bool {
	idle := time.Duration(security.SessionIdle) * time.Minute
	return now.Before(s.ExpiresAt) && now.Sub(s.CreatedAt) < Length(security) && now.Sub(s.LastSeenAt) <= idle
}

// Revisions are those of an account and of its groups when a session begins. What is recorded later may end it.
type Revisions struct {
	Account eventstore.Revision
	Groups  map[uuid.UUID]eventstore.Revision
}

// Open stores a session that begins at some revisions, and gives its token, of which only a hash is kept.
func (s *Store) Open(ctx context.Context, session Session, begins Revisions) (token string, err error) {
	random := make([]byte, 32)
	if _, err := rand.Read(random); err != nil {
		return "", err
	}
	token = secrets.TokenText(random)
	_, err = s.pool.Exec(ctx, `
		INSERT INTO app.sessions (id, token_hash, user_id, account_revision, group_revisions, kind, created_at,
		last_seen_at, expires_at, ip, user_agent)
		VALUES ($1, $2, $3, $4, coalesce($5::jsonb, '{}'), $6, $7, $8, $9, nullif($10, ''), nullif($11, ''))`,
		session.ID, secrets.TokenHash(token), session.UserID, begins.Account, begins.Groups, session.Kind,
		session.CreatedAt, session.LastSeenAt, session.ExpiresAt, session.IP, session.UserAgent)
	return token, err
}

// columns are of sessions a, in the order of Session's fields.
const columns = `a.id, a.user_id, a.kind, a.created_at, a.last_seen_at, a.expires_at, coalesce(a.ip, ''),
	coalesce(a.user_agent, '')`

// fromNotEnded are the sessions a that no event has ended, neither of their account u nor of its groups. Those of a
// superuser gain nothing by a group.
const fromNotEnded = ` FROM app.sessions a JOIN users u ON u.id = a.user_id AND (a.account_revision >= u.sessions_ended
	OR a.id = u.session_kept) AND (u.superuser OR NOT EXISTS (SELECT FROM memberships m JOIN groups w
		ON w.id = m.group_id WHERE m.user_id = u.id AND m.left_at IS NULL
		AND w.widened > coalesce((a.group_revisions ->> w.id::text)::bigint, -1)))`

const (
	findStatement = "SELECT " + projections.AccessColumns + ", " + columns + fromNotEnded +
		` WHERE a.token_hash = $1 AND a.expires_at > $2`
	ofAccountStatement = "SELECT " + columns + fromNotEnded +
		` WHERE a.user_id = $1 ORDER BY a.created_at DESC, a.id DESC`
)

// Find gives the session with a token and what its account may do, in one statement. ErrNone when it has expired or was
// ended, too. That an event ended it is seen here as well, so that it ends even where whoever wrote the event crashed
// before removing the row.
func (s *Store) Find(ctx context.Context, token string, now time.Time) (Session, projections.Access, error) {
	var found Session
	access, err := projections.ScanAccess(s.pool.QueryRow(ctx, findStatement, secrets.TokenHash(token), now), now,
		&found.ID, &found.UserID, &found.Kind, &found.CreatedAt, &found.LastSeenAt, &found.ExpiresAt, &found.IP,
		&found.UserAgent)
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNone
	}
	return found, access, err
}

// OfAccount lists an account's sessions, newest first, also those that have ended by themselves.
func (s *Store) OfAccount(ctx context.Context, account uuid.UUID) ([]Session, error) {
	rows, err := s.pool.Query(ctx, ofAccountStatement, account)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Session])
}

// Touch keeps a session from ending as unused.
func (s *Store) Touch(ctx context.Context, session Session, now time.Time) error {
	if now.Sub(session.LastSeenAt) < touchEvery {
		return nil
	}
	_, err := s.pool.Exec(ctx, `UPDATE app.sessions SET last_seen_at = $2 WHERE id = $1 AND last_seen_at < $2`,
		session.ID, now)
	return err
}

// MakeFull lets a session do everything that its account may do, once two-factor is set up.
func (s *Store) MakeFull(ctx context.Context, id uuid.UUID) error {
	_, err := s.pool.Exec(ctx, `UPDATE app.sessions SET kind = $2 WHERE id = $1`, id, Full)
	return err
}

// End removes one session, and says whether this call did: one that ends twice, or at once with another call, did not.
func (s *Store) End(ctx context.Context, id uuid.UUID) (ended bool, err error) {
	removed, err := s.pool.Exec(ctx, `DELETE FROM app.sessions WHERE id = $1`, id)
	return removed.RowsAffected() > 0, err
}

// EndOthers removes all sessions of an account but one; uuid.Nil keeps none. It only makes them end at once: the event
// that ended them does so too, as soon as the read models have it.
func (s *Store) EndOthers(ctx context.Context, account, kept uuid.UUID) error {
	_, err := s.pool.Exec(ctx, `DELETE FROM app.sessions WHERE user_id = $1 AND id <> $2`, account, kept)
	return err
}

const removeExpiredStatement = `DELETE FROM app.sessions WHERE expires_at < $1`

// RemoveExpired removes what nobody can use any more.
func (s *Store) RemoveExpired(ctx context.Context, now time.Time) error {
	_, err := s.pool.Exec(ctx, removeExpiredStatement, now)
	return err
}
