package etcd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Cluster makes the embedded server one member of several.
type Cluster struct {
	// Name of this member; no other may have it.
	Name string
	// PeerURL and ClientURL, with an address each ("https://10.0.0.1:2380" and
	// ":2379"), are where the other members and those who want to join reach
	// this one. It listens there, and nobody without a certificate is let in.
	PeerURL, ClientURL string
	// PeerTLS is shown to other members and asked of them, ClientTLS shown to
	// their client URLs; Config.ListenTLS is for ClientURL. Files that change
	// are read again.
	PeerTLS, ClientTLS TLS
	// Join has client URLs of the cluster to join while Dir has no data; with
	// none, a cluster of one begins. Where there is data, it decides.
	Join []string
}

func (c *Cluster) check(listen TLS) error {
	for what, tls := range map[string]TLS{"peers": c.PeerTLS, "other members' clients": c.ClientTLS, "clients": listen} {
		if tls.CA == "" || tls.Cert == "" || tls.Key == "" {
			return fmt.Errorf("etcd: a member of a cluster needs a certificate, its key and an authority for %s", what)
		}
	}
	for _, address := range []string{c.PeerURL, c.ClientURL} {
		if !strings.HasPrefix(address, "https://") {
			return fmt.Errorf("etcd: a member of a cluster is reached by https://, not at %q", address)
		}
	}
	if c.Name == "" {
		return errors.New("etcd: a member of a cluster needs a name")
	}
	return nil
}

// HasData tells whether a directory has the data of an embedded server.
func HasData(dir string) (bool, error) {
	entries, err := os.ReadDir(filepath.Join(dir, "member", "wal"))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return len(entries) > 0, err
}

// tryAgain is the pause between two attempts at something that other members
// have to be ready for.
const tryAgain = 250 * time.Millisecond

// settle brings settings in line with the cluster that the server belongs to.
// A server without data that is to join is announced to the other members.
func (c *Cluster) settle(ctx context.Context, config Config, settings *embed.Config, logger *zap.Logger) error {
	peer := transport.TLSInfo{CertFile: c.PeerTLS.Cert, KeyFile: c.PeerTLS.Key, TrustedCAFile: c.PeerTLS.CA, ClientCertAuth: true,
		// The authority vouches for members only; a member may have several addresses.
		SkipClientSANVerify: true}
	settings.Name, settings.PeerTLSInfo = c.Name, peer
	settings.TickMs, settings.ElectionMs = clusterTickMillis, clusterElectionMillis
	var err error
	if settings.ListenPeerUrls, err = parseURLs(c.PeerURL); err != nil {
		return err
	}
	if settings.AdvertiseClientUrls, err = parseURLs(c.ClientURL); err != nil {
		return err
	}
	settings.ListenClientUrls = append(settings.ListenClientUrls, settings.AdvertiseClientUrls...)
	settings.AdvertisePeerUrls = settings.ListenPeerUrls
	settings.InitialCluster = settings.InitialClusterFromName(c.Name)
	if there, err := HasData(config.Dir); err != nil || there || len(c.Join) == 0 {
		return err
	}
	settings.ClusterState = embed.ClusterStateFlagExisting
	settings.InitialCluster, err = c.announce(ctx, config, logger)
	return err
}

// announce adds this member to a cluster, as one that has no vote yet, and
// returns all members in the form of --initial-cluster. It goes on trying while
// the others are not ready for another member, until ctx ends.
func (c *Cluster) announce(ctx context.Context, config Config, logger *zap.Logger) (string, error) {
	config.Endpoints, config.TLS = c.Join, c.ClientTLS
	client, err := connect(config, logger)
	if err != nil {
		return "", err
	}
	defer client.Close()
	for {
		members, err := c.add(ctx, client, config.RequestTimeout)
		if err == nil {
			return c.initial(members), nil
		}
		if !passing(err) {
			return "", fmt.Errorf("join the etcd cluster at %s: %w", strings.Join(c.Join, ", "), err)
		}
		config.Logger.Info("the etcd cluster does not take another member yet", "err", err)
		if err := pause(ctx, 4*tryAgain); err != nil {
			return "", fmt.Errorf("join the etcd cluster at %s: %w", strings.Join(c.Join, ", "), err)
		}
	}
}

