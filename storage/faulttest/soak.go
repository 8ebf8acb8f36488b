package faulttest

import (
	"os"
	"strconv"
	"testing"
	"time"
)

// roundsVariable makes tests run for longer than a build can wait: make soak.
const roundsVariable = "YARE_FAULT_ROUNDS"

// Plan is how long faults go on: for Rounds, or until For has passed and each
// fault has struck once. A For of zero is no limit.
type Plan struct {
	Rounds int
	For    time.Duration
}

func (p Plan) goesOn(round, faults int, elapsed time.Duration) bool {
	return round < p.Rounds && (p.For == 0 || round < faults || elapsed < p.For)
}

// Within is a time in which the plan must be done on a busy machine.
func (p Plan) Within() time.Duration {
	if p.For > 0 {
		return p.For + 5*time.Minute
	}
	return time.Minute + time.Duration(p.Rounds)*20*time.Second
}

// CI is hundreds of rounds in as much time as a build can wait, or as many as
// are asked for, however long they take.
func CI(tb testing.TB) Plan {
	tb.Helper()
	asked := os.Getenv(roundsVariable)
	if asked == "" {
		return Plan{Rounds: 500, For: 20 * time.Second}
	}
	n, err := strconv.Atoi(asked)
	if err != nil {
		tb.Fatalf("%s: %v", roundsVariable, err)
	}
	return Plan{Rounds: n}
}
