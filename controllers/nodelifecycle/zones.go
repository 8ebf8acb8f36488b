package nodelifecycle

import (
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
)

// Rates are how fast nodes may be cleared of pods.
type Rates struct {
	// Eviction is how many nodes of a zone per second, Secondary how many of a
	// zone of which a large part is down.
	Eviction, Secondary float32
	// Threshold is the share of nodes not ready from which on a zone counts as
	// partly down.
	Threshold float32
	// LargeCluster is the number of nodes up to which a zone that is partly
	// down is not cleared at all.
	LargeCluster int32
}

// disruption is how much of a zone is down.
type disruption int

const (
	normal disruption = iota
	partial
	full
)

// disruptionOf judges a zone by its nodes. Two nodes or fewer never make a zone
// partly down.
func (r Rates) disruptionOf(nodes []*corev1.Node) disruption {
	down := 0
	for _, node := range nodes {
		if readiness(node) != corev1.ConditionTrue {
			down++
		}
	}
	switch {
	case down > 0 && down == len(nodes):
		return full
	case down > 2 && float32(down)/float32(len(nodes)) >= r.Threshold:
		return partial
	}
	return normal
}

// zones limit how fast the nodes of each zone are cleared.
type zones struct {
	rates    Rates
	limiters map[string]*rate.Limiter
}

func newZones(rates Rates) *zones {
	return &zones{rates: rates, limiters: map[string]*rate.Limiter{}}
}

func zoneOf(node *corev1.Node) string {
	return node.Labels[corev1.LabelTopologyRegion] + ":\x00:" + node.Labels[corev1.LabelTopologyZone]
}

func byZone(nodes []*corev1.Node) map[string][]*corev1.Node {
	zones := map[string][]*corev1.Node{}
	for _, node := range nodes {
		zones[zoneOf(node)] = append(zones[zoneOf(node)], node)
	}
	return zones
}

// adjust sets the rates of all zones by their state, and says whether all of
// them are down in full: then it is this process that is cut off, and nothing
// may be cleared.
func (z *zones) adjust(nodes []*corev1.Node, now time.Time) (allDown bool) {
	grouped := byZone(nodes)
	allDown = len(grouped) > 0
	for zone, members := range grouped {
		state := z.rates.disruptionOf(members)
		allDown = allDown && state == full
		limit := rate.Limit(z.rates.Eviction)
		if state == partial {
			limit = 0
			if len(nodes) > int(z.rates.LargeCluster) {
				limit = rate.Limit(z.rates.Secondary)
			}
		}
		z.limit(zone, limit, now)
	}
	for zone := range z.limiters {
		if grouped[zone] == nil {
			delete(z.limiters, zone)
		}
	}
	return allDown
}

func (z *zones) limit(zone string, limit rate.Limit, now time.Time) {
	limiter := z.limiters[zone]
	switch {
	case limiter == nil && limit == 0:
		z.limiters[zone] = rate.NewLimiter(0, 0)
	case limiter == nil, limiter.Burst() == 0 && limit > 0:
		z.limiters[zone] = rate.NewLimiter(limit, 1)
	case limit == 0:
		z.limiters[zone] = rate.NewLimiter(0, 0)
	default:
		limiter.SetLimitAt(now, limit)
	}
}

// allow says whether one more node of the zone may be cleared now, and counts it.
func (z *zones) allow(zone string, now time.Time) bool {
	limiter := z.limiters[zone]
	return limiter != nil && limiter.AllowN(now, 1)
}
