package etcd

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Member is one of a cluster, as far as it can be seen.
type Member struct {
	ID                 uint64
	Name               string
	PeerURL, ClientURL string
	// Learner has no vote yet.
	Learner, Leader bool
	// Size of its data in bytes.
	Size int64
	// Err says why it does not answer; nil when it does.
	Err error
}

// memberTimeout is how long a member may take to say that it is well.
const memberTimeout = 3 * time.Second

// Members lists the members of the cluster that config.Endpoints reach, by name,
// and asks each at its client URL, with a TLS of its own, how it is.
func Members(ctx context.Context, config Config, members TLS) ([]Member, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	client, err := connect(config, zap.NewNop())
	if err != nil {
		return nil, err
	}
	defer client.Close()
	limited, cancel := context.WithTimeout(ctx, config.RequestTimeout)
	defer cancel()
	// What this member knows is enough: it may be all that is left.
	list, err := client.MemberList(limited, clientv3.WithSerializable())
	if err != nil {
		return nil, fmt.Errorf("list the members of etcd: %w", err)
	}
	all := make([]Member, len(list.Members))
	var asking sync.WaitGroup
	for i, m := range list.Members {
		all[i] = Member{ID: m.ID, Name: m.Name, Learner: m.IsLearner}
		if len(m.PeerURLs) > 0 {
			all[i].PeerURL = m.PeerURLs[0]
		}
		if len(m.ClientURLs) > 0 {
			all[i].ClientURL = m.ClientURLs[0]
		}
		asking.Go(func() { all[i].ask(ctx, config, members) })
	}
	asking.Wait()
	slices.SortFunc(all, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// ask fills in what the member says of itself.
func (m *Member) ask(ctx context.Context, config Config, tls TLS) {
	if m.ClientURL == "" {
		m.Err = fmt.Errorf("it has not started yet")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, memberTimeout)
	defer cancel()
	if !strings.HasPrefix(m.ClientURL, "https://") {
		tls = TLS{} // it is alone, and at a socket
	}
	config.Endpoints, config.TLS = []string{m.ClientURL}, tls
	client, err := connect(config, zap.NewNop())
	if err != nil {
		m.Err = err
		return
	}
	defer client.Close()
	status, err := client.Status(ctx, m.ClientURL)
	if err != nil {
		m.Err = err
		return
	}
	m.Leader, m.Size = status.Leader == m.ID, status.DbSize
	if m.Learner {
		return
	}
	// A member that answers a linearizable read is in touch with most others.
	_, m.Err = client.Get(ctx, anyKey, clientv3.WithCountOnly())
}

// RemoveMember takes a member out of the cluster that config.Endpoints reach. Its
// process ends, and its data must be removed before it can join again. etcd
// refuses what would leave too few members to go on.
func RemoveMember(ctx context.Context, config Config, name string) error {
	config, err := config.withDefaults()
	if err != nil {
		return err
	}
	client, err := connect(config, zap.NewNop())
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, config.RequestTimeout)
	defer cancel()
	list, err := client.MemberList(ctx)
	if err != nil {
		return fmt.Errorf("list the members of etcd: %w", err)
	}
	for _, m := range list.Members {
		if m.Name != name && fmt.Sprintf("%x", m.ID) != name {
			continue
		}
		// Members that have just started count as unhealthy for some seconds.
		for {
			_, err := client.MemberRemove(ctx, m.ID)
			if err == nil || !passing(err) || pause(ctx, tryAgain) != nil {
				return removed(name, err)
			}
		}
	}
	return fmt.Errorf("there is no member %q", name)
}

func removed(name string, err error) error {
	if err != nil {
		return fmt.Errorf("remove the member %s: %w", name, err)
	}
	return nil
}
