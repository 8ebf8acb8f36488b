package controllers

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes/fake"
)

// TestOneOfSeveralIsElected: only one works at a time, and the next begins when
// it goes.
func TestOneOfSeveralIsElected(t *testing.T) {
	client := fake.NewClientset()
	var working atomic.Int32
	began := make(chan int)
	contend := func(name int) (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		options := LeaderElection{Name: "work", LeaseDuration: 3 * time.Second, RenewDeadline: 2 * time.Second, RetryPeriod: 10 * time.Millisecond}
		go func() {
			ended <- Elect(ctx, client, options, slog.New(slog.DiscardHandler), func(term context.Context) error {
				if working.Add(1) != 1 {
					t.Error("two work at once")
				}
				defer working.Add(-1)
				began <- name
				<-term.Done()
				return nil
			})
		}()
		return func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}
	stops := []func(){contend(0), contend(1)}
	first := <-began
	stops[first]()
	if second := <-began; second == first {
		t.Errorf("%d was elected again", second)
	}
	stops[1-first]()
}
