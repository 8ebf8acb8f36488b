package etcd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"k8s.io/apimachinery/pkg/util/wait"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/faulttest/process"
)

// answers records how large the largest message from etcd was.
type answers struct{ largest atomic.Int64 }

func (*answers) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (*answers) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (*answers) HandleConn(context.Context, stats.ConnStats)                       {}

func (a *answers) HandleRPC(_ context.Context, event stats.RPCStats) {
	if message, ok := event.(*stats.InPayload); ok {
		for {
			seen := a.largest.Load()
			if int64(message.Length) <= seen || a.largest.CompareAndSwap(seen, int64(message.Length)) {
				return
			}
		}
	}
}

// recorded is a store on an external etcd, and what that answers.
func recorded(t testing.TB, endpoint string) (*store, *answers) {
	t.Helper()
	s := opened(t, Config{Endpoints: []string{endpoint}, CompactionInterval: -1})
	seen := &answers{}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: s.config.Endpoints, MaxCallRecvMsgSize: math.MaxInt32, Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithStatsHandler(seen)},
	})
	if err != nil {
		t.Fatal(err)
	}
	_ = s.client.Close()
	s.client, s.ranges = client, overTheWire(client)
	return s, seen
}

func opened(t testing.TB, config Config) *store {
	t.Helper()
	opened, err := Open(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = opened.Close() })
	return opened.(*store)
}

// serving starts an embedded server and returns where it listens.
func serving(t testing.TB) string {
	t.Helper()
	endpoint := "unix://" + filepath.Join(shortDir(t), "s")
	opened(t, Config{Dir: t.TempDir(), Listen: []string{endpoint}, NoSync: true})
	return endpoint
}

// installed starts the etcd that the system has and returns where it listens: it
// is one that knows no streams.
func installed(t testing.TB) (endpoint string, pid int) {
	t.Helper()
	binary, err := exec.LookPath("etcd")
	if err != nil {
		t.Skip("etcd is not installed")
	}
	address := freeAddress(t)
	command := exec.Command(binary, "--data-dir", t.TempDir(), "--listen-client-urls", address, "--advertise-client-urls", address,
		"--listen-peer-urls", freeAddress(t), "--quota-backend-bytes", fmt.Sprint(8<<30), "--unsafe-no-fsync", "--log-level", "error")
	server, err := process.Start(command)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Kill() })
	err = wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		conn, err := net.Dial("tcp", address[len("http://"):])
		if err == nil {
			_ = conn.Close()
		}
		return err == nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return address, server.Pid
}

func freeAddress(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return "http://" + listener.Addr().String()
}

// fillLarge writes keys whose values make a prefix large.
func fillLarge(t testing.TB, s storage.Store, count, size int) {
	t.Helper()
	value := bytes.Repeat([]byte("v"), size)
	for i := range count {
		if _, err := s.Create(context.Background(), largeKey(i), value, 0); err != nil {
			t.Fatal(err)
		}
	}
}

func largeKey(i int) string { return fmt.Sprintf("/registry/configmaps/%07d", i) }

// checkList compares a part of a list with what fillLarge wrote.
func checkList(t *testing.T, list storage.ListResult, begin, size int) {
	t.Helper()
	for i, kv := range list.KVs {
		if kv.Key != largeKey(begin+i) || len(kv.Value) != size {
			t.Fatalf("key %d of the list is %s of %d bytes", begin+i, kv.Key, len(kv.Value))
		}
	}
}

