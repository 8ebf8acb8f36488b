package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/yare-io/yare/storage/postgres/postgrestest"
	"github.com/yare-io/yare/test/cluster"
)

// servers is a control plane of three, by host name.
type servers struct {
	t     *testing.T
	nodes map[string]*cluster.Node
}

// TestThreeServers joins three servers, kills and cuts off those that lead,
// removes one and lets it join anew, and at last restores a snapshot to one that
// is left. What was acknowledged is there on all of them.
func TestThreeServers(t *testing.T) {
	lan := cluster.NewLAN(t)
	s := startFirst(t, lan)
	first := s.nodes["s1"]
	s.refuses(lan.NewHost("x"))
	for _, name := range []string{"s2", "s3"} {
		s.nodes[name] = cluster.StartServer(t, lan.NewHost(name), s.joining(first)...)
	}
	if out := s.command(first, "etcd-member", "ls"); strings.Count(out, " ok ") != 3 {
		t.Fatalf("members:\n%s", out)
	}
	for _, step := range []struct {
		name string
		run  func()
	}{
		{"all take writes", s.allWrite},
		{"the leader is killed and comes back", s.killLeader},
		{"the leader is cut off and comes back", s.cutLeader},
		{"a member is removed and joins anew", s.removeMember},
		{"a snapshot is restored to one, and the others join it", s.restore},
	} {
		begin := time.Now()
		step.run()
		t.Logf("%s: %s", step.name, time.Since(begin).Round(time.Millisecond))
		if t.Failed() {
			t.FailNow()
		}
	}
}

// startFirst starts a server that others may join.
func startFirst(t *testing.T, lan *cluster.LAN) *servers {
	t.Helper()
	first := cluster.StartServer(t, lan.NewHost("s1"), "--disable-agent", "--cluster-init")
	first.Eventually(20*time.Second, func(context.Context) error {
		_, err := os.Stat(filepath.Join(first.DataDir, "join-server"))
		return err
	})
	return &servers{t: t, nodes: map[string]*cluster.Node{"s1": first}}
}

// joining are the arguments by which a server joins another.
func (s *servers) joining(other *cluster.Node) []string {
	s.t.Helper()
	token, err := os.ReadFile(filepath.Join(other.DataDir, "join-server"))
	if err != nil {
		s.t.Fatal(err)
	}
	return []string{"--disable-agent", "--server=" + other.URL(), "--token=" + strings.TrimSpace(string(token))}
}

// command runs yare beside a server.
func (s *servers) command(n *cluster.Node, args ...string) string {
	s.t.Helper()
	out, err := s.try(n, args...)
	if err != nil {
		s.t.Fatalf("yare %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (s *servers) try(n *cluster.Node, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	command := n.Command(ctx, cluster.Binary(s.t, "yare"), append(args, "--data-dir="+n.DataDir)...)
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	err := command.Run()
	return out.String(), err
}

// refuses checks who is not let in as a server.
func (s *servers) refuses(host *cluster.Host) {
	s.t.Helper()
	first := s.nodes["s1"]
	token := s.joining(first)[2]
	nodes, err := os.ReadFile(filepath.Join(first.DataDir, "join"))
	if err != nil {
		s.t.Fatal(err)
	}
	swapped := strings.Split(token, ".")
	swapped[2] = strings.Repeat("A", len(swapped[2]))
	x := &cluster.Node{Host: host, DataDir: s.t.TempDir()}
	for what, c := range map[string]struct {
		args []string
		want string
	}{
		"a node's token":  {[]string{"--token=" + strings.Fields(string(nodes))[0]}, "no token for servers"},
		"another key":     {[]string{strings.Join(swapped, ".")}, "does not open"},
		"another range":   {[]string{token, "--cluster-cidr=10.99.0.0/16"}, "--cluster-cidr"},
		"encryption":      {[]string{token, "--encryption-provider-config=" + s.encryption()}, "encryption at rest"},
		"another store":   {[]string{token, "--datastore-endpoint=postgres://localhost/x"}, "datastore"},
		"reset of nobody": {[]string{"--cluster-reset"}, "no data"},
	} {
		args := append([]string{"server", "--disable-agent", "--advertise-address=" + host.Address.String(), "--server=" + first.URL()}, c.args...)
		if out, err := s.try(x, args...); err == nil || !strings.Contains(out, c.want) {
			s.t.Errorf("joining with %s: %v %s", what, err, out)
		}
	}
}

// write creates a config map at a server, again until it is taken.
func (s *servers) write(n *cluster.Node, name string) {
	s.t.Helper()
	n.Eventually(60*time.Second, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		_, err := n.Client().CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return err
	})
}

// has waits until a server, which may have to catch up, has all of them.
func (s *servers) has(n *cluster.Node, names ...string) {
	s.t.Helper()
	for _, name := range names {
		n.Eventually(60*time.Second, func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			_, err := n.Client().CoreV1().ConfigMaps("default").Get(ctx, name, metav1.GetOptions{})
			return err
		})
	}
}

