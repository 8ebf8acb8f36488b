// Package slicepack spreads endpoints over EndpointSlices with as few writes as
// it can: Pack decides and is pure, Writer carries the decision out and knows
// when the cache lags behind it. Where endpoints come from is not its business.
package slicepack

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
)

// MaxEndpoints is how many endpoints a slice holds at most.
const MaxEndpoints = 100

// Group is a set of endpoints that share address type and ports.
type Group struct {
	AddressType discoveryv1.AddressType
	Ports       []discoveryv1.EndpointPort
	Endpoints   []discoveryv1.Endpoint
}

// Changes are the writes that make slices hold what is desired.
type Changes struct {
	Create, Update, Delete []*discoveryv1.EndpointSlice
}

// Empty says whether there is nothing to write.
func (c Changes) Empty() bool { return len(c.Create)+len(c.Update)+len(c.Delete) == 0 }

// Pack returns the writes that make the existing slices hold exactly the
// desired groups. blank makes a slice without ports and endpoints; its labels,
// annotations and owners are what every slice must have. A group without
// endpoints keeps one empty slice, so that watchers see that there is a service.
func Pack(desired []Group, existing []*discoveryv1.EndpointSlice, blank func(discoveryv1.AddressType) *discoveryv1.EndpointSlice) Changes {
	byKey := map[string][]*discoveryv1.EndpointSlice{}
	for _, slice := range existing {
		key := groupKey(slice.AddressType, slice.Ports)
		byKey[key] = append(byKey[key], slice)
	}
	var changes Changes
	for _, group := range desired {
		key := groupKey(group.AddressType, group.Ports)
		packGroup(group, byKey[key], blank, &changes)
		delete(byKey, key)
	}
	for _, slice := range existing {
		if _, strange := byKey[groupKey(slice.AddressType, slice.Ports)]; strange {
			changes.Delete = append(changes.Delete, slice)
		}
	}
	changes.recycle()
	return changes
}

func groupKey(addressType discoveryv1.AddressType, ports []discoveryv1.EndpointPort) string {
	parts := make([]string, 0, len(ports))
	for _, port := range ports {
		parts = append(parts, fmt.Sprintf("%q/%v/%v/%v", deref(port.Name), deref(port.Protocol), deref(port.Port), deref(port.AppProtocol)))
	}
	slices.Sort(parts)
	return string(addressType) + " " + strings.Join(parts, " ")
}

func deref[T any](value *T) T {
	var zero T
	if value == nil {
		return zero
	}
	return *value
}

// endpointKey tells endpoints apart; two with the same key are one endpoint,
// maybe in different conditions.
func endpointKey(endpoint *discoveryv1.Endpoint) string {
	key := strings.Join(endpoint.Addresses, ",")
	if ref := endpoint.TargetRef; ref != nil {
		key += " " + ref.Kind + "/" + ref.Namespace + "/" + ref.Name + "/" + string(ref.UID)
	}
	return key
}

// bin is a slice while it is being filled.
type bin struct {
	slice   *discoveryv1.EndpointSlice
	is      []discoveryv1.Endpoint
	changed bool
	isNew   bool
}

func packGroup(group Group, existing []*discoveryv1.EndpointSlice, blank func(discoveryv1.AddressType) *discoveryv1.EndpointSlice, changes *Changes) {
	want := blank(group.AddressType)
	want.Ports = group.Ports
	if len(group.Endpoints) == 0 {
		packEmpty(existing, want, changes)
		return
	}
	pending := map[string]int{}
	for i := range group.Endpoints {
		pending[endpointKey(&group.Endpoints[i])] = i
	}
	bins := make([]*bin, 0, len(existing))
	for _, slice := range existing {
		bins = append(bins, keep(slice, group.Endpoints, pending))
	}
	var fresh []discoveryv1.Endpoint
	for i := range group.Endpoints {
		if at, ok := pending[endpointKey(&group.Endpoints[i])]; ok && at == i {
			fresh = append(fresh, group.Endpoints[i])
		}
	}
	bins = place(fresh, bins)
	for _, b := range bins {
		b.record(want, changes)
	}
}

// packEmpty keeps one slice without endpoints.
func packEmpty(existing []*discoveryv1.EndpointSlice, want *discoveryv1.EndpointSlice, changes *Changes) {
	if len(existing) == 0 {
		changes.Create = append(changes.Create, want)
		return
	}
	kept := bin{slice: existing[0], changed: len(existing[0].Endpoints) > 0}
	kept.write(want, changes)
	changes.Delete = append(changes.Delete, existing[1:]...)
}

