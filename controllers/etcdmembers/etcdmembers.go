// Package etcdmembers takes out of the etcd that runs in the servers those
// members whose node was deleted: whoever retires a machine deletes its node,
// and a member that will never come back still counts for the majority.
package etcdmembers

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/yare-io/yare/controllers/worker"
)

const (
	period = 10 * time.Second
	// patience is how long a node must be gone: that of a server which runs
	// registers again well before.
	patience = time.Minute
)

// Member is one of the etcd in the servers.
type Member struct {
	Name string
	// Node is the one that the member's server runs, empty where it runs none.
	Node string
	// Seen is what Members.See kept last, empty when the node has not been there
	// since the server began to run it.
	Seen types.UID
	// Own is the member of the server that asks. Voter counts for the majority.
	Own, Voter bool
	// Err says why it does not answer; nil when it does.
	Err error
}

// Members is the etcd in the servers, with what is known of their nodes. All of
// it is kept in the cluster, so that another leader knows it too.
type Members interface {
	List(ctx context.Context) ([]Member, error)
	// See keeps that a member's node has been there.
	See(ctx context.Context, name string, node types.UID) error
	// Remove takes a member out, unless etcd would be left without a majority.
	Remove(ctx context.Context, name string) error
}

type controller struct {
	env     *worker.Env
	members Members
	nodes   corelisters.NodeLister
	// missing are members without their node, since when.
	missing map[string]time.Time
}

// New makes the controller.
func New(env *worker.Env, members Members) (worker.Runner, error) {
	if members == nil {
		return nil, worker.NotConfigured("no etcd with several members in the servers")
	}
	nodes := env.Informers.Core().V1().Nodes()
	c := &controller{env: env, members: members, nodes: nodes.Lister(), missing: map[string]time.Time{}}
	return worker.Periodically(env, period, c.look, nodes.Informer()), nil
}

// look removes at most one member, so that each decision is made on what etcd is
// after the last one.
func (c *controller) look(ctx context.Context) error {
	members, err := c.members.List(ctx)
	if err != nil {
		return err
	}
	missing := map[string]time.Time{}
	var failures []error
	for _, m := range members {
		gone, err := c.gone(ctx, m)
		if err != nil {
			failures = append(failures, err)
			continue
		}
		if !gone {
			continue
		}
		since, known := c.missing[m.Name]
		if !known {
			since = c.env.Clock.Now()
		}
		missing[m.Name] = since
	}
	c.missing = missing
	for _, m := range members {
		since, gone := missing[m.Name]
		if !gone || c.env.Clock.Since(since) < patience || !c.removable(m, members) {
			continue
		}
		if err := c.members.Remove(ctx, m.Name); err != nil {
			failures = append(failures, fmt.Errorf("remove the member %s of etcd, whose node %s was deleted: %w", m.Name, m.Node, err))
			break
		}
		c.env.Log.Info("removed the member of etcd whose node was deleted", "member", m.Name, "node", m.Node)
		break
	}
	return errors.Join(failures...)
}

// gone tells whether the member had a node that is there no more.
func (c *controller) gone(ctx context.Context, m Member) (bool, error) {
	if m.Node == "" {
		return false, nil
	}
	node, err := c.nodes.Get(m.Node)
	if apierrors.IsNotFound(err) {
		return m.Seen != "", nil
	}
	if err != nil || node.UID == m.Seen {
		return false, err
	}
	return false, c.members.See(ctx, m.Name, node.UID)
}

// removable tells whether a member whose node is gone may be taken out: it is
// another server's, that server does not run, and most of the others do.
func (c *controller) removable(m Member, all []Member) bool {
	if m.Own {
		return false
	}
	if m.Err == nil {
		c.env.Log.Debug("the node was deleted, but its server runs: its member of etcd stays", "member", m.Name, "node", m.Node)
		return false
	}
	voters, well := 0, 0
	for _, other := range all {
		if other.Name == m.Name || !other.Voter {
			continue
		}
		voters++
		if other.Err == nil {
			well++
		}
	}
	if well <= voters/2 {
		c.env.Log.Warn("a member of etcd whose node was deleted stays, as too few others are well", "member", m.Name, "voters", voters, "well", well)
		return false
	}
	return true
}
