package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/domain/user"
)

// Attempts to sign in within rateWindow: enough for people and offices behind one address, few for guessing.
const (
	rateWindow         = time.Minute
	signInsPerAccount  = 30
	signInsFromAddress = 300
)

// Links asked for within linkWindow: enough for an office that begins on the same day, few for filling mailboxes.
const (
	linkWindow       = 15 * time.Minute
	linksPerAccount  = 5
	linksFromAddress = 100
)

// Messages of the contact form within linkWindow: enough for people, few for filling the mailboxes of its recipients.
const (
	messagesPerSender   = 5
	messagesFromAddress = 20
)

// rate is how often something may be done within a window: for one account, and from one address.
type rate struct {
	name                    string // part of the keys under which it is counted
	window                  time.Duration
	perAccount, fromAddress int
}

var (
	signInRate = rate{"sign-ins", rateWindow, signInsPerAccount, signInsFromAddress}
	linkRate   = rate{"links", linkWindow, linksPerAccount, linksFromAddress}

	contactRate = rate{"messages", linkWindow, messagesPerSender, messagesFromAddress}
)

// excess says which of the two was done too often, and when the later of their windows ends.
type excess struct {
	account, address bool
	ends             time.Duration
}

// refusal is the answer to it.
func (e excess) refusal() error {
	return &refusal{
		status: http.StatusTooManyRequests, code: domain.CodeRateLimited, headers: retryAfter(e.ends),
		detail: "too many attempts: wait as long as Retry-After says",
	}
}

// limitSignIns counts an attempt for the account, whether it exists or not, and for the address that it comes from.
func (s *server) limitSignIns(ctx context.Context, account string) error {
	over, err := s.count(ctx, signInRate, account)
	if err != nil {
		return err
	}
	if over.account || over.address {
		return over.refusal()
	}
	return nil
}

// count notes one more. account is an e-mail address, or whatever names the account.
func (s *server) count(ctx context.Context, limit rate, account string) (excess, error) {
	fromAddress, err := s.Commands.Keys.Name(limit.name+" from", signin.Network(infoOf(ctx).ip))
	if err != nil {
		return excess{}, err
	}
	ofAccount, err := s.Commands.Keys.Name(limit.name+" of", user.NormalizeEmail(account))
	if err != nil {
		return excess{}, err
	}
	now := s.Now()
	// A window that begins far in the future is from a clock that was wrong; it would last until then.
	// Always in this order, so that two requests never wait for each other's row.
	rows, err := s.Pool.Query(ctx, `
		INSERT INTO app.rate_limits AS r (key, window_start, count) VALUES ($1, $3, 1), ($2, $3, 1)
		ON CONFLICT (key) DO UPDATE SET
			count        = CASE WHEN r.window_start <= $4 OR r.window_start > $5 THEN 1 ELSE r.count + 1 END,
			window_start = CASE WHEN r.window_start <= $4
			OR r.window_start > $5 THEN excluded.window_start ELSE r.window_start END
		RETURNING key, window_start, count`,
		"address-"+fromAddress, "email-"+ofAccount, now, now.Add(-limit.window), now.Add(limit.window))
	if err != nil {
		return excess{}, err
	}
	type counted struct {
		Key         string
		WindowStart time.Time
		Count       int
	}
	counts, err := pgx.CollectRows(rows, pgx.RowToStructByPos[counted])
	var over excess
	for _, c := range counts {
		isAddress := c.Key == "address-"+fromAddress
		switch {
		case isAddress && c.Count > limit.fromAddress:
			over.address = true
		case !isAddress && c.Count > limit.perAccount:
			over.account = true
		default:
			continue
		}
		over.ends = max(over.ends, c.WindowStart.Add(limit.window).Sub(now))
	}
	return over, err
}