// TestNoAnswerIsAsLargeAsTheList lists 48 MiB from servers with and without
// streams: all at once, and with a limit of more than there is, as the cache does.
func TestNoAnswerIsAsLargeAsTheList(t *testing.T) {
	const count, size = 192, 256 << 10
	for name, server := range map[string]struct {
		start   func(testing.TB) string
		largest int64
	}{
		"streams": {start: serving, largest: 4 << 20},
		"pages":   {start: func(t testing.TB) string { endpoint, _ := installed(t); return endpoint }, largest: answerBytes + size},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, seen := recorded(t, server.start(t))
			fillLarge(t, s, count, size)
			revision, err := s.Revision(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			all, err := s.List(t.Context(), storage.ListRequest{Prefix: "/registry/"})
			if err != nil || len(all.KVs) != count || all.Remaining != 0 || all.Revision != revision {
				t.Fatalf("%d keys, %d remain, revision %d, %v", len(all.KVs), all.Remaining, all.Revision, err)
			}
			checkList(t, all, 0, size)
			for _, at := range []int64{0, revision} {
				short, err := s.List(t.Context(), storage.ListRequest{Prefix: "/registry/", Limit: 2000, Revision: at})
				n := len(short.KVs)
				if err != nil || n*size < pageBytes || n*size > 2*pageBytes || short.Remaining != int64(count-n) || short.Revision != revision {
					t.Fatalf("page: %d keys, %d remain, revision %d, %v", n, short.Remaining, short.Revision, err)
				}
				checkList(t, short, 0, size)
				rest, err := s.List(t.Context(), storage.ListRequest{Prefix: "/registry/", From: largeKey(n), Limit: 2000, Revision: short.Revision})
				if err != nil || len(rest.KVs) != count-n || rest.Remaining != 0 {
					t.Fatalf("rest: %d keys, %d remain, %v", len(rest.KVs), rest.Remaining, err)
				}
				checkList(t, rest, n, size)
			}
			if largest := seen.largest.Load(); largest > server.largest || largest < size {
				t.Errorf("the largest answer was of %d bytes", largest)
			}
			if s.pagesOnly.Load() != (name == "pages") {
				t.Errorf("the store takes the server for another one")
			}
		})
	}
}

// TestListsOutliveWhatEndsTheirStream breaks streams in ways that a list is to
// survive.
func TestListsOutliveWhatEndsTheirStream(t *testing.T) {
	s := opened(t, Config{Dir: t.TempDir(), NoSync: true})
	fillLarge(t, s, 300, 10)
	whole := s.ranges
	for name, broken := range map[string]error{
		"compacted meanwhile": rpctypes.ErrGRPCCompacted, "a member lost": status.Error(codes.Unavailable, "gone"),
	} {
		failures := 2
		s.ranges = func(ctx context.Context, request *etcdserverpb.RangeRequest, use func(*etcdserverpb.RangeResponse) bool) error {
			if failures == 0 {
				return whole(ctx, request, use)
			}
			failures--
			_ = whole(ctx, request, func(part *etcdserverpb.RangeResponse) bool {
				part.Header = nil
				use(part)
				return false
			})
			return broken
		}
		list, err := s.List(t.Context(), storage.ListRequest{Prefix: "/registry/"})
		if err != nil || len(list.KVs) != 300 {
			t.Errorf("%s: %d keys, %v", name, len(list.KVs), err)
		}
		checkList(t, list, 0, 10)
	}
	failures := 0
	s.ranges = func(context.Context, *etcdserverpb.RangeRequest, func(*etcdserverpb.RangeResponse) bool) error {
		failures++
		return rpctypes.ErrGRPCCompacted
	}
	if _, err := s.List(t.Context(), storage.ListRequest{Prefix: "/registry/", Revision: 2}); !errors.Is(err, storage.ErrCompacted) || failures != 1 {
		t.Errorf("a list of a compacted revision: %v after %d attempts", err, failures)
	}
}

// TestLongListsNeedProgressOnly reads a list that takes longer than a request
// may, part by part, and one of which no more parts come.
func TestLongListsNeedProgressOnly(t *testing.T) {
	s := opened(t, Config{Dir: t.TempDir(), NoSync: true, RequestTimeout: 500 * time.Millisecond, CompactionInterval: -1})
	s.ranges = func(ctx context.Context, _ *etcdserverpb.RangeRequest, use func(*etcdserverpb.RangeResponse) bool) error {
		for range 10 {
			select {
			case <-time.After(100 * time.Millisecond):
				use(&etcdserverpb.RangeResponse{})
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		use(&etcdserverpb.RangeResponse{Header: &etcdserverpb.ResponseHeader{Revision: 1}})
		return nil
	}
	if _, err := s.List(t.Context(), storage.ListRequest{Prefix: "/"}); err != nil {
		t.Error(err)
	}
	s.ranges = func(ctx context.Context, _ *etcdserverpb.RangeRequest, _ func(*etcdserverpb.RangeResponse) bool) error {
		<-ctx.Done()
		return ctx.Err()
	}
	if _, err := s.List(t.Context(), storage.ListRequest{Prefix: "/"}); !errors.Is(err, storage.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a list without progress ended with %v", err)
	}
}

// shortDir is for sockets, whose paths must be short.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "yare")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