// add takes out a member that had this one's address, which can only be this one
// with other data or an earlier attempt, and adds this one.
func (c *Cluster) add(ctx context.Context, client *clientv3.Client, timeout time.Duration) ([]*etcdserverpb.Member, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	list, err := client.MemberList(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range list.Members {
		switch {
		case len(m.PeerURLs) == 1 && m.PeerURLs[0] == c.PeerURL:
			if _, err := client.MemberRemove(ctx, m.ID); err != nil {
				return nil, err
			}
		case m.Name == c.Name:
			return nil, fmt.Errorf("there is a member %s already, at %s: remove it, or give this one another name", m.Name, strings.Join(m.PeerURLs, ", "))
		}
	}
	added, err := client.MemberAddAsLearner(ctx, []string{c.PeerURL})
	if err != nil {
		return nil, err
	}
	return added.Members, nil
}

func (c *Cluster) initial(members []*etcdserverpb.Member) string {
	var pairs []string
	for _, m := range members {
		for _, address := range m.PeerURLs {
			if address == c.PeerURL {
				pairs = append(pairs, c.Name+"="+address)
			} else if m.Name != "" {
				pairs = append(pairs, m.Name+"="+address)
			}
		}
	}
	return strings.Join(pairs, ",")
}

// passing tells whether an error of membership is over once other members have
// started, or have caught up.
func passing(err error) bool {
	err = rpctypes.Error(err)
	for _, kind := range []error{
		rpctypes.ErrUnhealthy, rpctypes.ErrMemberNotEnoughStarted, rpctypes.ErrTooManyLearners, rpctypes.ErrMemberLearnerNotReady,
		rpctypes.ErrNoLeader, rpctypes.ErrLeaderChanged, rpctypes.ErrNotLeader, rpctypes.ErrTimeout, rpctypes.ErrTimeoutDueToLeaderFail,
		rpctypes.ErrTimeoutDueToConnectionLost, rpctypes.ErrTimeoutWaitAppliedIndex,
		context.DeadlineExceeded,
	} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// vote makes a member that runs one with a vote, at the address it has now. It
// returns when it is, or when ctx ends.
func (c *Cluster) vote(ctx context.Context, server *embed.Etcd, client *clientv3.Client, config Config) error {
	id := uint64(server.Server.MemberID())
	for {
		err := c.tryVote(ctx, server, client, id, config.RequestTimeout)
		if err == nil && !server.Server.IsLearner() {
			return nil
		}
		if err != nil && !passing(err) {
			return fmt.Errorf("become a member of the etcd cluster: %w", err)
		}
		select {
		case <-server.Server.StopNotify():
			return errEnded
		default:
		}
		if err := pause(ctx, tryAgain); err != nil {
			return fmt.Errorf("become a member of the etcd cluster: %w", err)
		}
	}
}

func (c *Cluster) tryVote(ctx context.Context, server *embed.Etcd, client *clientv3.Client, id uint64, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if server.Server.IsLearner() {
		_, err := client.MemberPromote(ctx, id)
		return err
	}
	for _, m := range server.Server.Cluster().Members() {
		if uint64(m.ID) == id && (len(m.PeerURLs) != 1 || m.PeerURLs[0] != c.PeerURL) {
			_, err := client.MemberUpdate(ctx, id, []string{c.PeerURL})
			return err
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ResetCluster makes the data in a directory, which no server may use, that of
// a cluster of one. It is for when most of the members are lost for good: the
// others must not start with their old data again.
func ResetCluster(ctx context.Context, config Config) error {
	config, err := config.withDefaults()
	if err != nil {
		return err
	}
	if there, err := HasData(config.Dir); err != nil || !there {
		return errors.Join(fmt.Errorf("reset the cluster: there is no data in %s", config.Dir), err)
	}
	config.Cluster, config.Listen, config.force = nil, nil, true
	client, server, err := startServer(ctx, config, zapLogger(config))
	if err != nil {
		return fmt.Errorf("reset the cluster: %w", err)
	}
	_ = client.Close()
	server.Close()
	return nil
}