func (s *servers) allWrite() {
	for name, n := range s.nodes {
		s.write(n, "by-"+name)
	}
	for _, n := range s.nodes {
		s.has(n, "by-s1", "by-s2", "by-s3")
	}
}

// holder is who has a lease of kube-system, by host name.
func (s *servers) holder(n *cluster.Node, lease string) (string, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	l, err := n.Client().CoordinationV1().Leases("kube-system").Get(ctx, lease, metav1.GetOptions{})
	if err != nil || l.Spec.HolderIdentity == nil {
		return "", errors.Join(err, errors.New("nobody holds it"))
	}
	name, _, _ := strings.Cut(*l.Spec.HolderIdentity, "_")
	return name, nil
}

// leader is the server whose member leads etcd, other one that is not.
func (s *servers) leader() (leader, other *cluster.Node) {
	s.t.Helper()
	for _, line := range strings.Split(s.command(s.nodes["s1"], "etcd-member", "ls"), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] == "NAME" {
			continue
		}
		name, _, _ := strings.Cut(fields[0], "-")
		if fields[1] == "leader" {
			leader = s.nodes[name]
		} else {
			other = s.nodes[name]
		}
	}
	if leader == nil || other == nil {
		s.t.Fatal("etcd has no leader")
	}
	return leader, other
}

// takesOver waits until another than one server leads the controllers and the
// scheduler.
func (s *servers) takesOver(seenBy *cluster.Node, from string) {
	s.t.Helper()
	for _, lease := range []string{"kube-controller-manager", "kube-scheduler"} {
		seenBy.Eventually(60*time.Second, func(context.Context) error {
			holder, err := s.holder(seenBy, lease)
			if err == nil && (holder == from || holder == "") {
				err = fmt.Errorf("%q holds the lease %s", holder, lease)
			}
			return err
		})
	}
}

func (s *servers) killLeader() {
	leader, other := s.leader()
	s.write(leader, "before-kill")
	leader.Kill()
	s.write(other, "while-killed")
	s.has(other, "before-kill")
	s.takesOver(other, leader.Name)
	leader.Start()
	leader.WaitReady()
	s.has(leader, "while-killed")
}

// cutLeader unplugs a server. It cannot write or read what is current, while the
// others go on without it; plugged in again, it has what they wrote.
func (s *servers) cutLeader() {
	leader, other := s.leader()
	leader.Cut()
	s.write(other, "while-cut")
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	_, err := leader.Client().CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "lonely"}}, metav1.CreateOptions{})
	if err == nil {
		s.t.Error("a server without a majority acknowledged a write")
	}
	if _, err := leader.Client().CoreV1().ConfigMaps("default").Get(ctx, "while-cut", metav1.GetOptions{}); err == nil || apierrors.IsNotFound(err) {
		s.t.Errorf("a server without a majority answers a read with %v", err)
	}
	if _, err := leader.Client().CoreV1().ConfigMaps("default").Get(ctx, "by-s1", metav1.GetOptions{ResourceVersion: "0"}); err != nil {
		s.t.Errorf("a read of what is cached: %v", err)
	}
	leader.Heal()
	s.has(leader, "while-cut")
	s.write(leader, "healed")
	s.has(other, "healed")
}

// member is the name of a server's member of etcd.
func (s *servers) member(n *cluster.Node) string {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(n.DataDir, "etcd-name"))
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

func (s *servers) removeMember() {
	s1, s3 := s.nodes["s1"], s.nodes["s3"]
	s1.Eventually(30*time.Second, func(context.Context) error {
		_, err := s.try(s1, "etcd-member", "remove", s.member(s3))
		return err
	})
	s3.WaitEnded("this member was removed")
	s.write(s1, "without-s3")
	if err := os.RemoveAll(filepath.Join(s3.DataDir, "etcd")); err != nil {
		s.t.Fatal(err)
	}
	s3.Start()
	s3.WaitReady()
	s.has(s3, "without-s3")
}

