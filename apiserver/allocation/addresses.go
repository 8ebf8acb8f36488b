package allocation

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/yare-io/yare/storage"
)

// blindTries is how many addresses are tried before the taken ones are looked
// up: in a range that is mostly free the first is nearly always good.
const blindTries = 4

// apiService is the service by which pods find the API. It has the first
// address of the range in every cluster.
var apiService = types.NamespacedName{Namespace: "default", Name: "kubernetes"}

// Address takes an address for a service: the wanted one, or any. In a dry run
// it only finds out which, or whether it could.
func (s *Services) Address(ctx context.Context, family corev1.IPFamily, service types.NamespacedName, wanted string, dryRun bool) (string, error) {
	spans, err := s.spans(ctx, family)
	if err != nil {
		return "", err
	}
	if wanted == "" && service == apiService {
		wanted = spans[0].first.String()
	}
	if wanted != "" {
		return s.wanted(ctx, spans, service, wanted, dryRun)
	}
	for _, sp := range spans {
		address, err := s.anyAddress(ctx, sp, service, dryRun)
		if !errors.Is(err, ErrFull) {
			return address, err
		}
	}
	return "", ErrFull
}

func (s *Services) wanted(ctx context.Context, spans []span, service types.NamespacedName, wanted string, dryRun bool) (string, error) {
	ip, err := netip.ParseAddr(wanted)
	if err != nil {
		return "", fmt.Errorf("not an address: %q", wanted)
	}
	ranges := make([]string, len(spans))
	for i, sp := range spans {
		if sp.contains(ip) {
			return wanted, s.take(ctx, ip, service, dryRun)
		}
		ranges[i] = sp.network.String()
	}
	return "", fmt.Errorf("the provided IP is not in the valid range. The range of valid IPs is %s", strings.Join(ranges, ","))
}

// anyAddress takes a free address. It looks up what is taken only when
// guessing fails, and ends because each address is tried at most once.
func (s *Services) anyAddress(ctx context.Context, sp span, service types.NamespacedName, dryRun bool) (string, error) {
	var address string
	var taken map[netip.Addr]bool
	tries := 0
	result := ErrFull
	sp.candidates(func(distance uint64) bool {
		if tries == blindTries && taken == nil {
			if taken, result = s.taken(ctx); result != nil {
				return false
			}
			result = ErrFull
		}
		ip := sp.at(distance)
		if taken[ip] {
			return true
		}
		tries++
		err := s.take(ctx, ip, service, dryRun)
		if errors.Is(err, ErrAllocated) {
			return true
		}
		address, result = ip.String(), err
		return false
	})
	if result != nil {
		return "", result
	}
	return address, nil
}

// taken returns all addresses that somebody has.
func (s *Services) taken(ctx context.Context) (map[netip.Addr]bool, error) {
	list, err := s.store.List(ctx, storage.ListRequest{Prefix: s.addressKey("")})
	if err != nil {
		return nil, fmt.Errorf("listing addresses: %w", err)
	}
	taken := make(map[netip.Addr]bool, len(list.KVs))
	for _, kv := range list.KVs {
		if ip, err := netip.ParseAddr(strings.TrimPrefix(kv.Key, s.addressKey(""))); err == nil {
			taken[ip] = true
		}
	}
	return taken, nil
}

// take writes down that a service has an address. That the key must not exist
// is what makes the address the service's alone.
func (s *Services) take(ctx context.Context, ip netip.Addr, service types.NamespacedName, dryRun bool) error {
	key := s.addressKey(ip.String())
	if dryRun {
		_, err := s.store.Get(ctx, key)
		switch {
		case err == nil:
			return ErrAllocated
		case errors.Is(err, storage.ErrNotFound):
			return nil
		}
		return fmt.Errorf("looking up address %v: %w", ip, err)
	}
	value, err := encode(newIPAddress(ip, service, s.clock.Now()))
	if err != nil {
		return err
	}
	_, err = s.store.Create(ctx, key, value, 0)
	if errors.Is(err, storage.ErrExists) {
		return ErrAllocated
	}
	if err != nil {
		return fmt.Errorf("taking address %v: %w", ip, err)
	}
	return nil
}

// ReleaseAddress gives an address of a service back. What cannot be given back
// now is by Run later.
func (s *Services) ReleaseAddress(ctx context.Context, service types.NamespacedName, address string) {
	if err := s.release(ctx, service, address); err != nil {
		s.logger.Error("address not released", "address", address, "service", service, "error", err)
	}
}

func (s *Services) release(ctx context.Context, service types.NamespacedName, address string) error {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return err
	}
	kv, err := s.store.Get(ctx, s.addressKey(ip.String()))
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	held, err := decode[*networkingv1.IPAddress](kv)
	if err != nil {
		return err
	}
	if holder(held) != service {
		return nil
	}
	_, err = s.store.Delete(ctx, kv.Key, kv.Revision)
	if errors.Is(err, storage.ErrConflict) || errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	return err
}

func (s *Services) addressKey(ip string) string { return s.prefix + "ipaddresses/" + ip }
