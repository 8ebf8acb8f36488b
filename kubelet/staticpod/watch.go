package staticpod

import (
	"context"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"
)

// Watch reads the pods of a directory, now, whenever it changes and every period, and hands all of them on each time. It returns
// when ctx ends.
type Watch struct {
	Dir, Node string
	Period    time.Duration
	Clock     clock.Clock
	Logger    *slog.Logger
	OnRead    func(pods []*v1.Pod)
}

// settle is how long the directory must be quiet: files are often written in pieces.
const settle = 50 * time.Millisecond

// Run reads until ctx ends.
func (w *Watch) Run(ctx context.Context) {
	changed := make(chan struct{}, 1)
	stop := w.notify(changed)
	defer stop()
	last := ""
	for {
		pods, err := Read(w.Dir, w.Node)
		if err != nil && err.Error() != last {
			last = err.Error()
			w.Logger.Warn("some static pods could not be read", "error", err)
		}
		w.OnRead(pods)
		select {
		case <-ctx.Done():
			return
		case <-w.Clock.After(w.Period):
		case <-changed:
			w.quiet(ctx, changed)
		}
	}
}

// quiet waits until nothing has changed for a moment.
func (w *Watch) quiet(ctx context.Context, changed <-chan struct{}) {
	for range 20 {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-w.Clock.After(settle):
			return
		}
	}
}

// notify sends to changed when the directory's content changes, as far as the kernel tells; the period is the net under it.
func (w *Watch) notify(changed chan<- struct{}) (stop func()) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return func() {}
	}
	file := os.NewFile(uintptr(fd), "inotify")
	const events = unix.IN_CLOSE_WRITE | unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO
	if _, err := unix.InotifyAddWatch(fd, w.Dir, events); err != nil {
		file.Close()
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buffer := make([]byte, 4096)
		for {
			if _, err := file.Read(buffer); err != nil {
				return
			}
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}()
	return func() {
		file.Close()
		<-done
	}
}
