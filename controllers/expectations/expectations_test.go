package expectations

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	testingclock "k8s.io/utils/clock/testing"
)

func TestExpectationsCloseWhenAllIsSeenOrTooLongAgo(t *testing.T) {
	now := testingclock.NewFakePassiveClock(time.Unix(0, 0))
	set := New[string](now)
	want := func(satisfied bool, when string) {
		t.Helper()
		if set.Satisfied("a") != satisfied {
			t.Errorf("%s: satisfied is %t", when, !satisfied)
		}
	}
	want(true, "at first")
	set.ExpectCreations("a", 2)
	set.Created("a")
	want(false, "one creation of two")
	set.Created("a")
	want(true, "both creations")
	set.ExpectDeletions("a", []types.UID{"x", "y"})
	set.Deleted("a", "x")
	set.Deleted("a", "x")
	set.Deleted("a", "z")
	want(false, "one deletion seen twice, and a stranger's")
	set.Deleted("a", "y")
	want(true, "both deletions")
	set.ExpectCreations("a", 1)
	now.SetTime(time.Unix(0, 0).Add(Timeout))
	want(false, "at the limit")
	now.SetTime(time.Unix(1, 0).Add(Timeout))
	want(true, "after the limit")
	set.ExpectCreations("a", 1)
	set.Forget("a")
	want(true, "forgotten")
}
