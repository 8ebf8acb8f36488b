package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/yare-io/yare/storage"
)

// pollInterval is how often the store looks for what it was not told: for as
// long as the database answers there is nothing.
const pollInterval = 2 * time.Second

// tailForever brings the hub to the end of the log whenever it may be behind,
// until the store closes.
func (s *store) tailForever() {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.nudge:
		case <-ticker.C:
		}
		if err := s.catchUp(); err != nil && s.ctx.Err() == nil {
			s.config.Logger.Debug("cannot read the log of revisions", "err", err)
		}
	}
}

// catchUp reads the log from where the hub is to its end.
func (s *store) catchUp() error {
	for {
		at := s.hub.position()
		events, next, err := s.events(s.ctx, storage.WatchRequest{}, at)
		switch {
		case errors.Is(err, storage.ErrCompacted):
			now, stateErr := s.state(s.ctx)
			if stateErr != nil {
				return stateErr
			}
			s.hub.restart(now.revision, err)
			return nil
		case err != nil:
			return err
		case next < at:
			// Unless the hub moved meanwhile, the database went back.
			return s.verify(s.ctx)
		}
		s.hub.append(events)
		if len(events) < eventsAtOnce {
			return nil
		}
	}
}

// listenForever has a connection that is told of others' writes, until the
// store closes.
func (s *store) listenForever() {
	delay := firstDelay
	for {
		began := time.Now()
		err := s.listen()
		if s.ctx.Err() != nil {
			return
		}
		if time.Since(began) > longestDelay {
			delay = firstDelay
		}
		s.config.Logger.Warn("not notified of changes, trying again", "retryIn", delay, "err", err)
		if !s.pause(delay) {
			return
		}
		delay = min(2*delay, longestDelay)
	}
}

// listen passes notifications on until its connection fails.
func (s *store) listen() error {
	conn, err := s.dial(s.ctx)
	if err != nil {
		return err
	}
	defer hangUp(conn)
	if _, err := conn.Exec(s.ctx, `LISTEN `+pgx.Identifier{s.channel}.Sanitize()); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if err := s.verify(s.ctx); err != nil {
		return err
	}
	signal(s.nudge)
	for {
		if err := s.notified(conn); err != nil {
			return err
		}
	}
}

// notified waits for a notification, or makes sure that one could come.
func (s *store) notified(conn *pgx.Conn) error {
	waiting, cancel := context.WithTimeout(s.ctx, 2*pollInterval)
	defer cancel()
	notification, err := conn.WaitForNotification(waiting)
	switch {
	case err == nil:
		if notification.Payload != s.name {
			signal(s.nudge)
		}
		return nil
	case s.ctx.Err() == nil && waiting.Err() != nil && !conn.IsClosed():
		ctx, cancel := context.WithTimeout(s.ctx, s.config.RequestTimeout)
		defer cancel()
		return conn.Ping(ctx)
	}
	return err
}

// verify makes sure that the database still has the history that was seen
// here, after a connection was lost: a standby that took over may have less.
func (s *store) verify(ctx context.Context) error {
	seen, any := s.hub.latest()
	at := s.hub.position()
	now, err := s.state(ctx)
	if err != nil {
		return err
	}
	if now.revision >= at && any && seen.KV.Revision > now.compacted {
		same := false
		err := s.pool.QueryRow(ctx, `SELECT key = $2 AND deleted = $3 FROM yare_revisions WHERE revision = $1`,
			seen.KV.Revision, []byte(seen.KV.Key), seen.Type == storage.Deleted).Scan(&same)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		if same {
			return nil
		}
	} else if now.revision >= at {
		return nil
	}
	s.config.Logger.Error("all watches start over", "revision", at, "store", now.revision, "err", errRewound)
	s.hub.restart(now.revision, errRewound)
	s.pages.forget()
	return nil
}

// reportProgress gives idle watches signs of life until the store closes.
func (s *store) reportProgress() {
	for s.pause(progressInterval) {
		s.hub.progress()
	}
}
