package core

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ServiceAllocator hands out what services must not share. An address or port
// that was handed out stays taken until it is released. In a dry run nothing
// is taken. Errors that are the client's fault (out of range, taken, none
// left) say so in words a client understands. It is safe for concurrent use.
type ServiceAllocator interface {
	// Families returns the families that the cluster has, its default first.
	Families() []corev1.IPFamily
	// Address takes an address: the wanted one, or any when wanted is empty.
	Address(ctx context.Context, family corev1.IPFamily, service types.NamespacedName, wanted string, dryRun bool) (string, error)
	// ReleaseAddress gives an address of the service back.
	ReleaseAddress(ctx context.Context, service types.NamespacedName, address string)
	// Port takes a node port: the wanted one, or any when wanted is zero.
	Port(ctx context.Context, wanted int32, dryRun bool) (int32, error)
	// ReleasePort gives a node port back.
	ReleasePort(ctx context.Context, port int32)
}

// allocateService gives a service its addresses and ports.
func allocateService(from ServiceAllocator) func(context.Context, runtime.Object, runtime.Object, bool) (func(bool), error) {
	return func(ctx context.Context, o, oldObject runtime.Object, dryRun bool) (func(bool), error) {
		if from == nil {
			return nil, apierrors.NewInternalError(errors.New("no allocator for service addresses and node ports is configured"))
		}
		var s, old *corev1.Service
		if o != nil {
			s = o.(*corev1.Service)
		}
		if oldObject != nil {
			old = oldObject.(*corev1.Service)
		}
		g := &grant{ctx: context.WithoutCancel(ctx), from: from, dryRun: dryRun}
		if s == nil {
			g.releaseAll(old)
			return g.done, nil
		}
		if errs := g.fill(s, old); len(errs) > 0 {
			g.done(false)
			return nil, apierrors.NewInvalid(kind("Service").GroupKind(), s.Name, errs)
		}
		return g.done, nil
	}
}

// grant is what one write takes and gives back. Releases happen even when the
// request is cancelled.
type grant struct {
	ctx    context.Context
	from   ServiceAllocator
	dryRun bool
	// undo gives back what was taken, commit what the write left unused.
	undo, commit []func()
}

func (g *grant) done(written bool) {
	if g.dryRun {
		return
	}
	steps := g.undo
	if written {
		steps = g.commit
	}
	for _, step := range steps {
		step()
	}
}

func (g *grant) fill(s, old *corev1.Service) field.ErrorList {
	if errs := chooseFamilies(s, old, g.from.Families()); len(errs) > 0 {
		return errs
	}
	if errs := g.addresses(s, old); len(errs) > 0 {
		return errs
	}
	if errs := g.nodePorts(s, old); len(errs) > 0 {
		return errs
	}
	return g.healthPort(s, old)
}

func (g *grant) addresses(s, old *corev1.Service) field.ErrorList {
	had := allocatedIPs(old)
	id := types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
	if hasClusterIP(s) && !headless(s) {
		for i, family := range s.Spec.IPFamilies {
			wanted := ""
			if i < len(s.Spec.ClusterIPs) {
				wanted = s.Spec.ClusterIPs[i]
			}
			if wanted != "" && slices.Contains(had, wanted) {
				continue
			}
			address, err := g.from.Address(g.ctx, family, id, wanted, g.dryRun)
			if err != nil {
				return addressError(s.Spec.ClusterIPs, wanted, err)
			}
			g.undo = append(g.undo, func() { g.from.ReleaseAddress(g.ctx, id, address) })
			setAddress(s, i, address)
		}
	}
	for _, ip := range had {
		if !slices.Contains(allocatedIPs(s), ip) {
			g.commit = append(g.commit, func() { g.from.ReleaseAddress(g.ctx, id, ip) })
		}
	}
	return nil
}

func setAddress(s *corev1.Service, i int, address string) {
	if i < len(s.Spec.ClusterIPs) {
		s.Spec.ClusterIPs[i] = address
	} else {
		s.Spec.ClusterIPs = append(s.Spec.ClusterIPs, address)
	}
	s.Spec.ClusterIP = s.Spec.ClusterIPs[0]
}

func addressError(ips []string, wanted string, err error) field.ErrorList {
	at := field.NewPath("spec", "clusterIPs")
	if wanted == "" {
		return field.ErrorList{field.InternalError(at, fmt.Errorf("failed to allocate a serviceIP: %w", err))}
	}
	return field.ErrorList{field.Invalid(at, ips, fmt.Sprintf("failed to allocate IP %v: %v", wanted, err))}
}

// allocatedIPs returns the addresses a service holds.
func allocatedIPs(s *corev1.Service) []string {
	if s == nil || !hasClusterIP(s) || headless(s) {
		return nil
	}
	if len(s.Spec.ClusterIPs) == 0 && s.Spec.ClusterIP != "" {
		return []string{s.Spec.ClusterIP}
	}
	return s.Spec.ClusterIPs
}

