package podnetwork

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"
)

// DefaultBridge is the bridge's name unless configured otherwise.
const DefaultBridge = "yare0"

// Config sets the agent up. Client, NodeName and CNIConfDir are required.
type Config struct {
	// Client reaches the API server.
	Client kubernetes.Interface
	// Informers, if set, are shared with other components of the process; they
	// MUST not filter nodes. Whoever made the factory shuts it down.
	Informers informers.SharedInformerFactory
	// NodeName is the name of the Node object of this machine.
	NodeName string
	// ClusterCIDRs are the pod networks of the whole cluster; what pods send
	// elsewhere gets the node's address. With none, nothing does.
	ClusterCIDRs []netip.Prefix
	// CNIConfDir is where the runtime looks for CNI configurations, as in /etc/cni/net.d.
	CNIConfDir string
	// BridgeName is the name of the bridge, and of the CNI network; "yare0" if
	// empty, 15 characters at most.
	BridgeName string
	// IPAMDir is where the host-local plugin remembers addresses;
	// /var/lib/cni/networks if empty. Nodes that share a file system need one each.
	IPAMDir string
	// MTU of the pods' interfaces; 0 leaves it to the kernel.
	MTU int
	// Logger defaults to slog.Default.
	Logger *slog.Logger
	// Clock defaults to the real one.
	Clock clock.WithTicker
}

func (c *Config) complete() error {
	if c.Client == nil || c.NodeName == "" || c.CNIConfDir == "" {
		return errors.New("pod network needs a client, a node name and a CNI configuration directory")
	}
	for _, cidr := range c.ClusterCIDRs {
		if !cidr.IsValid() {
			return fmt.Errorf("cluster CIDR %q is not valid", cidr)
		}
	}
	c.defaults()
	if len(c.BridgeName) > 15 {
		return fmt.Errorf("bridge name %q is longer than 15 characters", c.BridgeName)
	}
	return nil
}

func (c *Config) defaults() {
	if c.BridgeName == "" {
		c.BridgeName = DefaultBridge
	}
	if c.IPAMDir == "" {
		c.IPAMDir = "/var/lib/cni/networks"
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
}

// How often everything is looked over, in case somebody else changed it, and
// how long to wait after a failure.
const (
	resyncEvery  = time.Minute
	firstRetry   = time.Second
	longestRetry = 30 * time.Second
)
