package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.uber.org/zap"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/etcd"
	"github.com/yare-io/yare/storage/faulttest"
	"github.com/yare-io/yare/storage/faulttest/process"
	"github.com/yare-io/yare/storage/storetest"
)

// external is a cluster of three members of the etcd that the system has, over
// TLS, which lets in certified users that it knows.
type external struct {
	authority *authority
	binary    string
	dir       string
	addresses []string
	members   []*process.Process
}

// loopbacks counts the loopback networks in use, so that each cluster has
// addresses of its own and all can use etcd's ports.
var loopbacks atomic.Int32

// newExternal starts one and makes the user "yare", who may do everything with
// keys and nothing else.
func newExternal(t *testing.T) *external {
	t.Helper()
	binary, err := exec.LookPath("etcd")
	if err != nil {
		t.Skip("etcd is not installed")
	}
	n := loopbacks.Add(1)
	e := &external{authority: newAuthority(t, t.TempDir()), binary: binary, dir: t.TempDir(), members: make([]*process.Process, 3)}
	var ips []net.IP
	for i := range e.members {
		ip := net.IPv4(127, byte(os.Getpid()%200)+20, byte(n), byte(i+1))
		ips, e.addresses = append(ips, ip), append(e.addresses, ip.String())
	}
	e.authority.issue(t, "server", ips...)
	for i := range e.members {
		e.start(t, i)
		t.Cleanup(func() { _ = e.members[i].Kill() })
	}
	for i, member := range e.members {
		if err := awaitListener(t.Context(), member, func() (net.Conn, error) { return net.Dial("tcp", e.addresses[i]+":2379") }); err != nil {
			t.Fatal(err)
		}
	}
	e.admit(t)
	return e
}

func (e *external) start(t *testing.T, i int) {
	t.Helper()
	var initial []string
	for j, address := range e.addresses {
		initial = append(initial, fmt.Sprintf("m%d=https://%s:2380", j, address))
	}
	file := func(name string) string { return filepath.Join(e.authority.dir, name) }
	command := exec.Command(e.binary,
		"--name", fmt.Sprintf("m%d", i), "--data-dir", filepath.Join(e.dir, fmt.Sprint(i)),
		"--initial-cluster", strings.Join(initial, ","), "--initial-advertise-peer-urls", "https://"+e.addresses[i]+":2380",
		"--listen-peer-urls", "https://"+e.addresses[i]+":2380",
		"--listen-client-urls", e.endpoint(i), "--advertise-client-urls", e.endpoint(i),
		"--cert-file", file("server.crt"), "--key-file", file("server.key"), "--trusted-ca-file", file("ca.crt"), "--client-cert-auth",
		"--peer-cert-file", file("server.crt"), "--peer-key-file", file("server.key"), "--peer-trusted-ca-file", file("ca.crt"), "--peer-client-cert-auth",
		"--heartbeat-interval", "20", "--election-timeout", "200", "--bcrypt-cost", "4", "--logger", "zap", "--log-level", "error",
	)
	command.Stderr = t.Output()
	var err error
	if e.members[i], err = process.Start(command); err != nil {
		t.Fatal(err)
	}
}

func (e *external) endpoint(i int) string { return "https://" + e.addresses[i] + ":2379" }

// config is for a client that is certified as a user.
func (e *external) config(t *testing.T, user string) etcd.Config {
	t.Helper()
	config := etcd.Config{TLS: e.authority.issue(t, user), RequestTimeout: 10 * time.Second}
	for i := range e.members {
		config.Endpoints = append(config.Endpoints, e.endpoint(i))
	}
	return config
}

// admit sets up who is let in.
func (e *external) admit(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	config := e.config(t, "root")
	settings, err := transport.TLSInfo{CertFile: config.TLS.Cert, KeyFile: config.TLS.Key, TrustedCAFile: config.TLS.CA}.ClientConfig()
	if err != nil {
		t.Fatal(err)
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: config.Endpoints, TLS: settings, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	try := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the cluster answers", func() bool {
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := client.Get(short, "x")
		return err == nil
	})
	for user, role := range map[string]string{"root": "root", "yare": "keys"} {
		try(client.RoleAdd(ctx, role))
		try(client.UserAddWithOptions(ctx, user, "", &clientv3.UserAddOptions{NoPassword: true}))
		try(client.UserGrantRole(ctx, user, role))
	}
	try(client.RoleGrantPermission(ctx, "keys", "\x00", "\x00", clientv3.PermissionType(clientv3.PermReadWrite)))
	try(client.AuthEnable(ctx))
}

func TestExternalClusterOverTLSWithUsers(t *testing.T) {
	slots := make(chan struct{}, 4) // so many clusters at a time
	storetest.Run(t, func(t *testing.T) storage.Store {
		slots <- struct{}{}
		t.Cleanup(func() { <-slots })
		return open(t, newExternal(t).config(t, "yare"))
	})
}

