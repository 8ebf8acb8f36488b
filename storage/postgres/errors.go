package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/yare-io/yare/storage"
)

var errClosed = fmt.Errorf("store closed: %w", storage.ErrUnavailable)

// Conditions of PostgreSQL that mean something to this package.
const (
	diskFull = "53100"
	// checkViolation is also how a partitioned table says that a row has no
	// partition to go to.
	checkViolation = "23514"

	insufficientPrivilege = "42501"
	undefinedFunction     = "42883"
	featureNotSupported   = "0A000"
)

// translate names an error of the database or of the way to it as the contract
// does. A cancelled request is both unavailable and cancelled.
func (s *store) translate(err error) error {
	switch {
	case err == nil:
		return nil
	case s.ctx.Err() != nil:
		return errClosed
	case known(err):
		return err
	case code(err) == diskFull:
		return fmt.Errorf("%w: %w", storage.ErrNoSpace, err)
	}
	return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
}

// known tells whether an error speaks of the contract already.
func known(err error) bool {
	for _, kind := range []error{
		storage.ErrNotFound, storage.ErrExists, storage.ErrConflict, storage.ErrCompacted, storage.ErrFutureRevision,
		storage.ErrUnavailable, storage.ErrNoSpace, storage.ErrTooLarge, storage.ErrSlow,
	} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// code is what PostgreSQL calls the condition, or empty when the error is not
// its own.
func code(err error) string {
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		return answer.Code
	}
	return ""
}

// lostConnection tells whether a request failed with its connection, and so may
// succeed with another.
func lostConnection(err error) bool {
	if err == nil || known(err) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	switch answer := code(err); {
	case answer == "":
		return true
	default:
		// 57P01 to 57P03: the server is going, has crashed, or is starting.
		return answer[:2] == "08" || answer[:4] == "57P0"
	}
}
