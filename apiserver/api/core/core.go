// Package core holds the rows of the core group ("v1"): what pods, services,
// nodes, namespaces and their companions are. It knows neither HTTP nor
// storage; what it needs beside an object comes in through Deps.
package core

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/apiserver/registry"
)

// Deps is what the rows of this group need.
type Deps struct {
	// Clock dates conditions.
	Clock clock.PassiveClock
	// EventTTL is how long events are kept.
	EventTTL time.Duration
	// Services hands out cluster addresses and node ports.
	Services ServiceAllocator
	// IssueToken answers the token subresource of service accounts; without it
	// there are no tokens to be had.
	IssueToken registry.Action
	// Components are asked for their health when somebody lists
	// componentstatuses.
	Components []Component
}

// Resources returns the rows of the group.
func Resources(d Deps) []*registry.Resource {
	return []*registry.Resource{
		bindings(d),
		componentStatuses(d.Components),
		configMaps(),
		endpoints(),
		events(d),
		limitRanges(),
		namespaces(),
		nodes(),
		persistentVolumeClaims(),
		persistentVolumes(d),
		pods(d),
		podTemplates(),
		replicationControllers(),
		resourceQuotas(),
		secrets(),
		serviceAccounts(d),
		services(d),
	}
}

func kind(name string) schema.GroupVersionKind { return corev1.SchemeGroupVersion.WithKind(name) }
