package memory_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	testclock "k8s.io/utils/clock/testing"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/memory"
)

func TestKeysExpireByTheClock(t *testing.T) {
	clock := testclock.NewFakeClock(time.Now())
	s := memory.New(memory.Config{Clock: clock})
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	w, err := s.Watch(ctx, storage.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := s.Create(ctx, fmt.Sprint("/k", i), nil, time.Hour); err != nil {
			t.Fatal(err)
		}
		<-w.Batches()
	}
	clock.Step(time.Hour - time.Second)
	if _, err := s.Get(ctx, "/k0"); err != nil {
		t.Fatalf("before its time: %v", err)
	}
	clock.Step(time.Second)
	for {
		select {
		case batch := <-w.Batches():
			if len(batch.Events) != 3 || batch.Events[0].Type != storage.Deleted {
				t.Fatalf("got %+v, want three deletions in one batch", batch)
			}
			return
		case <-ctx.Done():
			t.Fatal("nothing expired")
		}
	}
}

func TestHistoryIsBounded(t *testing.T) {
	s := memory.New(memory.Config{History: 10})
	defer s.Close()
	ctx := t.Context()
	first, err := s.Create(ctx, "/a", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	at := first
	for range 30 {
		if at, err = s.Update(ctx, "/a", nil, at, 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.List(ctx, storage.ListRequest{Revision: first}); !errors.Is(err, storage.ErrCompacted) {
		t.Fatalf("the first revision: %v", err)
	}
	if _, err := s.List(ctx, storage.ListRequest{Revision: at - 9}); err != nil {
		t.Fatalf("the tenth from the end: %v", err)
	}
}