func (g *grant) nodePorts(s, old *corev1.Service) field.ErrorList {
	had := map[int32]bool{}
	if old != nil {
		for _, p := range old.Spec.Ports {
			had[p.NodePort] = p.NodePort != 0
		}
	}
	// One node port may serve several protocols of one service.
	mine := map[int32]bool{}
	if wantsNodePorts(s) || s.Spec.Type == corev1.ServiceTypeLoadBalancer {
		for i := range s.Spec.Ports {
			if s.Spec.Ports[i].NodePort != 0 {
				if errs := g.wantedPort(i, s.Spec.Ports[i].NodePort, had, mine); len(errs) > 0 {
					return errs
				}
			}
		}
	}
	if wantsNodePorts(s) {
		for i := range s.Spec.Ports {
			if s.Spec.Ports[i].NodePort == 0 {
				if errs := g.anyPort(s, i, mine); len(errs) > 0 {
					return errs
				}
			}
		}
	}
	for port, held := range had {
		if held && !mine[port] {
			g.commit = append(g.commit, func() { g.from.ReleasePort(g.ctx, port) })
		}
	}
	return nil
}

func (g *grant) wantedPort(i int, wanted int32, had, mine map[int32]bool) field.ErrorList {
	if had[wanted] || mine[wanted] {
		mine[wanted] = true
		return nil
	}
	if err := g.takePort(wanted, mine); err != nil {
		return field.ErrorList{field.Invalid(field.NewPath("spec", "ports").Index(i).Child("nodePort"), wanted, err.Error())}
	}
	return nil
}

// anyPort gives a port the node port that the same number has under another
// protocol, else a free one.
func (g *grant) anyPort(s *corev1.Service, i int, mine map[int32]bool) field.ErrorList {
	p := &s.Spec.Ports[i]
	for _, other := range s.Spec.Ports {
		if other.Port == p.Port && other.Protocol != p.Protocol && other.NodePort != 0 && !takenBy(s, other.NodePort, p.Protocol) {
			p.NodePort = other.NodePort
			return nil
		}
	}
	port, err := g.from.Port(g.ctx, 0, g.dryRun)
	if err != nil {
		return field.ErrorList{field.InternalError(field.NewPath("spec", "ports").Index(i).Child("nodePort"), fmt.Errorf("failed to allocate a nodePort: %w", err))}
	}
	g.undo = append(g.undo, func() { g.from.ReleasePort(g.ctx, port) })
	p.NodePort, mine[port] = port, true
	return nil
}

func takenBy(s *corev1.Service, nodePort int32, protocol corev1.Protocol) bool {
	return slices.ContainsFunc(s.Spec.Ports, func(p corev1.ServicePort) bool { return p.NodePort == nodePort && p.Protocol == protocol })
}

func (g *grant) takePort(wanted int32, mine map[int32]bool) error {
	port, err := g.from.Port(g.ctx, wanted, g.dryRun)
	if err != nil {
		return err
	}
	g.undo = append(g.undo, func() { g.from.ReleasePort(g.ctx, port) })
	mine[port] = true
	return nil
}

func (g *grant) healthPort(s, old *corev1.Service) field.ErrorList {
	var had int32
	if old != nil {
		had = old.Spec.HealthCheckNodePort
	}
	if wantsHealthPort(s) && (s.Spec.HealthCheckNodePort == 0 || s.Spec.HealthCheckNodePort != had) {
		port, err := g.from.Port(g.ctx, s.Spec.HealthCheckNodePort, g.dryRun)
		at := field.NewPath("spec", "healthCheckNodePort")
		switch {
		case err != nil && s.Spec.HealthCheckNodePort == 0:
			return field.ErrorList{field.InternalError(at, fmt.Errorf("failed to allocate a HealthCheck NodePort: %w", err))}
		case err != nil:
			return field.ErrorList{field.Invalid(at, s.Spec.HealthCheckNodePort, fmt.Sprintf("failed to allocate requested HealthCheck NodePort %v: %v", s.Spec.HealthCheckNodePort, err))}
		}
		g.undo = append(g.undo, func() { g.from.ReleasePort(g.ctx, port) })
		s.Spec.HealthCheckNodePort = port
	}
	if had != 0 && had != s.Spec.HealthCheckNodePort {
		g.commit = append(g.commit, func() { g.from.ReleasePort(g.ctx, had) })
	}
	return nil
}

// releaseAll gives back what a deleted service held.
func (g *grant) releaseAll(old *corev1.Service) {
	id := types.NamespacedName{Namespace: old.Namespace, Name: old.Name}
	for _, ip := range allocatedIPs(old) {
		g.commit = append(g.commit, func() { g.from.ReleaseAddress(g.ctx, id, ip) })
	}
	ports := map[int32]bool{old.Spec.HealthCheckNodePort: true}
	for _, p := range old.Spec.Ports {
		ports[p.NodePort] = true
	}
	delete(ports, 0)
	for port := range ports {
		g.commit = append(g.commit, func() { g.from.ReleasePort(g.ctx, port) })
	}
}
