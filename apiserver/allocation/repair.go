package allocation

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/yare-io/yare/storage"
)

const (
	repairInterval = 3 * time.Minute
	// leakAge is how old a lock without a service must be before it counts as
	// lost: a service may be just about to be written.
	leakAge = 5 * time.Minute
	// leakRounds is the same for ports, which have no age.
	leakRounds = 3
)

// Run makes the locks agree with the services, at once and every few minutes:
// what a server that died in between took and did not use is given back, and
// what a service has without a lock is locked. It returns when ctx ends.
func (s *Services) Run(ctx context.Context) error {
	ticker := s.clock.NewTicker(repairInterval)
	defer ticker.Stop()
	r := &repairer{Services: s, seen: map[int32]int{}}
	for {
		if err := r.repair(ctx); err != nil && ctx.Err() == nil {
			s.logger.Error("service allocations not checked", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
		}
	}
}

// repairer remembers for how many rounds a port was taken by nobody.
type repairer struct {
	*Services
	seen map[int32]int
}

func (r *repairer) repair(ctx context.Context) error {
	// Locks are read before services: a service that appears in between has a
	// lock that is merely not seen, and taking it again fails harmlessly.
	locks, err := r.locks(ctx)
	if err != nil {
		return err
	}
	services, err := r.services(ctx)
	if err != nil {
		return err
	}
	used := r.lockAddresses(ctx, services, locks)
	r.dropLeaked(ctx, locks, used)
	return r.repairPorts(ctx, services)
}

func (r *repairer) locks(ctx context.Context) (map[netip.Addr]*networkingv1.IPAddress, error) {
	list, err := r.store.List(ctx, storage.ListRequest{Prefix: r.addressKey("")})
	if err != nil {
		return nil, fmt.Errorf("listing addresses: %w", err)
	}
	locks := make(map[netip.Addr]*networkingv1.IPAddress, len(list.KVs))
	for _, kv := range list.KVs {
		a, err := decode[*networkingv1.IPAddress](kv)
		if err != nil {
			return nil, err
		}
		if ip, err := netip.ParseAddr(a.Name); err == nil {
			locks[ip] = a
		}
	}
	return locks, nil
}

func (r *repairer) services(ctx context.Context) ([]*corev1.Service, error) {
	list, err := r.store.List(ctx, storage.ListRequest{Prefix: r.prefix + "services/specs/"})
	if err != nil {
		return nil, fmt.Errorf("listing services: %w", err)
	}
	services := make([]*corev1.Service, 0, len(list.KVs))
	for _, kv := range list.KVs {
		s, err := decode[*corev1.Service](kv)
		if err != nil {
			return nil, err
		}
		services = append(services, s)
	}
	return services, nil
}

// lockAddresses locks what services have and nobody locked, and returns who
// has what.
func (r *repairer) lockAddresses(ctx context.Context, services []*corev1.Service, locks map[netip.Addr]*networkingv1.IPAddress) map[netip.Addr]types.NamespacedName {
	used := map[netip.Addr]types.NamespacedName{}
	for _, s := range services {
		id := types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
		for _, text := range addressesOf(s) {
			ip, err := netip.ParseAddr(text)
			if err != nil {
				continue
			}
			if other, twice := used[ip]; twice {
				r.logger.Error("two services have one address", "address", ip, "service", id, "other", other)
				continue
			}
			used[ip] = id
			if lock, ok := locks[ip]; ok {
				if holder(lock) != id {
					r.logger.Error("address is locked for another than the service that has it", "address", ip, "service", id, "holder", holder(lock))
				}
				continue
			}
			if err := r.take(ctx, ip, id, false); err != nil && !errors.Is(err, ErrAllocated) {
				r.logger.Error("address not locked", "address", ip, "service", id, "error", err)
			}
		}
	}
	return used
}

func addressesOf(s *corev1.Service) []string {
	if s.Spec.Type == corev1.ServiceTypeExternalName || s.Spec.ClusterIP == corev1.ClusterIPNone {
		return nil
	}
	if len(s.Spec.ClusterIPs) == 0 && s.Spec.ClusterIP != "" {
		return []string{s.Spec.ClusterIP}
	}
	return s.Spec.ClusterIPs
}

// dropLeaked gives back what was handed out by this package, long ago, to a
// service that does not have it.
func (r *repairer) dropLeaked(ctx context.Context, locks map[netip.Addr]*networkingv1.IPAddress, used map[netip.Addr]types.NamespacedName) {
	for ip, lock := range locks {
		if lock.Labels[networkingv1.LabelManagedBy] != managedBy || used[ip] == holder(lock) {
			continue
		}
		if r.clock.Since(lock.CreationTimestamp.Time) < leakAge {
			continue
		}
		r.logger.Warn("address was not released", "address", ip, "service", holder(lock))
		r.ReleaseAddress(ctx, holder(lock), ip.String())
	}
}

func (r *repairer) repairPorts(ctx context.Context, services []*corev1.Service) error {
	used := map[int32]bool{}
	for _, s := range services {
		used[s.Spec.HealthCheckNodePort] = true
		for _, p := range s.Spec.Ports {
			used[p.NodePort] = true
		}
	}
	taken, _, err := r.ports.read(ctx)
	if err != nil {
		return err
	}
	var lost, missing []int32
	for port := r.ports.span.First; port <= r.ports.span.Last; port++ {
		isTaken := taken.Bit(int(port-r.ports.span.First)) == 1
		switch {
		case used[port]:
			delete(r.seen, port)
			if !isTaken {
				missing = append(missing, port)
			}
		case !isTaken:
			delete(r.seen, port)
		default:
			if r.seen[port]++; r.seen[port] >= leakRounds {
				lost = append(lost, port)
				delete(r.seen, port)
			}
		}
	}
	if len(lost) == 0 && len(missing) == 0 {
		return nil
	}
	r.logger.Warn("node ports did not agree with services", "leaked", lost, "missing", missing)
	return r.ports.change(ctx, false, func(taken *big.Int) error {
		for _, port := range lost {
			taken.SetBit(taken, int(port-r.ports.span.First), 0)
		}
		for _, port := range missing {
			taken.SetBit(taken, int(port-r.ports.span.First), 1)
		}
		return nil
	})
}
