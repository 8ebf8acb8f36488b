package etcdmembers

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/yare-io/yare/controllers/worker"
)

// three are the members a (the leader's own), b and c, whose servers run the
// nodes na, nb and nc.
type three struct {
	members []Member
	removed []string
	refuse  error
}

func (e *three) List(context.Context) ([]Member, error) { return slices.Clone(e.members), nil }

func (e *three) See(_ context.Context, name string, node types.UID) error {
	e.member(name).Seen = node
	return nil
}

func (e *three) Remove(_ context.Context, name string) error {
	if e.refuse != nil {
		return e.refuse
	}
	e.removed = append(e.removed, name)
	e.members = slices.DeleteFunc(e.members, func(m Member) bool { return m.Name == name })
	return nil
}

func (e *three) member(name string) *Member {
	i := slices.IndexFunc(e.members, func(m Member) bool { return m.Name == name })
	return &e.members[i]
}

type lab struct {
	t     *testing.T
	etcd  *three
	nodes cache.Indexer
	clock *testingclock.FakeClock
	*controller
}

func newLab(t *testing.T) *lab {
	l := &lab{t: t, etcd: &three{}, nodes: cache.NewIndexer(cache.MetaNamespaceKeyFunc, nil), clock: testingclock.NewFakeClock(time.Unix(0, 0))}
	for _, name := range []string{"a", "b", "c"} {
		l.etcd.members = append(l.etcd.members, Member{Name: name, Node: "n" + name, Own: name == "a", Voter: true})
		l.add("n"+name, "1")
	}
	l.lead()
	l.look()
	return l
}

// lead is the beginning of a term, with nothing remembered.
func (l *lab) lead() {
	l.controller = &controller{
		env:     &worker.Env{Clock: l.clock, Log: slog.New(slog.DiscardHandler)},
		members: l.etcd, nodes: corelisters.NewNodeLister(l.nodes), missing: map[string]time.Time{},
	}
}

func (l *lab) add(name string, uid types.UID) {
	if err := l.nodes.Add(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, UID: uid}}); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) deleteNode(name string) {
	if err := l.nodes.Delete(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) look() {
	l.t.Helper()
	if err := l.controller.look(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
}

// wait looks for as long as patience takes, and once more.
func (l *lab) wait() {
	l.t.Helper()
	for range patience/period + 1 {
		l.look()
		l.clock.Step(period)
	}
	l.look()
}

var errAway = errors.New("connection refused")

func TestMemberOfADeletedNodeIsRemoved(t *testing.T) {
	l := newLab(t)
	l.etcd.member("c").Err = errAway
	l.deleteNode("nc")
	for range patience / period {
		l.look()
		l.clock.Step(period)
	}
	if len(l.etcd.removed) > 0 {
		t.Fatalf("removed %v before its time", l.etcd.removed)
	}
	l.look()
	if !slices.Equal(l.etcd.removed, []string{"c"}) {
		t.Fatalf("removed %v", l.etcd.removed)
	}
}

func TestMembersThatStay(t *testing.T) {
	for name, c := range map[string]func(*lab){
		"its server runs":                  func(l *lab) { l.deleteNode("nc") },
		"away, its node is there":          func(l *lab) { l.etcd.member("c").Err = errAway },
		"own":                              func(l *lab) { l.etcd.member("a").Err = errAway; l.deleteNode("na") },
		"two of three are away":            func(l *lab) { l.etcd.member("b").Err, l.etcd.member("c").Err = errAway, errAway; l.deleteNode("nc") },
		"its server runs no node any more": func(l *lab) { m := l.etcd.member("c"); m.Node, m.Err = "", errAway; l.deleteNode("nc") },
		"its node has never been there":    func(l *lab) { m := l.etcd.member("c"); m.Seen, m.Err = "", errAway; l.deleteNode("nc") },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			c(l)
			l.wait()
			if len(l.etcd.removed) > 0 {
				t.Errorf("removed %v", l.etcd.removed)
			}
		})
	}
}

func TestRefusalIsTold(t *testing.T) {
	l := newLab(t)
	l.etcd.member("c").Err, l.etcd.refuse = errAway, errors.New("unhealthy cluster")
	l.deleteNode("nc")
	l.look()
	l.clock.Step(patience)
	if err := l.controller.look(t.Context()); !errors.Is(err, l.etcd.refuse) {
		t.Errorf("told %v", err)
	}
}

func TestNodeThatComesBackStartsItsPatienceAnew(t *testing.T) {
	l := newLab(t)
	l.etcd.member("c").Err = errAway
	l.deleteNode("nc")
	l.look()
	l.clock.Step(patience)
	l.add("nc", "2")
	l.look()
	if seen := l.etcd.member("c").Seen; seen != "2" {
		t.Errorf("the new node was not seen: %q", seen)
	}
	l.deleteNode("nc")
	l.look()
	if len(l.etcd.removed) > 0 {
		t.Errorf("removed %v", l.etcd.removed)
	}
}

func TestAnotherLeaderKnowsWhatWasSeen(t *testing.T) {
	l := newLab(t)
	l.etcd.member("c").Err = errAway
	l.deleteNode("nc")
	l.lead()
	l.wait()
	if !slices.Equal(l.etcd.removed, []string{"c"}) {
		t.Errorf("removed %v", l.etcd.removed)
	}
}

func TestOneMemberAtATime(t *testing.T) {
	l := newLab(t)
	l.etcd.members = append(l.etcd.members, Member{Name: "d", Voter: true}, Member{Name: "e", Voter: true})
	l.etcd.member("b").Err, l.etcd.member("c").Err = errAway, errAway
	l.deleteNode("nb")
	l.deleteNode("nc")
	l.look()
	l.clock.Step(patience)
	l.look()
	if !slices.Equal(l.etcd.removed, []string{"b"}) {
		t.Fatalf("removed %v at once", l.etcd.removed)
	}
	l.look()
	if !slices.Equal(l.etcd.removed, []string{"b", "c"}) {
		t.Errorf("removed %v", l.etcd.removed)
	}
}