func TestExternalClusterLetsKnownUsersIn(t *testing.T) {
	t.Parallel()
	e := newExternal(t)
	config := e.config(t, "stranger")
	config.RequestTimeout = time.Second
	if store, err := etcd.Open(t.Context(), config); err == nil {
		_ = store.Close()
		t.Error("a user that etcd does not know was let in")
	}
}

// TestEndpointsLostAndBack kills the members of a cluster one after the other
// under writers and a watch, and starts them again. The store goes on with those
// that are left, and has all of them again in the end.
func TestEndpointsLostAndBack(t *testing.T) {
	t.Parallel()
	e := newExternal(t)
	config := e.config(t, "yare")
	config.RequestTimeout = time.Second
	store := open(t, config)
	defer store.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	last, err := store.Revision(ctx)
	if err != nil {
		t.Fatal(err)
	}
	// The watch is taken up again where a cluster without a leader ended it.
	var w storage.Watcher
	watch := func() {
		eventually(t, "a watch", func() bool {
			w, err = store.Watch(ctx, storage.WatchRequest{Prefix: "/k/", After: last})
			return err == nil
		})
	}
	watch()
	acknowledged := map[int64]string{}
	create := func(key string) {
		eventually(t, "a write of "+key, func() bool {
			revision, err := store.Create(ctx, key, nil, 0)
			if err == nil {
				acknowledged[revision] = key
			}
			return err == nil || errors.Is(err, storage.ErrExists)
		})
	}
	for round := range 6 {
		i := round % len(e.members)
		if err := e.members[i].Kill(); err != nil {
			t.Fatal(err)
		}
		for n := range 20 {
			create(fmt.Sprintf("/k/%d/%d", round, n))
		}
		e.start(t, i)
		create(fmt.Sprintf("/k/%d/back", round))
	}
	// With two members away there is no majority; with one back there is.
	for _, i := range []int{0, 1} {
		if err := e.members[i].Kill(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := store.Create(ctx, "/lonely", nil, 0); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("a write without a majority: %v", err)
	}
	if err := store.Health(ctx); err == nil {
		t.Error("a store without a majority is healthy")
	}
	e.start(t, 0)
	create("/k/end")
	for key := ""; key != "/k/end"; {
		batch, ok := <-w.Batches()
		if !ok && errors.Is(w.Err(), storage.ErrUnavailable) {
			watch()
			continue
		}
		if !ok {
			t.Fatalf("the watch ended: %v", w.Err())
		}
		for _, event := range batch.Events {
			if event.KV.Revision <= last {
				t.Fatalf("revision %d after %d", event.KV.Revision, last)
			}
			last, key = event.KV.Revision, event.KV.Key
			delete(acknowledged, last)
		}
	}
	if len(acknowledged) > 0 {
		t.Errorf("not watched: %v", acknowledged)
	}
}

// TestClusterFaults kills and pauses members of a cluster, one or so many that
// there is no majority.
func TestClusterFaults(t *testing.T) {
	t.Parallel()
	plan := faulttest.CI(t)
	ctx, cancel := context.WithTimeout(t.Context(), plan.Within())
	defer cancel()
	e := newExternal(t)
	config := e.config(t, "yare")
	config.RequestTimeout, config.CompactionInterval = time.Second, -1
	stores := []storage.Store{openPatiently(t, config), openPatiently(t, config)}
	compact := faulttest.Compactor(stores[0])
	kill := func(members ...int) error {
		var errs []error
		for _, i := range members {
			errs = append(errs, e.members[i].Kill())
		}
		for _, i := range members {
			e.start(t, i)
		}
		return errors.Join(errs...)
	}
	// The members take turns, and so does what they are just then.
	next := 0
	member := func() int { next++; return next % len(e.members) }
	err := faulttest.Run(ctx, faulttest.Config{
		Stores: stores, Plan: plan, Seed: uint64(time.Now().UnixNano()), Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Faults: []faulttest.Fault{
			{Name: "kill a member", Strike: func(context.Context) error { return kill(member()) }},
			{Name: "kill a majority", Strike: func(context.Context) error { return kill(member(), member()) }},
			{Name: "kill all members", Strike: func(context.Context) error { return kill(0, 1, 2) }},
			{Name: "kill a member while it compacts", Strike: func(ctx context.Context) error { return errors.Join(compact(ctx), kill(member())) }},
			{Name: "pause a member", Strike: func(ctx context.Context) error {
				i := member()
				return faulttest.Hold(ctx, 300*time.Millisecond, e.members[i].Pause, e.members[i].Resume)
			}},
			{Name: "pause a majority", Strike: func(ctx context.Context) error {
				i, j := member(), member()
				return faulttest.Hold(ctx, 300*time.Millisecond,
					func() error { return errors.Join(e.members[i].Pause(), e.members[j].Pause()) },
					func() error { return errors.Join(e.members[i].Resume(), e.members[j].Resume()) })
			}},
		},
	})
	if err != nil {
		t.Fatal(fmt.Errorf("faults: %w", err))
	}
}