// keep takes over from a slice what is still desired, and takes it off pending.
func keep(slice *discoveryv1.EndpointSlice, desired []discoveryv1.Endpoint, pending map[string]int) *bin {
	b := &bin{slice: slice}
	for i := range slice.Endpoints {
		key := endpointKey(&slice.Endpoints[i])
		at, wanted := pending[key]
		if !wanted || len(b.is) == MaxEndpoints {
			b.changed = true
			continue
		}
		delete(pending, key)
		b.changed = b.changed || !equality.Semantic.DeepEqual(slice.Endpoints[i], desired[at])
		b.is = append(b.is, desired[at])
	}
	return b
}

// place puts new endpoints into slices that must be written anyway, then, if
// all that are left fit into one, into the fullest such slice, else into new
// slices.
func place(fresh []discoveryv1.Endpoint, bins []*bin) []*bin {
	for _, b := range bins {
		if b.changed && len(b.is) > 0 {
			fresh = b.fill(fresh)
		}
	}
	for _, b := range bins {
		if b.changed && len(b.is) == 0 {
			fresh = b.fill(fresh)
		}
	}
	for len(fresh) > MaxEndpoints {
		bins = append(bins, &bin{isNew: true})
		fresh = bins[len(bins)-1].fill(fresh)
	}
	if len(fresh) == 0 {
		return bins
	}
	if best := fullestWithRoom(bins, len(fresh)); best != nil {
		best.fill(fresh)
		return bins
	}
	last := &bin{isNew: true}
	last.fill(fresh)
	return append(bins, last)
}

func (b *bin) fill(from []discoveryv1.Endpoint) (rest []discoveryv1.Endpoint) {
	n := min(len(from), MaxEndpoints-len(b.is))
	if n > 0 {
		b.is = append(b.is, from[:n]...)
		b.changed = true
	}
	return from[n:]
}

func fullestWithRoom(bins []*bin, room int) *bin {
	fitting := slices.DeleteFunc(slices.Clone(bins), func(b *bin) bool {
		return b.isNew || len(b.is)+room > MaxEndpoints
	})
	if len(fitting) == 0 {
		return nil
	}
	return slices.MaxFunc(fitting, func(a, b *bin) int { return cmp.Compare(len(a.is), len(b.is)) })
}

// record adds the bin's write to changes, if it needs one.
func (b *bin) record(want *discoveryv1.EndpointSlice, changes *Changes) {
	switch {
	case b.isNew:
		slice := want.DeepCopy()
		slice.Endpoints = b.is
		changes.Create = append(changes.Create, slice)
	case len(b.is) == 0:
		changes.Delete = append(changes.Delete, b.slice)
	default:
		b.write(want, changes)
	}
}

// write adds an update of the bin's slice if its content or what it wears
// differs from what is wanted.
func (b *bin) write(want *discoveryv1.EndpointSlice, changes *Changes) {
	if !b.changed && dressed(b.slice, want) {
		return
	}
	updated := b.slice.DeepCopy()
	dress(updated, want)
	updated.Endpoints = b.is
	changes.Update = append(changes.Update, updated)
}

// dressed says whether the slice wears the labels, annotations and owners it
// should. The trigger time is not compared: it alone is no reason to write.
func dressed(slice, want *discoveryv1.EndpointSlice) bool {
	return equality.Semantic.DeepEqual(slice.Labels, want.Labels) &&
		equality.Semantic.DeepEqual(slice.OwnerReferences, want.OwnerReferences) &&
		equality.Semantic.DeepEqual(withoutTrigger(slice.Annotations), withoutTrigger(want.Annotations))
}

func withoutTrigger(annotations map[string]string) map[string]string {
	rest := maps.Clone(annotations)
	delete(rest, corev1.EndpointsLastChangeTriggerTime)
	return rest
}

func dress(slice, want *discoveryv1.EndpointSlice) {
	slice.Labels = maps.Clone(want.Labels)
	slice.Annotations = maps.Clone(want.Annotations)
	slice.OwnerReferences = want.OwnerReferences
	slice.Ports = want.Ports
}

// recycle turns a deletion and a creation of the same address type into one
// update.
func (c *Changes) recycle() {
	var create []*discoveryv1.EndpointSlice
	for _, fresh := range c.Create {
		at := slices.IndexFunc(c.Delete, func(s *discoveryv1.EndpointSlice) bool { return s.AddressType == fresh.AddressType })
		if at < 0 {
			create = append(create, fresh)
			continue
		}
		reused := c.Delete[at].DeepCopy()
		dress(reused, fresh)
		reused.Endpoints = fresh.Endpoints
		c.Update = append(c.Update, reused)
		c.Delete = slices.Delete(c.Delete, at, at+1)
	}
	c.Create = create
}
