package kubeproxy

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"
)

// Config sets a proxy up. Client and NodeName are required.
type Config struct {
	// Client reaches the API server.
	Client kubernetes.Interface
	// Informers, if set, are shared with other components of the process; they
	// MUST not filter services or endpoint slices. Whoever made the factory
	// shuts it down.
	Informers informers.SharedInformerFactory
	// NodeName is the name of the Node object that this proxy serves.
	NodeName string
	// NodeIPs are where node ports answer; if empty, the InternalIP and
	// ExternalIP addresses of the Node, as they change.
	NodeIPs []netip.Addr
	// ClusterCIDRs are the pod networks of the cluster. Traffic to cluster IPs
	// from outside of them is masqueraded; with none, only traffic from a pod
	// to itself is.
	ClusterCIDRs []netip.Prefix
	// MasqueradeAll masquerades all traffic to cluster IPs.
	MasqueradeAll bool
	// MasqueradeBit of the packet mark to use; 14 if 0.
	MasqueradeBit int
	// MinSyncPeriod is the least time from one synchronization to the next; 0
	// synchronizes at once, taking all changes that have come meanwhile.
	MinSyncPeriod time.Duration
	// SyncPeriod is how often everything is written anew, in case somebody
	// else changed it; 1 h if 0.
	SyncPeriod time.Duration
	// HealthAddr, if set, is where /healthz and /livez are served, as in "0.0.0.0:10256".
	HealthAddr string
	// MetricsAddr, if set, is where /metrics, /healthz and /proxyMode are
	// served, as in "127.0.0.1:10249".
	MetricsAddr string
	// Registry, if set, is where the kube-proxy metrics are registered and
	// what /metrics shows; a private one if nil.
	Registry *prometheus.Registry
	// Logger defaults to slog.Default.
	Logger *slog.Logger
	// Clock defaults to the real one.
	Clock clock.WithTicker

	// backend replaces nftables, in tests.
	backend backend
}

func (c *Config) complete() error {
	if c.Client == nil || c.NodeName == "" {
		return errors.New("kube-proxy needs a client and a node name")
	}
	for _, cidr := range c.ClusterCIDRs {
		if !cidr.IsValid() {
			return fmt.Errorf("cluster CIDR %q is not valid", cidr)
		}
	}
	if c.MinSyncPeriod < 0 || c.SyncPeriod < 0 {
		return fmt.Errorf("sync periods %v and %v must not be negative", c.MinSyncPeriod, c.SyncPeriod)
	}
	if c.SyncPeriod == 0 {
		c.SyncPeriod = time.Hour
	}
	if c.Registry == nil {
		c.Registry = prometheus.NewRegistry()
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	return nil
}
