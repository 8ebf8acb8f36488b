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
		events, _, err := s.events(s.ctx, storage.WatchRequest{}, at)
		switch {
		case errors.Is(err, storage.ErrCompacted):
			return s.startOver(s.ctx, err)
		case errors.Is(err, errRewound):
			return s.startOver(s.ctx, err)
		case err != nil:
			return err
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
	ctx, cancel := context.WithTimeout(s.ctx, s.config.RequestTimeout)
	_, err = conn.Exec(ctx, `LISTEN `+pgx.Identifier{s.channel}.Sanitize())
	cancel()
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	// What was missed meanwhile is in the log, if that is still the same.
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

// startOver goes on where the database is, because what was seen here is not its
// past or cannot be read any more.
func (s *store) startOver(ctx context.Context, reason error) error {
	if errors.Is(reason, errRewound) {
		if err := s.skipLost(ctx); err != nil {
			return err
		}
	}
	now, err := s.present(ctx)
	if err != nil {
		return err
	}
	s.config.Logger.Error("all watches start over", "revision", s.hub.position().revision, "store", now.revision, "err", reason)
	s.hub.restart(now, reason)
	s.pages.forget()
	return nil
}

// reportProgress gives idle watches signs of life until the store closes.
func (s *store) reportProgress() {
	for s.pause(progressInterval) {
		s.hub.progress()
	}
}
