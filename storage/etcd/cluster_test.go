package etcd_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/etcd"
)

// lab is where members of a cluster live: all on one machine, each with its
// ports, its data and certificates of one authority.
type lab struct {
	t         testing.TB
	authority *authority
	members   map[string]etcd.Config
}

func newLab(t testing.TB) *lab {
	return &lab{t: t, authority: newAuthority(t, t.TempDir()), members: map[string]etcd.Config{}}
}

// freeURL is one that nobody listens at.
func freeURL(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return "https://" + listener.Addr().String()
}

// member describes one that joins those named.
func (l *lab) member(name string, join ...string) etcd.Config {
	l.t.Helper()
	pair := l.authority.issue(l.t, name)
	config := etcd.Config{
		Dir: filepath.Join(l.t.TempDir(), "etcd"), ListenTLS: pair, RequestTimeout: 3 * time.Second,
		Cluster: &etcd.Cluster{Name: name, PeerURL: freeURL(l.t), ClientURL: freeURL(l.t), PeerTLS: pair, ClientTLS: pair},
	}
	for _, other := range join {
		config.Cluster.Join = append(config.Cluster.Join, l.members[other].Cluster.ClientURL)
	}
	l.members[name] = config
	return config
}

// start opens a member, which is closed with the test.
func (l *lab) start(config etcd.Config) storage.Store {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 90*time.Second)
	defer cancel()
	store, err := etcd.Open(ctx, config)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = store.Close() })
	return store
}

// three starts a cluster of three. The first was alone before, with a key.
func (l *lab) three() map[string]storage.Store {
	l.t.Helper()
	first := l.member("a")
	alone := first
	alone.Cluster, alone.ListenTLS = nil, etcd.TLS{}
	store := l.start(alone)
	if _, err := store.Create(l.t.Context(), "/before", []byte("x"), 0); err != nil {
		l.t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		l.t.Fatal(err)
	}
	stores := map[string]storage.Store{"a": l.start(first)}
	stores["b"] = l.start(l.member("b", "a"))
	stores["c"] = l.start(l.member("c", "b", "a"))
	return stores
}

// through is a client configuration for a member's client URL.
func (l *lab) through(name string) etcd.Config {
	config := l.members[name]
	return etcd.Config{Endpoints: []string{config.Cluster.ClientURL}, TLS: config.Cluster.ClientTLS, RequestTimeout: 3 * time.Second}
}

func (l *lab) seen(through string) []etcd.Member {
	l.t.Helper()
	members, err := etcd.Members(l.t.Context(), l.through(through), l.members[through].Cluster.ClientTLS)
	if err != nil {
		l.t.Fatal(err)
	}
	return members
}

// mustWrite goes on trying until a write is taken, as clients do.
func mustWrite(t *testing.T, store storage.Store, key string) {
	t.Helper()
	eventually(t, "a write of "+key, func() bool {
		_, err := store.Create(t.Context(), key, nil, 0)
		return err == nil || errors.Is(err, storage.ErrExists)
	})
}

func TestThreeMembers(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	stores := l.three()
	leader := ""
	for _, m := range l.seen("c") {
		if m.Err != nil || m.Learner {
			t.Errorf("member %+v", m)
		}
		if m.Leader {
			leader = m.Name
		}
	}
	for name, store := range stores {
		mustWrite(t, store, "/by/"+name)
		if kv, err := store.Get(t.Context(), "/before"); err != nil || string(kv.Value) != "x" {
			t.Errorf("%s has %q %v", name, kv.Value, err)
		}
	}
	// Without its leader the cluster goes on, and the leader comes back to it.
	other := map[string]string{"a": "b", "b": "c", "c": "a"}[leader]
	watch, err := stores[other].Watch(t.Context(), storage.WatchRequest{Prefix: "/while"})
	if err != nil {
		t.Fatal(err)
	}
	if err := stores[leader].Close(); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, stores[other], "/while/away")
	select {
	case batch := <-watch.Batches():
		if len(batch.Events) != 1 || batch.Events[0].KV.Key != "/while/away" {
			t.Errorf("the watch told %+v, %v", batch, watch.Err())
		}
	case <-time.After(30 * time.Second):
		t.Error("the watch told nothing")
	}
	if seen := l.seen(other); len(seen) != 3 || seen[leader[0]-'a'].Err == nil {
		t.Errorf("while %s is away, %s sees %+v", leader, other, seen)
	}
	back := l.start(l.members[leader])
	if _, err := back.Get(t.Context(), "/while/away"); err != nil {
		t.Error(err)
	}
}

