package flowcontrol_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap"
	"k8s.io/apiserver/pkg/authentication/user"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/yare-io/yare/apiserver/flowcontrol"
	"github.com/yare-io/yare/apiserver/request"
)

func controller(t testing.TB, seats int) (*flowcontrol.Controller, *clocktesting.FakeClock) {
	t.Helper()
	clock := clocktesting.NewFakeClock(time.Unix(1000, 0))
	c, err := flowcontrol.New(flowcontrol.Config{Seats: seats, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	return c, clock
}

func as(name string, groups ...string) user.Info {
	return &user.DefaultInfo{Name: name, Groups: append(groups, user.AllAuthenticated)}
}

func get(resource string) *request.Info {
	return &request.Info{IsResource: true, Verb: "get", Version: "v1", Resource: resource, Namespace: "default", Name: "x"}
}

// TestBootstrapSchemas: requests belong where Kubernetes puts them.
func TestBootstrapSchemas(t *testing.T) {
	c, _ := controller(t, 600)
	node := as("system:node:a", "system:nodes")
	lease := &request.Info{IsResource: true, Verb: "update", Group: "coordination.k8s.io", Version: "v1", Resource: "leases", Namespace: "kube-node-lease", Name: "a"}
	election := &request.Info{IsResource: true, Verb: "update", Group: "coordination.k8s.io", Version: "v1", Resource: "leases", Namespace: "kube-system", Name: "kube-scheduler"}
	status := &request.Info{IsResource: true, Verb: "patch", Version: "v1", Resource: "nodes", Subresource: "status", Name: "a"}
	healthz := &request.Info{Verb: "get", Path: "/healthz"}
	for _, test := range []struct {
		who  user.Info
		info *request.Info
		want string
	}{
		{as("admin", "system:masters"), get("pods"), "exempt"},
		{node, lease, "system-node-high"},
		{node, status, "system-node-high"},
		{node, get("pods"), "system-nodes"},
		{as("system:kube-scheduler"), election, "system-leader-election"},
		{as("system:kube-scheduler"), get("pods"), "kube-scheduler"},
		{as("system:kube-controller-manager"), get("pods"), "kube-controller-manager"},
		{as("system:serviceaccount:kube-system:x", "system:serviceaccounts:kube-system", "system:serviceaccounts"), get("pods"), "kube-system-service-accounts"},
		{as("system:serviceaccount:default:x", "system:serviceaccounts:default", "system:serviceaccounts"), get("pods"), "service-accounts"},
		{as("someone"), get("pods"), "global-default"},
		{&user.DefaultInfo{Name: user.Anonymous, Groups: []string{user.AllUnauthenticated}}, healthz, "probes"},
		{&user.DefaultInfo{Name: "odd"}, get("pods"), "catch-all"},
	} {
		ticket, err := c.Enter(t.Context(), &flowcontrol.Request{User: test.who, Info: test.info})
		if err != nil {
			t.Fatal(err)
		}
		if ticket.Placement.Schema != test.want {
			t.Errorf("%s %s %s: schema %s, want %s", test.who.GetName(), test.info.Verb, test.info.Resource, ticket.Placement.Schema, test.want)
		}
		c.Leave(&ticket)
	}
}

// small is a level of one seat with queues, and its schema for all users.
func small(queues, hand, length int32) ([]*flowcontrolv1.FlowSchema, []*flowcontrolv1.PriorityLevelConfiguration) {
	shares := int32(100)
	level := &flowcontrolv1.PriorityLevelConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "small", UID: "level"},
		Spec: flowcontrolv1.PriorityLevelConfigurationSpec{
			Type: flowcontrolv1.PriorityLevelEnablementLimited,
			Limited: &flowcontrolv1.LimitedPriorityLevelConfiguration{
				NominalConcurrencyShares: &shares,
				LimitResponse: flowcontrolv1.LimitResponse{
					Type:    flowcontrolv1.LimitResponseTypeQueue,
					Queuing: &flowcontrolv1.QueuingConfiguration{Queues: queues, HandSize: hand, QueueLengthLimit: length},
				},
			},
		},
	}
	schema := bootstrap.SuggestedFlowSchemaGlobalDefault.DeepCopy()
	schema.Name, schema.UID, schema.Spec.PriorityLevelConfiguration.Name = "all", "schema", "small"
	return []*flowcontrolv1.FlowSchema{schema}, []*flowcontrolv1.PriorityLevelConfiguration{level}
}

