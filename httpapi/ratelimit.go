package httpapi

import (
	"context"
	"math"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/domain/user"
)

// Attempts to sign in within rateWindow: enough for people and offices behind one network, few for guessing. Those for
// one account are counted for each network by itself: nobody uses up the attempts of an owner who is elsewhere.
const (
	rateWindow         = time.Minute
	signInsPerAccount  = 30
	signInsFromAddress = 300
)

// Links asked for within linkWindow: enough for an office that begins on the same day, few for filling mailboxes. Those
// for one account are counted for each network by itself, too.
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

// Changes of one's own account within ownWindow: more than anybody needs, few enough that its stream can be read for
// years.
const (
	ownWindow  = 24 * time.Hour
	ownChanges = 100
)

// Tests of directories and mail servers within testWindow: enough to set one up, few for looking around in the network.
const (
	testWindow = time.Hour
	tests      = 30
)

// Counters of windows up to shortWindow are removed after it, and those whose keys begin with longWindow after
// ownWindow.
const (
	shortWindow = time.Hour
	longWindow  = "day-"
)

// rate is how often something may be done within a window: for one account, and from one network.
type rate struct {
	name                    string // part of the keys under which it is counted
	window                  time.Duration
	perAccount, fromAddress int
	// perNetwork counts what is done for one account for each network by itself.
	perNetwork bool
}

var (
	signInRate = rate{"sign-ins", rateWindow, signInsPerAccount, signInsFromAddress, true}
	linkRate   = rate{"links", linkWindow, linksPerAccount, linksFromAddress, true}

	contactRate = rate{"messages", linkWindow, messagesPerSender, messagesFromAddress, false}
	// An office changes as many accounts as it has people.
	ownRate  = rate{"own changes", ownWindow, ownChanges, math.MaxInt32, false}
	testRate = rate{"tests", testWindow, tests, math.MaxInt32, false}
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

// limitOwnChanges counts a change of the own account.
func (s *server) limitOwnChanges(ctx huma.Context, next func(huma.Context)) {
	over, err := s.count(ctx.Context(), ownRate, infoOf(ctx.Context()).access.UserID.String())
	if err == nil && over.account {
		err = over.refusal()
	}
	if err != nil {
		s.refuse(ctx, err)
		return
	}
	next(ctx)
}

// limitTests counts a test of a directory or mail server for the person who asks for it.
func (s *server) limitTests(ctx context.Context) error {
	over, err := s.count(ctx, testRate, infoOf(ctx).access.UserID.String())
	if err == nil && over.account {
		return over.refusal()
	}
	return err
}

// count notes one more. account is an e-mail address, or whatever names the account.
func (s *server) count(ctx context.Context, limit rate, account string) (excess, error) {
	network := signin.Network(infoOf(ctx).ip)
	fromAddress, err := s.Commands.Keys.Name(limit.name+" from", network)
	if err != nil {
		return excess{}, err
	}
	account = user.NormalizeEmail(account)
	if limit.perNetwork {
		account = network + " " + account
	}
	ofAccount, err := s.Commands.Keys.Name(limit.name+" of", account)
	if err != nil {
		return excess{}, err
	}
	addressKey, accountKey := "address-"+fromAddress, "email-"+ofAccount
	if limit.window > shortWindow {
		addressKey, accountKey = longWindow+addressKey, longWindow+accountKey
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
		addressKey, accountKey, now, now.Add(-limit.window), now.Add(limit.window))
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
		isAddress := c.Key == addressKey
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
