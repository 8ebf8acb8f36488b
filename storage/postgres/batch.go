package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/yare-io/yare/storage"
)

const (
	// maxBatch and maxBatchBytes bound a transaction: its time is what the
	// writes after it wait for.
	maxBatch      = 512
	maxBatchBytes = 2 << 20
	// patienceShare of the time that the last batch took is how long the next one
	// waits for callers to come back, maxPatience at most.
	patienceShare = 8
	maxPatience   = 2 * time.Millisecond
	// idle is after how long the writer makes sure that its connection lives
	// before it entrusts a batch to it.
	idle = time.Second
)

// Statements of a batch. The first makes the transaction the only writer; the
// second, with a snapshot from after that, decides all writes and does those
// that met what they expected. No two of them are about one key.
const (
	lockQuery  = `SELECT ` + synchronous + ` FROM yare_state FOR UPDATE`
	writeQuery = `
WITH asked AS MATERIALIZED (
	SELECT o.n, o.key, o.value, o.expected, c.revision AS previous, c.content AS was,
		CASE WHEN coalesce(c.revision, 0) = o.expected THEN s.revision
			+ count(*) FILTER (WHERE coalesce(c.revision, 0) = o.expected) OVER (ORDER BY o.n) END AS revision,
		clock_timestamp() + nullif(o.ttl, 0) * interval '1 microsecond' AS expires
	FROM yare_state s, unnest($1::bytea[], $2::bytea[], $3::bigint[], $4::bigint[]) WITH ORDINALITY AS o(key, value, expected, ttl, n)
	LEFT JOIN yare_current c ON c.key = o.key
), removed AS (
	DELETE FROM yare_current c USING asked a WHERE c.key = a.key AND a.revision IS NOT NULL AND a.value IS NULL
), replaced AS (
	UPDATE yare_current c SET revision = a.revision, content = a.value, expires = a.expires
	FROM asked a WHERE c.key = a.key AND a.revision IS NOT NULL AND a.value IS NOT NULL AND a.previous IS NOT NULL
), added AS (
	INSERT INTO yare_current (key, revision, content, expires)
	SELECT key, revision, value, expires FROM asked WHERE revision IS NOT NULL AND previous IS NULL
), logged AS (
	INSERT INTO yare_revisions (revision, previous, deleted, key, was, batch)
	SELECT revision, previous, value IS NULL, key, was, $7 FROM asked WHERE revision IS NOT NULL
), told AS (
	UPDATE yare_state SET revision = (SELECT max(revision) FROM asked)
	WHERE EXISTS (SELECT FROM asked WHERE revision IS NOT NULL) RETURNING pg_notify($5, $6)
)
SELECT n, coalesce(revision, 0), previous, CASE WHEN revision IS NULL AND expected <> 0 THEN was END FROM asked`
)

// writer owns the connection that writes.
type writer struct {
	*store
	conn *pgx.Conn
	used time.Time
	// revision is the highest this writer has seen.
	revision int64
	// batch marks the last transaction.
	batch int64
	// company is how many writes were with the writer when the last batch was
	// answered, and took is how long that was under way.
	company int
	took    time.Duration
	// inherited is the lineage that this writer's connection was to, and waited
	// tells whether its last commit waited for a standby.
	inherited string
	waited    bool
	// held are writes that could not be in the last batch.
	held []*write
}

// writeForever writes batches until the store closes. While one is under way
// the next one gathers.
func (s *store) writeForever() {
	w := &writer{store: s, revision: s.hub.position().revision}
	defer w.drop()
	for {
		batch := w.gather()
		if batch == nil {
			return
		}
		w.write(batch)
	}
}

func (w *writer) drop() {
	if w.conn != nil {
		hangUp(w.conn)
		w.conn = nil
	}
}

// gather waits for a write and takes along those that wait too, at most one for
// each key; nil means that the store is closing.
func (w *writer) gather() []*write {
	if len(w.held) == 0 {
		select {
		case first := <-w.writes:
			w.held = append(w.held, first)
		case <-w.ctx.Done():
			return nil
		}
	}
	w.fetch()
	w.await()
	var batch, rest []*write
	bytes, keys := 0, make(map[string]bool, len(w.held))
	for _, next := range w.held {
		switch {
		case next.ctx.Err() != nil:
			next.outcome <- outcome{err: next.ctx.Err()}
		case keys[next.key] || len(batch) == maxBatch || bytes > maxBatchBytes:
			rest = append(rest, next)
			keys[next.key] = true // what comes later for the key stays behind it
		default:
			batch = append(batch, next)
			keys[next.key] = true
			bytes += len(next.stored)
		}
	}
	w.held = rest
	if batch == nil {
		batch = []*write{}
	}
	return batch
}

// fetch takes along what waits.
func (w *writer) fetch() {
	for len(w.held) < 2*maxBatch {
		select {
		case next := <-w.writes:
			w.held = append(w.held, next)
		default:
			return
		}
	}
}

// await gives the callers of the last batch a moment to come back with their
// next writes. Otherwise the first one back would have a batch, and a flush to
// disk, of its own, and the others would wait for it: half the batches for
// nothing. One who writes alone waits for nobody.
func (w *writer) await() {
	company := min(w.company, maxBatch)
	if len(w.held) >= company {
		return
	}
	timer := time.NewTimer(min(w.took/patienceShare, maxPatience))
	defer timer.Stop()
	for len(w.held) < company {
		select {
		case next := <-w.writes:
			w.held = append(w.held, next)
		case <-timer.C:
			return
		case <-w.ctx.Done():
			return
		}
	}
}

