package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
)

const (
	serviceName       = "kubernetes"
	portName          = "https"
	servicePort       = 443
	identityLabel     = "apiserver.kubernetes.io/identity"
	identityValue     = "kube-apiserver"
	addressAnnotation = "yare.io/advertise-address"

	renewInterval = 10 * time.Second
	leaseDuration = 60 * time.Second
)

// Advertiser keeps the service "kubernetes" pointing at the API servers that
// are alive. Each server holds a Lease that names its address; all of them
// derive the endpoints from the Leases that have not run out.
type Advertiser struct {
	Client kubernetes.Interface
	// Address and Port at which clients in the cluster reach this server.
	Address netip.Addr
	Port    int32
	// ServiceIP is the first address of the service range.
	ServiceIP netip.Addr
	Logger    *slog.Logger
}

// Run announces this server until ctx ends, and withdraws it then. What stays
// wrong, such as an address in the loopback range, is logged once.
func (a *Advertiser) Run(ctx context.Context) error {
	tick := time.NewTicker(renewInterval)
	defer tick.Stop()
	var said string
	for {
		err := a.announce(ctx)
		switch {
		case err == nil:
			said = ""
		case ctx.Err() == nil && err.Error() != said:
			said = err.Error()
			a.Logger.Warn("cannot announce this API server", "error", err)
		}
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			if err := a.withdraw(last); err != nil {
				// The lease runs out by itself.
				a.Logger.Warn("cannot withdraw this API server", "error", err)
			}
			return nil
		case <-tick.C:
		}
	}
}

// EnsureService creates the service if it is missing.
func (a *Advertiser) EnsureService(ctx context.Context) error {
	_, err := a.Client.CoreV1().Services(metav1.NamespaceDefault).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Name: serviceName, Namespace: metav1.NamespaceDefault,
			Labels: map[string]string{"component": "apiserver", "provider": "kubernetes"},
		},
		Spec: corev1.ServiceSpec{
			ClusterIP:       a.ServiceIP.String(),
			SessionAffinity: corev1.ServiceAffinityNone,
			Type:            corev1.ServiceTypeClusterIP,
			Ports: []corev1.ServicePort{{
				Name: portName, Port: servicePort, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromInt32(a.Port),
			}},
		},
	}, metav1.CreateOptions{})
	// A server that starts again finds the name and the address taken by the
	// service itself.
	if apierrors.IsInvalid(err) {
		_, found := a.Client.CoreV1().Services(metav1.NamespaceDefault).Get(ctx, serviceName, metav1.GetOptions{})
		if found == nil {
			return nil
		}
	}
	return created("service kubernetes", err)
}

func (a *Advertiser) announce(ctx context.Context) error {
	if err := a.EnsureService(ctx); err != nil {
		return err
	}
	if err := a.renew(ctx); err != nil {
		return fmt.Errorf("renew the server's lease: %w", err)
	}
	return a.reconcile(ctx)
}

func (a *Advertiser) leaseName() string {
	return fmt.Sprintf("apiserver-%s-%d", strings.NewReplacer(".", "-", ":", "-").Replace(a.Address.String()), a.Port)
}

func (a *Advertiser) renew(ctx context.Context) error {
	leases := a.Client.CoordinationV1().Leases(metav1.NamespaceSystem)
	now := metav1.NewMicroTime(time.Now())
	lease, err := leases.Get(ctx, a.leaseName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = leases.Create(ctx, &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{
				Name: a.leaseName(), Namespace: metav1.NamespaceSystem,
				Labels:      map[string]string{identityLabel: identityValue},
				Annotations: map[string]string{addressAnnotation: a.Address.String()},
			},
			Spec: coordinationv1.LeaseSpec{
				HolderIdentity: ptr.To(a.leaseName()), LeaseDurationSeconds: ptr.To(int32(leaseDuration.Seconds())),
				AcquireTime: &now, RenewTime: &now,
			},
		}, metav1.CreateOptions{})
		return err
	}
	if err != nil {
		return err
	}
	lease.Spec.RenewTime = &now
	_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
	return err
}

// withdraw takes this server out of the endpoints.
func (a *Advertiser) withdraw(ctx context.Context) error {
	err := a.Client.CoordinationV1().Leases(metav1.NamespaceSystem).Delete(ctx, a.leaseName(), metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("withdraw this API server: %w", err)
	}
	addresses, err := a.live(ctx)
	if err != nil || len(addresses) == 0 {
		return err
	}
	return a.write(ctx, addresses)
}

