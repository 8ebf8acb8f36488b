package engine

import "sync/atomic"

// steps counts what an evaluation does, and stops it: OPA asks before every
// expression whether it is to go on. Cancel may be called from anywhere; the
// count is the evaluation's own.
type steps struct {
	stopped atomic.Bool
	done    int64
	limit   int64
}

// Cancel implements topdown.Cancel.
func (s *steps) Cancel() { s.stopped.Store(true) }

// Cancelled implements topdown.Cancel.
func (s *steps) Cancelled() bool {
	s.done++
	return s.done > s.limit || s.stopped.Load()
}

// exceeded reports whether there were more steps than allowed.
func (s *steps) exceeded() bool { return s.done > s.limit }
