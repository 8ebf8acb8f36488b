package heap

import (
	"context"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

func TestShare(t *testing.T) {
	for _, test := range []struct {
		live, searched uint64
		want           int
	}{{0, 0, 100}, {1000, 1000, 100}, {1000, 600, 60}, {1000, 10, 20}, {1000, 3000, 100}} {
		if got := share(test.live, test.searched); got != test.want {
			t.Errorf("of %d bytes %d: %d %%, want %d", test.live, test.searched, got, test.want)
		}
	}
}

func TestBytesMakeNoRoomForGarbage(t *testing.T) {
	t.Setenv("GOGC", "")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { Follow(ctx); close(done) }()
	bytes := make([][]byte, 64)
	for i := range bytes {
		bytes[i] = make([]byte, 1<<20)
	}
	err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, 10*time.Second, true, func(context.Context) (bool, error) {
		runtime.GC()
		return percent() == least, nil
	})
	runtime.KeepAlive(bytes)
	if err != nil {
		t.Errorf("%d %% with a heap of bytes", percent())
	}
	cancel()
	<-done
	if percent() != usual {
		t.Errorf("%d %% afterwards", percent())
	}
}

func TestGOGCIsObeyed(t *testing.T) {
	t.Setenv("GOGC", "80")
	defer debug.SetGCPercent(debug.SetGCPercent(80))
	Follow(t.Context())
	if percent() != 80 {
		t.Errorf("%d %%", percent())
	}
}

func percent() int {
	now := debug.SetGCPercent(usual)
	debug.SetGCPercent(now)
	return now
}