// write commits a batch and tells each caller, and the hub, what came of it.
func (w *writer) write(batch []*write) {
	if len(batch) == 0 {
		return
	}
	began := time.Now()
	outcomes, err := w.attempt(batch)
	if pgconn.SafeToRetry(err) {
		// The connection was dead already: nothing has been sent.
		outcomes, err = w.attempt(batch)
	}
	if code(err) == checkViolation {
		// Other processes were so busy that the log has no partition here yet.
		// Nothing was committed.
		if err = w.makeRoom(); err == nil {
			outcomes, err = w.attempt(batch)
		}
	}
	w.took, w.company = time.Since(began), len(batch)+len(w.held)+len(w.writes)
	if err != nil {
		w.config.Logger.Debug("a batch of writes failed", "writes", len(batch), "err", err)
		// Should it have been committed after all, the log tells.
		signal(w.nudge)
	}
	var events []logged
	for i, next := range batch {
		if err != nil {
			next.outcome <- outcome{err: err}
			continue
		}
		if outcomes[i].revision > 0 {
			events = append(events, logged{next.event(outcomes[i]), w.batch})
		}
	}
	if err != nil {
		return
	}
	if len(events) > 0 {
		w.revision = max(w.revision, events[len(events)-1].KV.Revision)
		if !w.hub.append(events) {
			signal(w.nudge)
		}
	}
	w.answer(batch, outcomes)
}

func (w *writer) answer(batch []*write, outcomes []outcome) {
	for i, next := range batch {
		if next.ttl > 0 && outcomes[i].revision > 0 {
			signal(w.expiring)
		}
		next.outcome <- outcomes[i]
	}
}

// event is what watchers see of a write that was done.
func (w *write) event(o outcome) storage.Event {
	e := storage.Event{Type: storage.Updated, KV: storage.KV{Key: w.key, Value: w.value, Revision: o.revision}}
	switch {
	case w.deletes:
		e.Type, e.KV.Value = storage.Deleted, nil
	case w.expected == mustNotExist:
		e.Type = storage.Created
	}
	return e
}

func (w *writer) makeRoom() error {
	ctx, cancel := context.WithTimeout(w.ctx, w.config.RequestTimeout)
	defer cancel()
	now, err := w.state(ctx)
	if err != nil {
		return err
	}
	w.revision = max(w.revision, now.revision)
	return w.makePartitions(ctx, w.revision)
}

// attempt commits a batch, or fails without knowing whether it has.
func (w *writer) attempt(batch []*write) ([]outcome, error) {
	ctx, cancel := context.WithTimeout(w.ctx, w.config.RequestTimeout)
	defer cancel()
	if err := w.ready(ctx); err != nil {
		return nil, err
	}
	if err := w.room(ctx, w.revision); err != nil {
		return nil, err
	}
	outcomes, waited, err := w.send(ctx, batch)
	if err == nil {
		err = certain(w.conn.PgConn())
	}
	if err == nil {
		w.waited = waited
	}
	w.used = time.Now()
	if err != nil && code(err) != checkViolation {
		w.drop()
	}
	return outcomes, err
}

// ready makes sure of a connection.
func (w *writer) ready(ctx context.Context) error {
	if w.conn != nil && (w.conn.IsClosed() || time.Since(w.used) > idle && w.conn.Ping(ctx) != nil) {
		w.drop()
	}
	if w.conn == nil {
		conn, err := w.dial(ctx)
		if err != nil {
			return err
		}
		if err := w.continues(ctx, conn); err != nil {
			hangUp(conn)
			return err
		}
		w.conn = conn
	}
	return nil
}

// send makes one round trip of a batch: its statements are one transaction,
// which is committed where they end. waited tells whether that waits for a
// standby.
func (w *writer) send(ctx context.Context, batch []*write) (outcomes []outcome, waited bool, err error) {
	keys, values := make([][]byte, len(batch)), make([][]byte, len(batch))
	expected, ttls := make([]int64, len(batch)), make([]int64, len(batch))
	for i, next := range batch {
		keys[i], values[i] = []byte(next.key), next.stored
		if next.deletes {
			values[i] = nil
		}
		expected[i], ttls[i] = next.expected, next.ttl.Microseconds()
	}
	var statements pgx.Batch
	statements.Queue(lockQuery)
	w.batch = 1 + rand.Int64N(math.MaxInt64)
	statements.Queue(writeQuery, keys, values, expected, ttls, w.channel, w.name, w.batch)
	results := w.conn.SendBatch(ctx, &statements)
	defer func() {
		// The commit is only certain when all answers have been read.
		if closeErr := results.Close(); err == nil && closeErr != nil {
			outcomes, err = nil, fmt.Errorf("commit: %w", closeErr)
		}
	}()
	if err := results.QueryRow().Scan(&waited); err != nil {
		return nil, false, err
	}
	rows, err := results.Query()
	if err != nil {
		return nil, false, err
	}
	outcomes, err = decided(rows, batch)
	return outcomes, waited, err
}

var errIncomplete = errors.New("the database decided fewer writes than it was asked for")

// decided reads what the database says about each write.
func decided(rows pgx.Rows, batch []*write) ([]outcome, error) {
	outcomes := make([]outcome, len(batch))
	count := 0
	var n, revision int64
	var previous *int64
	var was unpacked
	for rows.Next() {
		was = nil
		if err := rows.Scan(&n, &revision, &previous, &was); err != nil {
			rows.Close()
			return nil, err
		}
		o := &outcomes[n-1]
		o.revision = revision
		if revision == 0 && previous != nil {
			o.current = &storage.KV{Key: batch[n-1].key, Value: was, Revision: *previous}
		}
		count++
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if count != len(batch) {
		return nil, errIncomplete
	}
	return outcomes, nil
}
