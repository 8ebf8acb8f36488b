package yaretest_test

import (
	"testing"
	"time"

	"github.com/yare-io/yare/test/yaretest"
)

// BenchmarkServer starts a server, to where it is ready, and stops it.
func BenchmarkServer(b *testing.B) {
	var starting, stopping time.Duration
	for b.Loop() {
		begun := time.Now()
		server, err := yaretest.New()
		if err != nil {
			b.Fatal(err)
		}
		started := time.Now()
		if err := server.Close(); err != nil {
			b.Fatal(err)
		}
		starting += started.Sub(begun)
		stopping += time.Since(started)
	}
	b.ReportMetric(float64(starting.Microseconds())/1e3/float64(b.N), "ms/start")
	b.ReportMetric(float64(stopping.Microseconds())/1e3/float64(b.N), "ms/stop")
}