// enter sends a request that waits, and reports how it went.
func enter(c *flowcontrol.Controller, ctx context.Context, name string, done func(flowcontrol.Ticket, error)) {
	go func() {
		ticket, err := c.Enter(ctx, &flowcontrol.Request{User: as(name), Info: get("pods")})
		done(ticket, err)
	}()
}

func waiting(t *testing.T, c *flowcontrol.Controller, n int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		var b bytes.Buffer
		if err := c.DumpRequests(&b); err != nil {
			t.Fatal(err)
		}
		if strings.Count(b.String(), "\n") == n+1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("want %d waiting:\n%s", n, b.String())
		}
	}
}

// TestQueuesServeFlowsInTurn: one flow's flood does not keep another waiting
// behind all of it.
func TestQueuesServeFlowsInTurn(t *testing.T) {
	c, clock := controller(t, 1)
	c.Configure(small(64, 8, 50))
	first, err := c.Enter(t.Context(), &flowcontrol.Request{User: as("flood"), Info: get("pods")})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var order []string
	served := make(chan flowcontrol.Ticket)
	send := func(name string) {
		enter(c, t.Context(), name, func(ticket flowcontrol.Ticket, err error) {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			mu.Lock()
			order = append(order, name)
			mu.Unlock()
			served <- ticket
		})
	}
	const flood = 20
	for i := range flood {
		send("flood")
		waiting(t, c, i+1)
	}
	send("quiet")
	waiting(t, c, flood+1)
	c.Leave(&first)
	for range flood + 1 {
		ticket := <-served
		clock.Step(10 * time.Millisecond)
		c.Leave(&ticket)
	}
	for i, name := range order {
		if name == "quiet" && i > 8 {
			t.Errorf("the quiet client was served as number %d of %d", i+1, len(order))
		}
	}
}

func TestFullQueuesAndLateRequestsAreRejected(t *testing.T) {
	c, clock := controller(t, 1)
	c.Configure(small(1, 1, 1))
	first, err := c.Enter(t.Context(), &flowcontrol.Request{User: as("a"), Info: get("pods")})
	if err != nil {
		t.Fatal(err)
	}
	late := make(chan error, 1)
	enter(c, t.Context(), "a", func(_ flowcontrol.Ticket, err error) { late <- err })
	waiting(t, c, 1)
	_, err = c.Enter(t.Context(), &flowcontrol.Request{User: as("a"), Info: get("pods")})
	expectRejection(t, err, "queue-full")
	for !clock.HasWaiters() {
		time.Sleep(time.Millisecond)
	}
	clock.Step(16 * time.Second)
	expectRejection(t, <-late, "time-out")
	waiting(t, c, 0)
	ctx, cancel := context.WithCancel(t.Context())
	enter(c, ctx, "a", func(_ flowcontrol.Ticket, err error) { late <- err })
	waiting(t, c, 1)
	cancel()
	expectRejection(t, <-late, "cancelled")
	c.Leave(&first)
}

func expectRejection(t *testing.T, err error, reason string) {
	t.Helper()
	var rejection *flowcontrol.Rejection
	if !errors.Is(err, flowcontrol.ErrRejected) || !errors.As(err, &rejection) || rejection.Reason != reason || rejection.RetryAfter < time.Second {
		t.Errorf("got %v, want a rejection for %s with a time to come again", err, reason)
	}
}

// sizes answers for the load of requests; an object has a thousand bytes.
type sizes struct{ objects, watchers int }

