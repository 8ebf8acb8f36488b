package faulttest

import (
	"os"
	"strconv"
	"testing"
	"time"
)

// roundsVariable makes tests run for longer than a build can wait: make soak.
const roundsVariable = "YARE_FAULT_ROUNDS"

// Rounds is how many a test is to run, and within which time: few, unless more
// are asked for.
func Rounds(tb testing.TB, few int) (int, time.Duration) {
	tb.Helper()
	rounds := few
	if asked := os.Getenv(roundsVariable); asked != "" {
		n, err := strconv.Atoi(asked)
		if err != nil {
			tb.Fatalf("%s: %v", roundsVariable, err)
		}
		rounds = n
	}
	return rounds, time.Minute + time.Duration(rounds)*20*time.Second
}
