package apiserver

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// deadlined remembers that a deadline was set.
type deadlined struct {
	http.ResponseWriter
	cut time.Time
}

func (d *deadlined) SetWriteDeadline(time.Time) error { d.cut = time.Now(); return nil }

func TestWatchdogCutsAWriteThatLasts(t *testing.T) {
	const patience = 30 * time.Second
	synctest.Test(t, func(t *testing.T) {
		w := &deadlined{}
		dog := newWatchdog(http.NewResponseController(w), patience)
		defer dog.stop()
		for range 100 {
			end := dog.guard()
			time.Sleep(patience - time.Second)
			end()
			time.Sleep(time.Second)
		}
		if !w.cut.IsZero() {
			t.Fatal("short writes were cut")
		}
		begun, end := time.Now(), dog.guard()
		time.Sleep(3 * patience)
		end()
		if took := w.cut.Sub(begun); took < patience || took > 2*patience {
			t.Errorf("a write that lasts was cut after %s", took)
		}
		w.cut = time.Time{}
		time.Sleep(3 * patience)
		if !w.cut.IsZero() {
			t.Error("a stream at rest was cut")
		}
	})
}
