package postgres

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// firstDelay and longestDelay bound the pauses between attempts to connect.
	firstDelay   = 50 * time.Millisecond
	longestDelay = 2 * time.Second
	// connectTimeout is the most for one attempt on one host.
	connectTimeout = 5 * time.Second
)

// sessionSettings are what every query here was written for: statements are
// few and planned once, every access is by an index, and what was acknowledged
// is on disk.
const sessionSettings = `SELECT set_config(name, value, false) FROM (VALUES
	('jit', 'off'), ('plan_cache_mode', 'force_generic_plan'),
	('enable_seqscan', 'off'), ('enable_hashjoin', 'off'), ('enable_mergejoin', 'off'),
	('default_transaction_isolation', 'read committed'), ('client_min_messages', 'warning'),
	('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END)
) AS settings(name, value)`

// connect makes the pool of reading connections and remembers how to make
// others.
func (s *store) connect(ctx context.Context) error {
	config, err := pgxpool.ParseConfig(s.config.URL)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	settings := config.ConnConfig
	if settings.RuntimeParams["application_name"] == "" {
		settings.RuntimeParams["application_name"] = "yare"
	}
	if settings.ConnectTimeout == 0 {
		settings.ConnectTimeout = connectTimeout
		if n := hosts(settings); n > 1 {
			// One host that does not answer leaves time for the others.
			settings.ConnectTimeout = min(connectTimeout, s.config.RequestTimeout/time.Duration(n))
		}
	}
	settings.ValidateConnect, settings.OnNotice = takesWrites, noteWarning
	s.dialer = settings.Copy()
	if s.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	return nil
}

// hosts counts those that the database may be on.
func hosts(settings *pgx.ConnConfig) int {
	distinct := map[string]struct{}{net.JoinHostPort(settings.Host, strconv.Itoa(int(settings.Port))): {}}
	for _, fallback := range settings.Fallbacks {
		distinct[net.JoinHostPort(fallback.Host, strconv.Itoa(int(fallback.Port)))] = struct{}{}
	}
	return len(distinct)
}

// dial makes a connection outside the pool.
func (s *store) dial(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.config.RequestTimeout)
	defer cancel()
	return pgx.ConnectConfig(ctx, s.dialer.Copy())
}

// hangUp ends a connection without waiting long for the other side.
func hangUp(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}

// readAttempts is how many connections a read may find dead: after a fail-over
// many in the pool are.
const readAttempts = 5

// read runs a request that changes nothing, again when its connection turns out
// to be dead. It waits no longer than any request: a server may be gone without
// a word.
func (s *store) read(ctx context.Context, request func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.config.RequestTimeout)
	defer cancel()
	var err error
	for range readAttempts {
		if err = request(ctx); !lostConnection(err) || ctx.Err() != nil {
			return err
		}
	}
	return err
}