func (a *Advertiser) reconcile(ctx context.Context) error {
	addresses, err := a.live(ctx)
	if err != nil {
		return err
	}
	return a.write(ctx, addresses)
}

// live returns the addresses in the Leases that have not run out, sorted.
func (a *Advertiser) live(ctx context.Context) ([]string, error) {
	leases, err := a.Client.CoordinationV1().Leases(metav1.NamespaceSystem).List(ctx, metav1.ListOptions{LabelSelector: identityLabel + "=" + identityValue})
	if err != nil {
		return nil, fmt.Errorf("list the servers' leases: %w", err)
	}
	return liveAddresses(leases.Items, time.Now()), nil
}

func liveAddresses(leases []coordinationv1.Lease, now time.Time) []string {
	var addresses []string
	for _, lease := range leases {
		address := lease.Annotations[addressAnnotation]
		spec := lease.Spec
		if address == "" || spec.RenewTime == nil || spec.LeaseDurationSeconds == nil {
			continue
		}
		if now.Before(spec.RenewTime.Add(time.Duration(*spec.LeaseDurationSeconds) * time.Second)) {
			addresses = append(addresses, address)
		}
	}
	slices.Sort(addresses)
	return slices.Compact(addresses)
}

func (a *Advertiser) write(ctx context.Context, addresses []string) error {
	return errors.Join(a.writeEndpoints(ctx, addresses), a.writeSlice(ctx, addresses))
}

func (a *Advertiser) writeEndpoints(ctx context.Context, addresses []string) error {
	subset := corev1.EndpointSubset{Ports: []corev1.EndpointPort{{Name: portName, Port: a.Port, Protocol: corev1.ProtocolTCP}}}
	for _, address := range addresses {
		subset.Addresses = append(subset.Addresses, corev1.EndpointAddress{IP: address})
	}
	want := &corev1.Endpoints{
		ObjectMeta: metav1.ObjectMeta{
			Name: serviceName, Namespace: metav1.NamespaceDefault,
			Labels: map[string]string{discoveryv1.LabelSkipMirror: "true"},
		},
		Subsets: []corev1.EndpointSubset{subset},
	}
	client := a.Client.CoreV1().Endpoints(metav1.NamespaceDefault)
	have, err := client.Get(ctx, serviceName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		_, err = client.Create(ctx, want, metav1.CreateOptions{})
		return created("endpoints kubernetes", err)
	case err != nil:
		return fmt.Errorf("read endpoints kubernetes: %w", err)
	case equality.Semantic.DeepEqual(have.Subsets, want.Subsets):
		return nil
	}
	have.Subsets = want.Subsets
	_, err = client.Update(ctx, have, metav1.UpdateOptions{})
	return err
}

func (a *Advertiser) writeSlice(ctx context.Context, addresses []string) error {
	want := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name: serviceName, Namespace: metav1.NamespaceDefault,
			Labels: map[string]string{discoveryv1.LabelServiceName: serviceName},
		},
		AddressType: addressType(a.Address),
		Ports:       []discoveryv1.EndpointPort{{Name: ptr.To(portName), Port: ptr.To(a.Port), Protocol: ptr.To(corev1.ProtocolTCP)}},
	}
	for _, address := range addresses {
		want.Endpoints = append(want.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{address}, Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(true)},
		})
	}
	client := a.Client.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault)
	have, err := client.Get(ctx, serviceName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		_, err = client.Create(ctx, want, metav1.CreateOptions{})
		return created("endpoint slice kubernetes", err)
	case err != nil:
		return fmt.Errorf("read endpoint slice kubernetes: %w", err)
	case equality.Semantic.DeepEqual(have.Endpoints, want.Endpoints) && equality.Semantic.DeepEqual(have.Ports, want.Ports):
		return nil
	}
	have.Endpoints, have.Ports = want.Endpoints, want.Ports
	_, err = client.Update(ctx, have, metav1.UpdateOptions{})
	return err
}

func addressType(a netip.Addr) discoveryv1.AddressType {
	if a.Is4() {
		return discoveryv1.AddressTypeIPv4
	}
	return discoveryv1.AddressTypeIPv6
}
