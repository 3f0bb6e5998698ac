package httpapi

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/domain/user"
)

// Attempts to sign in within rateWindow: enough for people and offices behind one address, few for guessing.
const (
	rateWindow         = time.Minute
	signInsPerAccount  = 30
	signInsFromAddress = 300
)

// limitSignIns counts an attempt for the account, whether it exists or not, and for the address that it comes from.
func (s *server) limitSignIns(ctx context.Context, email string) error {
	address, err := s.Commands.Keys.Name("sign-ins from", network(infoOf(ctx).ip))
	if err != nil {
		return err
	}
	account, err := s.Commands.Keys.Name("sign-ins of", user.NormalizeEmail(email))
	if err != nil {
		return err
	}
	now := s.Now()
	// Always in this order, so that two requests never wait for each other's row.
	rows, err := s.Pool.Query(ctx, `
		INSERT INTO app.rate_limits AS r (key, window_start, count) VALUES ($1, $3, 1), ($2, $3, 1)
		ON CONFLICT (key) DO UPDATE SET
			count        = CASE WHEN r.window_start <= $4 THEN 1 ELSE r.count + 1 END,
			window_start = CASE WHEN r.window_start <= $4 THEN excluded.window_start ELSE r.window_start END
		RETURNING key, window_start, count`,
		"address-"+address, "email-"+account, now, now.Add(-rateWindow))
	if err != nil {
		return err
	}
	type counted struct {
		Key         string
		WindowStart time.Time
		Count       int
	}
	counts, err := pgx.CollectRows(rows, pgx.RowToStructByPos[counted])
	if err != nil {
		return err
	}
	for _, c := range counts {
		most := signInsPerAccount
		if c.Key == "address-"+address {
			most = signInsFromAddress
		}
		if c.Count > most {
			return &refusal{
				status: http.StatusTooManyRequests, code: "rate_limited", headers: retryAfter(c.WindowStart.Add(rateWindow).Sub(now)),
				detail: "too many attempts to sign in: wait a minute",
			}
		}
	}
	return nil
}

// network is what counts as one client: an IPv4 address, or the /64 network that an IPv6 address is in.
func network(ip string) string {
	address, err := netip.ParseAddr(ip)
	if err != nil || address.Is4() {
		return ip
	}
	prefix, err := address.Prefix(64)
	if err != nil {
		return ip
	}
	return prefix.String()
}
