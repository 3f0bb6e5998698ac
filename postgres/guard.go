package postgres

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/secboard/secboard/pause"
)

// Guard notices that a server is silent: frozen, or behind a network that drops everything. Nothing reports that, and
// each statement, each connection of a pool and each new one would wait for a limit of its own. The guard asks the
// server again and again with a connection of its own; while that is not answered in time, it ends the pool's
// connections, so that statements under way fail, and refuses new ones at once.
type Guard struct {
	logger *slog.Logger
	config *pgx.ConnConfig // of its own connection

	mu    sync.Mutex
	down  bool
	conns map[*guardedConn]struct{}
}

const (
	guardPace = 250 * time.Millisecond
	// silence is how long a server may take to answer nothing at all. With guardPace it is told within two seconds.
	silence = 1500 * time.Millisecond
)

var errSilent = errors.New("the server does not answer")

// NewGuard makes a Guard for one pool: give its Configure to Open, and let it Run.
func NewGuard(logger *slog.Logger) *Guard {
	return &Guard{logger: logger, conns: map[*guardedConn]struct{}{}}
}

// Configure puts the connections of a pool under the guard.
func (g *Guard) Configure(c *pgxpool.Config) {
	g.config = c.ConnConfig.Copy()
	dial := c.ConnConfig.DialFunc
	c.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		if g.silent() {
			return nil, errSilent
		}
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return g.keep(conn)
	}
}

// guardedConn is a connection that the guard can end.
type guardedConn struct {
	net.Conn
	guard *Guard
}

// Close ends the connection.
func (c *guardedConn) Close() error {
	c.guard.mu.Lock()
	delete(c.guard.conns, c)
	c.guard.mu.Unlock()
	return c.Conn.Close()
}

func (g *Guard) keep(conn net.Conn) (net.Conn, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.down { // since it was begun
		return nil, errors.Join(errSilent, conn.Close())
	}
	guarded := &guardedConn{conn, g}
	g.conns[guarded] = struct{}{}
	return guarded, nil
}

func (g *Guard) silent() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.down
}

// Run asks until ctx ends.
func (g *Guard) Run(ctx context.Context) {
	var conn *pgx.Conn
	for pause.For(ctx, guardPace) {
		conn = g.ask(ctx, conn)
	}
	g.drop(conn)
}

// ask asks once, on a connection or, with nil, a new one, and gives the one for the next time.
func (g *Guard) ask(ctx context.Context, conn *pgx.Conn) *pgx.Conn {
	asking, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	var err error
	if conn == nil {
		conn, err = pgx.ConnectConfig(asking, g.config.Copy())
	} else {
		err = conn.Ping(asking)
	}
	if ctx.Err() == nil {
		// A server that refuses is not silent: the pool is refused as quickly.
		g.set(err != nil && asking.Err() != nil && !answered(err))
	}
	if err != nil {
		g.drop(conn)
		return nil
	}
	return conn
}

func answered(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused)
}

// drop closes a connection without waiting for the server to confirm.
func (g *Guard) drop(conn *pgx.Conn) {
	if conn == nil {
		return
	}
	if err := conn.PgConn().Conn().Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		g.logger.Debug("close a connection to Postgres", "error", err)
	}
}

func (g *Guard) set(down bool) {
	g.mu.Lock()
	changed := g.down != down
	g.down = down
	var ending []*guardedConn
	if down {
		for conn := range g.conns {
			ending = append(ending, conn)
		}
	}
	g.mu.Unlock()
	for _, conn := range ending {
		if err := conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			g.logger.Debug("close a connection to a silent Postgres", "error", err)
		}
	}
	switch {
	case changed && down:
		g.logger.Warn("Postgres does not answer", "connections_ended", len(ending))
	case changed:
		g.logger.Info("Postgres answers again")
	}
}
