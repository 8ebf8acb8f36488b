package outage

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/etcd"
	"github.com/yare-io/yare/storage/faulttest/link"
	"github.com/yare-io/yare/test/cluster"
)

// TestStoreAwayAtAStart takes the store away while a server makes what every
// cluster has, and again before it has said that it runs. It waits, says so, and
// goes on.
func TestStoreAwayAtAStart(t *testing.T) {
	host := cluster.NewLAN(t).NewHost("one")
	dir, err := os.MkdirTemp("", "yare")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "etcd")
	store, err := etcd.Open(t.Context(), etcd.Config{Dir: filepath.Join(dir, "data"), Listen: []string{"unix://" + socket}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	way := link.New(t, "unix", filepath.Join(dir, "link"), func() (net.Conn, error) { return net.Dial("unix", socket) })
	node := cluster.NewServer(t, host, "--disable-agent", "--datastore-endpoint=unix://"+way.Addr())
	stages := []string{"/registry/clusterroles/", "/registry/secrets/kube-system/bootstrap-token-"}
	var reached []storage.Watcher
	for _, prefix := range stages {
		w, err := store.Watch(t.Context(), storage.WatchRequest{Prefix: prefix})
		if err != nil {
			t.Fatal(err)
		}
		reached = append(reached, w)
	}
	node.Start()
	o := &outage{t: t, node: node}
	for i, stage := range stages {
		select {
		case <-reached[i].Batches():
		case <-time.After(time.Minute):
			t.Fatalf("the start does not come to %s\n%s", stage, o.log())
		}
		before := strings.Count(o.log(), "the start waits for the store")
		way.Refuse()
		node.Eventually(time.Minute, func(context.Context) error {
			if log := o.log(); strings.Count(log, "the start waits for the store") == before {
				return fmt.Errorf("without its store after %s the server says\n%s", stage, log)
			}
			return nil
		})
		way.Heal()
		// The next stage is long enough to be interrupted.
		way.Delay(5 * time.Millisecond)
	}
	way.Heal()
	node.WaitReady()
	o.started()
	o.client = node.Client()
	o.create("after")
}

func (o *outage) log() string {
	o.t.Helper()
	log, err := os.ReadFile(filepath.Join(o.node.DataDir, "yare.log"))
	if err != nil {
		o.t.Fatal(err)
	}
	return string(log)
}
