package etcd

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/faulttest/process"
)

// peak samples by how much a process has more for itself than at first, without
// the files that it maps.
type peak struct {
	stop chan struct{}
	most chan int64
}

func watchMemory(pid int) *peak {
	p := &peak{stop: make(chan struct{}), most: make(chan int64)}
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		first, most := anonymous(pid), int64(0)
		for {
			select {
			case <-tick.C:
				most = max(most, anonymous(pid)-first)
			case <-p.stop:
				p.most <- most
				return
			}
		}
	}()
	return p
}

func (p *peak) end() float64 {
	close(p.stop)
	return float64(<-p.most) / (1 << 20)
}

// anonymous is RssAnon of a process, in bytes.
func anonymous(pid int) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	var kib int64
	for line := range strings.Lines(string(data)) {
		if _, err := fmt.Sscanf(line, "RssAnon: %d kB", &kib); err == nil {
			break
		}
	}
	return kib << 10
}

// BenchmarkLargePrefix loads a prefix of objects of 256 KiB as the cache does, and
// by a single request, from servers that are processes of their own. It tells the
// largest answer, and by how much the memory of server and client grew.
// YARE_BENCH_PREFIX_MIB=1024 is for the figure.
func BenchmarkLargePrefix(b *testing.B) {
	const size = 256 << 10
	mib := asked(b, "YARE_BENCH_PREFIX_MIB", 64)
	for name, start := range map[string]func(testing.TB) (string, int){"streams": servingApart, "pages": installed} {
		b.Run(name, func(b *testing.B) {
			endpoint, pid := start(b)
			s, seen := recorded(b, endpoint)
			fillLarge(b, s, mib<<20/size, size)
			measure := func(how string, load func() int) {
				b.Run(how, func(b *testing.B) {
					for b.Loop() {
						seen.largest.Store(0)
						debug.FreeOSMemory()
						server, client := watchMemory(pid), watchMemory(os.Getpid())
						if n := load(); n != mib<<20/size {
							b.Fatalf("%d objects", n)
						}
						b.ReportMetric(server.end(), "MiB-server-grew")
						b.ReportMetric(client.end(), "MiB-client-grew")
						b.ReportMetric(float64(seen.largest.Load())/(1<<20), "MiB-largest-answer")
					}
				})
			}
			measure("as the cache", func() (n int) {
				request := storage.ListRequest{Prefix: "/registry/", Limit: 2000}
				for {
					page, err := s.List(b.Context(), request)
					if err != nil {
						b.Fatal(err)
					}
					n += len(page.KVs)
					if page.Remaining == 0 {
						return n
					}
					request.From, request.Revision = page.KVs[len(page.KVs)-1].Key+"\x00", page.Revision
				}
			})
			measure("all kept", func() int {
				list, err := s.List(b.Context(), storage.ListRequest{Prefix: "/registry/"})
				if err != nil {
					b.Fatal(err)
				}
				return len(list.KVs)
			})
			measure("one request", func() int {
				response, err := s.client.Get(b.Context(), "/registry/", clientv3.WithPrefix())
				if err != nil {
					b.Fatal(err)
				}
				return len(response.Kvs)
			})
		})
	}
}

// servingApart starts an embedded server in a process of its own.
func servingApart(t testing.TB) (endpoint string, pid int) {
	t.Helper()
	dir := shortDir(t)
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), "YARE_TEST_SERVE_DIR="+dir)
	command.Stderr = os.Stderr
	server, err := process.Start(command)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Kill() })
	socket := filepath.Join(dir, "etcd.sock")
	err = wait.PollUntilContextTimeout(context.Background(), 10*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		_, err := os.Stat(socket)
		return err == nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return "unix://" + socket, server.Pid
}