func TestRemovedMemberEndsAndJoinsAnew(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.start(l.member("a"))
	config, ended := l.member("b", "a"), make(chan error, 1)
	config.Ended = func(err error) { ended <- err }
	b := l.start(config)
	if _, err := etcd.Open(t.Context(), func() etcd.Config { c := l.member("x", "a"); c.Cluster.Name = "b"; return c }()); err == nil {
		t.Fatal("two members have one name")
	}
	through := l.through("a")
	through.RequestTimeout = 30 * time.Second
	if err := etcd.RemoveMember(t.Context(), through, "b"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		t.Log(err)
	case <-time.After(30 * time.Second):
		t.Fatal("the removed member goes on")
	}
	if _, err := b.Create(t.Context(), "/b", nil, 0); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("a removed member answers a write with %v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if store, err := etcd.Open(ctx, config); err == nil {
		_ = store.Close()
		t.Fatal("a removed member came back with its old data")
	} else if ctx.Err() != nil {
		t.Fatalf("the removed member did not notice: %v", err)
	}
	if err := os.RemoveAll(config.Dir); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, l.start(config), "/b/again")
	if seen := l.seen("a"); len(seen) != 2 {
		t.Errorf("members: %+v", seen)
	}
}

func TestResetMakesALoneSurvivorWhole(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	stores := l.three()
	mustWrite(t, stores["b"], "/kept")
	for _, store := range stores {
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := etcd.ResetCluster(t.Context(), l.members["c"]); err != nil {
		t.Fatal(err)
	}
	c := l.start(l.members["c"])
	if _, err := c.Get(t.Context(), "/kept"); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, c, "/alone")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if store, err := etcd.Open(ctx, l.members["a"]); err == nil {
		_ = store.Close()
		t.Error("a member with data from before the reset was let in")
	}
	d := l.start(l.member("d", "c"))
	if _, err := d.Get(t.Context(), "/alone"); err != nil {
		t.Fatal(err)
	}
}

func TestMembersLetNobodyInWithoutACertificate(t *testing.T) {
	l := newLab(t)
	l.start(l.member("a"))
	stranger := newAuthority(t, t.TempDir()).issue(t, "stranger")
	foreign, err := tls.LoadX509KeyPair(stranger.Cert, stranger.Key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(l.authority.cert)
	cluster := l.members["a"].Cluster
	for what, certificates := range map[string][]tls.Certificate{"no certificate": nil, "a stranger's certificate": {foreign}} {
		for _, address := range []string{cluster.PeerURL, cluster.ClientURL} {
			if err := handshake(address, &tls.Config{RootCAs: roots, Certificates: certificates}); err == nil {
				t.Errorf("%s was let in with %s", address, what)
			}
		}
	}
	own, err := tls.LoadX509KeyPair(cluster.ClientTLS.Cert, cluster.ClientTLS.Key)
	if err != nil {
		t.Fatal(err)
	}
	if err := handshake(cluster.ClientURL, &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{own}}); err != nil {
		t.Errorf("a member was refused: %v", err)
	}
	bare := l.member("b")
	bare.Cluster.PeerTLS = etcd.TLS{}
	if _, err := etcd.Open(t.Context(), bare); err == nil {
		t.Error("a member without certificates was started")
	}
}

// handshake finds out whether a server accepts a client. With TLS 1.3 it says so
// only when it is asked something.
func handshake(address string, config *tls.Config) error {
	config.NextProtos = []string{"h2"}
	conn, err := tls.Dial("tcp", address[len("https://"):], config)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	// The preface of HTTP/2 and an empty frame of settings.
	if _, err := conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")); err != nil {
		return err
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	return nil
}