func (s sizes) Objects(*request.Info) (int, int64) { return s.objects, int64(s.objects) * 1000 }
func (s sizes) Watchers(*request.Info) int         { return s.watchers }

// TestListsAreChargedBySize: where ten small requests run at once, a large list
// takes the room of several.
func TestListsAreChargedBySize(t *testing.T) {
	c, _ := controller(t, 40)
	c.Configure(small(64, 8, 50))
	list := &request.Info{IsResource: true, Verb: "list", Version: "v1", Resource: "pods"}
	for _, test := range []struct {
		limit   int64
		objects int
		seats   string
	}{{0, 10, "1"}, {0, 250, "3"}, {200, 100_000, "2"}, {0, 100_000, "4"}} {
		ticket, err := c.Enter(t.Context(), &flowcontrol.Request{User: as("a"), Info: list, Limit: test.limit, Load: sizes{objects: test.objects}})
		if err != nil {
			t.Fatal(err)
		}
		if seats := seatsInUse(t, c); seats != test.seats {
			t.Errorf("%d objects, limit %d: %s seats, want %s", test.objects, test.limit, seats, test.seats)
		}
		c.Leave(&ticket)
	}
}

// TestWatchesAreChargedForWhatTheyBeginWith: one that asks for changes only
// takes one seat, one that begins with all objects as many as their list.
func TestWatchesAreChargedForWhatTheyBeginWith(t *testing.T) {
	c, _ := controller(t, 40)
	c.Configure(small(64, 8, 50))
	for changes, want := range map[bool]string{true: "1", false: "3"} {
		ticket, err := c.Enter(t.Context(), &flowcontrol.Request{
			User: as("a"), Info: &request.Info{IsResource: true, Verb: "watch", Version: "v1", Resource: "pods"}, Changes: changes, Load: sizes{objects: 250},
		})
		if err != nil {
			t.Fatal(err)
		}
		if seats := seatsInUse(t, c); seats != want {
			t.Errorf("changes only: %t: %s seats, want %s", changes, seats, want)
		}
		c.Leave(&ticket)
	}
}

// seatsInUse is what the only busy queue has.
func seatsInUse(t *testing.T, c *flowcontrol.Controller) string {
	t.Helper()
	var b bytes.Buffer
	if err := c.DumpQueues(&b); err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.Split(b.String(), "\n")[1], ",")[4]
}

// TestWritesHoldSeatsWhileWatchersHear: the seats come back after that time.
func TestWritesHoldSeatsWhileWatchersHear(t *testing.T) {
	c, clock := controller(t, 1)
	c.Configure(small(1, 1, 1))
	write := &request.Info{IsResource: true, Verb: "update", Version: "v1", Resource: "pods", Namespace: "default", Name: "x"}
	ticket, err := c.Enter(t.Context(), &flowcontrol.Request{User: as("a"), Info: write, Load: sizes{watchers: 25}})
	if err != nil {
		t.Fatal(err)
	}
	c.Leave(&ticket)
	next := make(chan error, 1)
	enter(c, t.Context(), "a", func(_ flowcontrol.Ticket, err error) { next <- err })
	waiting(t, c, 1)
	clock.Step(15 * time.Millisecond) // three seats for 5 ms, one after another
	if err := <-next; err != nil {
		t.Errorf("after the time: %v", err)
	}
}

// TestIdleLevelsLendTheirSeats: a level that others leave room takes it, and
// gives it back.
func TestIdleLevelsLendTheirSeats(t *testing.T) {
	c, clock := controller(t, 100)
	limit := func(name string) (n int) {
		for _, row := range current(t, c) {
			if row.name == name {
				return row.limit
			}
		}
		t.Fatalf("no level %s", name)
		return 0
	}
	before := limit("workload-low")
	var tickets []flowcontrol.Ticket
	account := as("system:serviceaccount:default:x", "system:serviceaccounts:default", "system:serviceaccounts")
	for range before {
		ticket, err := c.Enter(t.Context(), &flowcontrol.Request{User: account, Info: get("pods")})
		if err != nil {
			t.Fatal(err)
		}
		tickets = append(tickets, ticket)
	}
	clock.Step(10 * time.Second)
	c.Rebalance()
	if after := limit("workload-low"); after <= before {
		t.Errorf("busy level has %d seats of %d after lending", after, before)
	}
	sum := 0
	for _, row := range current(t, c) {
		sum += row.limit
	}
	if sum > 100 {
		t.Errorf("levels have %d seats of 100", sum)
	}
	for i := range tickets {
		c.Leave(&tickets[i])
	}
}

