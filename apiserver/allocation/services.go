// Package allocation hands out what services must not share: cluster addresses
// and node ports. What is taken is written down in the store itself, as
// Kubernetes does it, so that any number of API servers can hand out from one
// range: an IPAddress object per address, and one RangeAllocation for all node
// ports. It knows no rule of services; those are in apiserver/api/core.
package allocation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/apiserver/api/core"
	"github.com/yare-io/yare/storage"
)

// Errors that are the client's fault.
var (
	// ErrAllocated: somebody else has what was asked for.
	ErrAllocated = errors.New("provided IP is already allocated")
	// ErrPortAllocated: somebody else has the port that was asked for.
	ErrPortAllocated = errors.New("provided port is already allocated")
	// ErrFull: nothing is left.
	ErrFull = errors.New("range is full")
)

// Store is what this package needs of a storage.Store.
type Store interface {
	Get(ctx context.Context, key string) (storage.KV, error)
	List(ctx context.Context, req storage.ListRequest) (storage.ListResult, error)
	Create(ctx context.Context, key string, value []byte, ttl time.Duration) (int64, error)
	Update(ctx context.Context, key string, value []byte, expected int64, ttl time.Duration) (int64, error)
	Delete(ctx context.Context, key string, expected int64) (int64, error)
}

// Config says where to hand out from.
type Config struct {
	Store Store
	// Prefix is the folder of all objects in the store; empty means
	// "/registry/".
	Prefix string
	// Networks are the cluster's service networks, one for each family, the
	// default family first. At least one.
	Networks []netip.Prefix
	// Ports is the range of node ports; the zero value means 30000-32767.
	Ports PortRange
	// Clock dates IPAddress objects; nil means the real one.
	Clock clock.WithTicker
	// Logger is told of what cannot be given back; nil means none is.
	Logger *slog.Logger
}

// Services hands out addresses and ports. It is safe for concurrent use, by
// any number of processes on one store.
type Services struct {
	store  Store
	prefix string
	// families are in the order of Config.Networks.
	families []corev1.IPFamily
	networks map[corev1.IPFamily]netip.Prefix
	ports    *ports
	clock    clock.WithTicker
	logger   *slog.Logger
}

var _ core.ServiceAllocator = (*Services)(nil)

// New checks the configuration. It does not touch the store.
func New(c Config) (*Services, error) {
	if c.Store == nil {
		return nil, errors.New("service allocation needs a store")
	}
	s := &Services{store: c.Store, prefix: c.Prefix, networks: map[corev1.IPFamily]netip.Prefix{}, clock: c.Clock, logger: c.Logger}
	if s.prefix == "" {
		s.prefix = "/registry/"
	}
	if s.clock == nil {
		s.clock = clock.RealClock{}
	}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	if err := s.addNetworks(c.Networks); err != nil {
		return nil, err
	}
	if c.Ports == (PortRange{}) {
		c.Ports = PortRange{First: 30000, Last: 32767}
	}
	if err := c.Ports.validate(); err != nil {
		return nil, err
	}
	s.ports = newPorts(c.Store, s.prefix+"ranges/servicenodeports", c.Ports)
	return s, nil
}

func (s *Services) addNetworks(networks []netip.Prefix) error {
	if len(networks) == 0 {
		return errors.New("service allocation needs a network")
	}
	for _, n := range networks {
		if !n.IsValid() || n != n.Masked() {
			return fmt.Errorf("service network %v: not a network", n)
		}
		family := familyOf(n.Addr())
		if _, twice := s.networks[family]; twice {
			return fmt.Errorf("service network %v: a second one of %s", n, family)
		}
		if usable(n).size < 1 {
			return fmt.Errorf("service network %v: too small", n)
		}
		s.families = append(s.families, family)
		s.networks[family] = n
	}
	return nil
}

// Families returns the cluster's families, the default one first.
func (s *Services) Families() []corev1.IPFamily { return s.families }

func familyOf(ip netip.Addr) corev1.IPFamily {
	if ip.Is6() {
		return corev1.IPv6Protocol
	}
	return corev1.IPv4Protocol
}