// TestMemberGoesWithItsNode kills a server of three and deletes its node, as
// whoever retires a machine does. The member of etcd goes with it, and the server
// can join anew.
func TestMemberGoesWithItsNode(t *testing.T) {
	lan := cluster.NewLAN(t)
	s := startFirst(t, lan)
	s1 := s.nodes["s1"]
	cluster.StartServer(t, lan.NewHost("s2"), s.joining(s1)...)
	s3 := cluster.StartServer(t, lan.NewHost("s3"), append(s.joining(s1), "--disable-agent=false", "--hollow-node")...)
	s1.WaitNodeReady("s3")
	s1.Eventually(time.Minute, func(ctx context.Context) error {
		return s.recorded(ctx, s.member(s3))
	})
	s3.Kill()
	s1.Eventually(time.Minute, func(ctx context.Context) error {
		err := s1.Client().CoreV1().Nodes().Delete(ctx, "s3", metav1.DeleteOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
	s1.Eventually(4*time.Minute, func(context.Context) error {
		out, err := s.try(s1, "etcd-member", "ls")
		if err == nil && strings.Contains(out, s.member(s3)) {
			err = errors.New(out)
		}
		return err
	})
	if err := s.recorded(t.Context(), s.member(s3)); err == nil {
		t.Error("the servers still remember the member")
	}
	s.write(s1, "without-node-s3")
	if err := os.RemoveAll(filepath.Join(s3.DataDir, "etcd")); err != nil {
		t.Fatal(err)
	}
	s3.Start()
	s3.WaitReady()
	s.has(s3, "without-node-s3")
}

// recorded tells whether the servers know that a member's node has been there.
func (s *servers) recorded(ctx context.Context, member string) error {
	secret, err := s.nodes["s1"].Client().CoreV1().Secrets("kube-system").Get(ctx, "yare-control-plane", metav1.GetOptions{})
	if err == nil && secret.Data["etcd-node-seen."+member] == nil {
		err = errors.New("no node was seen")
	}
	return err
}

// encryption is a file that says how to encrypt.
func (s *servers) encryption() string {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "encryption.yaml")
	config := "{kind: EncryptionConfiguration, apiVersion: apiserver.config.k8s.io/v1, resources: [{resources: [secrets], providers: [{identity: {}}]}]}"
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return file
}

func (s *servers) restore() {
	s1, s2, s3 := s.nodes["s1"], s.nodes["s2"], s.nodes["s3"]
	s.write(s1, "in-snapshot")
	saved := strings.Fields(s.command(s1, "etcd-snapshot", "save"))[1]
	s.write(s1, "after-snapshot")
	for _, n := range s.nodes {
		n.Kill()
	}
	s.command(s1, "server", "--disable-agent", "--advertise-address="+s1.Address.String(), "--cluster-reset", "--cluster-reset-restore-path="+strings.TrimSuffix(saved, ","))
	s1.Start()
	s1.WaitReady()
	s.has(s1, "in-snapshot")
	_, err := s1.Client().CoreV1().ConfigMaps("default").Get(s.t.Context(), "after-snapshot", metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		s.t.Errorf("what was written after the snapshot: %v", err)
	}
	for _, n := range []*cluster.Node{s2, s3} {
		if err := os.RemoveAll(filepath.Join(n.DataDir, "etcd")); err != nil {
			s.t.Fatal(err)
		}
		n.Start()
		n.WaitReady()
		s.has(n, "in-snapshot")
	}
	s.write(s3, "after-restore")
	s.has(s2, "after-restore")
}

// TestTwoServersOnOneDatabase joins a second server, whose objects are where
// those of the first one are, and kills the one that leads.
func TestTwoServersOnOneDatabase(t *testing.T) {
	database := postgrestest.New(t)
	lan := cluster.NewLAN(t)
	at := "--datastore-endpoint=" + database.Schema()
	first := cluster.StartServer(t, lan.NewHost("s1"), "--disable-agent", at)
	s := &servers{t: t, nodes: map[string]*cluster.Node{"s1": first}}
	second := cluster.StartServer(t, lan.NewHost("s2"), append(s.joining(first), at)...)
	s.write(second, "by-s2")
	s.has(first, "by-s2")
	first.Kill()
	s.takesOver(second, "s1")
	s.write(second, "while-killed")
	first.Start()
	first.WaitReady()
	s.has(first, "while-killed")
	// A server that has keys of its own does not belong here.
	stranger := &cluster.Node{Host: lan.NewHost("x"), DataDir: shortDir(t)}
	if out, err := s.try(stranger, "server", "--disable-agent", "--advertise-address="+stranger.Address.String(), at); err == nil || !strings.Contains(out, "another authority") {
		t.Errorf("a server with keys of its own: %v\n%s", err, out)
	}
}

// shortDir is for sockets, whose paths must be short.
func shortDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "yare-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