type limitRow struct {
	name  string
	limit int
}

func current(t *testing.T, c *flowcontrol.Controller) []limitRow {
	t.Helper()
	var rows []limitRow
	for name, n := range c.Limits() {
		rows = append(rows, limitRow{name, n})
	}
	return rows
}

// TestRemovedLevelsAreDrained: who waits in a level that is gone is served.
func TestRemovedLevelsAreDrained(t *testing.T) {
	c, _ := controller(t, 1)
	c.Configure(small(4, 2, 5))
	first, err := c.Enter(t.Context(), &flowcontrol.Request{User: as("a"), Info: get("pods")})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	enter(c, t.Context(), "a", func(ticket flowcontrol.Ticket, err error) { c.Leave(&ticket); served <- err })
	waiting(t, c, 1)
	c.Configure(nil, nil)
	c.Leave(&first)
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// TestSystemTrafficSurvivesAFlood: however many requests one client sends,
// nodes' leases and elections run at once.
func TestSystemTrafficSurvivesAFlood(t *testing.T) {
	c, _ := controller(t, 30)
	ctx, cancel := context.WithCancel(t.Context())
	var flood sync.WaitGroup
	var mu sync.Mutex
	rejected := 0
	for i := range 2000 {
		flood.Go(func() {
			_, err := c.Enter(ctx, &flowcontrol.Request{User: as(fmt.Sprint("flood", i%3)), Info: get("pods")})
			var rejection *flowcontrol.Rejection
			if errors.As(err, &rejection) && rejection.Reason == "queue-full" {
				mu.Lock()
				rejected++
				mu.Unlock()
			}
		})
	}
	waits := func() bool { mu.Lock(); defer mu.Unlock(); return rejected > 0 }
	for deadline := time.Now().Add(20 * time.Second); !waits(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the flood never filled its queues")
		}
	}
	lease := &request.Info{IsResource: true, Verb: "update", Group: "coordination.k8s.io", Version: "v1", Resource: "leases", Namespace: "kube-node-lease", Name: "a"}
	election := &request.Info{IsResource: true, Verb: "update", Group: "coordination.k8s.io", Version: "v1", Resource: "leases", Namespace: "kube-system", Name: "kube-scheduler"}
	for range 500 {
		for _, r := range []*flowcontrol.Request{
			{User: as("system:node:a", "system:nodes"), Info: lease},
			{User: as("system:kube-scheduler"), Info: election},
			{User: as("admin", "system:masters"), Info: get("pods")},
		} {
			done, stop := context.WithCancel(t.Context())
			stop() // it may not wait at all
			ticket, err := c.Enter(done, r)
			if err != nil {
				t.Fatalf("%s: %v", r.User.GetName(), err)
			}
			c.Leave(&ticket)
		}
	}
	cancel()
	flood.Wait()
}

func BenchmarkEnterLeave(b *testing.B) {
	c, err := flowcontrol.New(flowcontrol.Config{Seats: 600})
	if err != nil {
		b.Fatal(err)
	}
	for name, who := range map[string]user.Info{
		"exempt": as("admin", "system:masters"), "node": as("system:node:a", "system:nodes"), "user": as("someone"),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			info := get("pods")
			ctx := context.Background()
			for b.Loop() {
				r := flowcontrol.Request{User: who, Info: info, Load: sizes{}}
				ticket, err := c.Enter(ctx, &r)
				if err != nil {
					b.Fatal(err)
				}
				c.Leave(&ticket)
			}
		})
	}
}
