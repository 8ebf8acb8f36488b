// Package events holds the rows of the events.k8s.io group: events in their
// newer form. They are stored as core events.
package events

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/yare-io/yare/apiserver/api/core"
	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

// Resources returns the rows of the group. Events are kept for ttl.
func Resources(ttl time.Duration) []*registry.Resource {
	return []*registry.Resource{{
		Kind: eventsv1.SchemeGroupVersion.WithKind("Event"), Name: "events", Singular: "event", ShortNames: []string{"ev"}, Namespaced: true,
		Verbs: row.AllVerbs(), StoragePrefix: "events", New: row.New[eventsv1.Event], NewList: row.New[eventsv1.EventList],
		TTL:      func(runtime.Object) time.Duration { return ttl },
		StoredAs: &registry.Conversion{Kind: corev1.SchemeGroupVersion.WithKind("Event"), ToStored: toCore, FromStored: fromCore},
		Strategy: registry.Strategy{
			Validate:       registry.Check(validateEvent),
			ValidateUpdate: registry.CheckUpdate(validateEventUpdate),
			ValidName:      func(string, bool) []string { return nil },
			CreateOnUpdate: true,
		},
		Columns: core.EventColumns(asCore),
		Fields:  func(o runtime.Object) fields.Set { return eventFields(o.(*eventsv1.Event)) },
	}}
}

func eventFields(e *eventsv1.Event) fields.Set {
	return fields.Set{
		"regarding.kind":            e.Regarding.Kind,
		"regarding.namespace":       e.Regarding.Namespace,
		"regarding.name":            e.Regarding.Name,
		"regarding.uid":             string(e.Regarding.UID),
		"regarding.apiVersion":      e.Regarding.APIVersion,
		"regarding.resourceVersion": e.Regarding.ResourceVersion,
		"regarding.fieldPath":       e.Regarding.FieldPath,
		"reason":                    e.Reason,
		"reportingController":       e.ReportingController,
		"type":                      e.Type,
	}
}
