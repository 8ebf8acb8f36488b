// Package discovery holds the rows of the discovery.k8s.io group: endpoint
// slices.
package discovery

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

// Resources returns the rows of the group.
func Resources() []*registry.Resource { return []*registry.Resource{endpointSlices()} }

func endpointSlices() *registry.Resource {
	return &registry.Resource{
		Kind: discoveryv1.SchemeGroupVersion.WithKind("EndpointSlice"), Name: "endpointslices", Singular: "endpointslice", Namespaced: true,
		Verbs: row.AllVerbs(), StoragePrefix: "endpointslices", New: row.New[discoveryv1.EndpointSlice], NewList: row.New[discoveryv1.EndpointSliceList],
		Strategy: registry.Strategy{
			Default:          registry.Do(defaultSlice),
			PrepareForCreate: registry.Prepare(func(s *discoveryv1.EndpointSlice) { s.Generation = 1 }),
			PrepareForUpdate: registry.PrepareUpdate(func(s, old *discoveryv1.EndpointSlice) {
				row.NextGeneration(s, old, !row.Same(s.Endpoints, old.Endpoints) || !row.Same(s.Ports, old.Ports) ||
					s.AddressType != old.AddressType || !row.Same(s.Labels, old.Labels))
			}),
			Validate:       registry.Check(validateSlice),
			ValidateUpdate: registry.CheckUpdate(validateSliceUpdate),
		},
		Columns: []registry.Column{
			row.NameColumn(),
			row.Text("AddressType", func(s *discoveryv1.EndpointSlice) any { return string(s.AddressType) }),
			row.Text("Ports", func(s *discoveryv1.EndpointSlice) any { return portsCell(s.Ports) }),
			row.Text("Endpoints", func(s *discoveryv1.EndpointSlice) any { return endpointsCell(s.Endpoints) }),
			row.AgeColumn(),
		},
	}
}

func defaultSlice(s *discoveryv1.EndpointSlice) {
	for i := range s.Ports {
		p := &s.Ports[i]
		if p.Name == nil {
			name := ""
			p.Name = &name
		}
		if p.Protocol == nil {
			protocol := corev1.ProtocolTCP
			p.Protocol = &protocol
		}
	}
}

// shown is how many values of a list a table shows at most.
const shown = 3

func portsCell(ports []discoveryv1.EndpointPort) string {
	cells := make([]string, 0, len(ports))
	for _, p := range ports {
		cell := "*"
		if p.Port != nil {
			cell = fmt.Sprint(*p.Port)
		}
		if p.Port == nil && p.Name != nil && *p.Name != "" {
			cell = *p.Name
		}
		cells = append(cells, cell)
	}
	return abridged(cells)
}

func endpointsCell(endpoints []discoveryv1.Endpoint) string {
	var cells []string
	for _, e := range endpoints {
		cells = append(cells, e.Addresses...)
	}
	return abridged(cells)
}

func abridged(cells []string) string {
	if len(cells) == 0 {
		return row.Unset
	}
	if len(cells) <= shown {
		return strings.Join(cells, ",")
	}
	return fmt.Sprintf("%s + %d more...", strings.Join(cells[:shown], ","), len(cells)-shown)
}
