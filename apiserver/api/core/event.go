package core

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
	"github.com/yare-io/yare/apiserver/registry"
)

func events(d Deps) *registry.Resource {
	return &registry.Resource{
		Kind: kind("Event"), Name: "events", Singular: "event", ShortNames: []string{"ev"}, Namespaced: true,
		Verbs: row.AllVerbs(), StoragePrefix: "events", New: row.New[corev1.Event], NewList: row.New[corev1.EventList],
		TTL: func(runtime.Object) time.Duration { return d.EventTTL },
		Strategy: registry.Strategy{
			Validate:       registry.Check(validateEvent),
			ValidateUpdate: registry.CheckUpdate(func(e, _ *corev1.Event) field.ErrorList { return validateEvent(e) }),
			ValidName:      func(string, bool) []string { return nil },
			CreateOnUpdate: true,
		},
		Columns: EventColumns(func(o runtime.Object) *corev1.Event { return o.(*corev1.Event) }),
		Fields:  func(o runtime.Object) fields.Set { return eventFields(o.(*corev1.Event)) },
	}
}

func eventFields(e *corev1.Event) fields.Set {
	source := e.Source.Component
	if source == "" {
		source = e.ReportingController
	}
	return fields.Set{
		"involvedObject.kind":            e.InvolvedObject.Kind,
		"involvedObject.namespace":       e.InvolvedObject.Namespace,
		"involvedObject.name":            e.InvolvedObject.Name,
		"involvedObject.uid":             string(e.InvolvedObject.UID),
		"involvedObject.apiVersion":      e.InvolvedObject.APIVersion,
		"involvedObject.resourceVersion": e.InvolvedObject.ResourceVersion,
		"involvedObject.fieldPath":       e.InvolvedObject.FieldPath,
		"reason":                         e.Reason,
		"reportingComponent":             source,
		"source":                         source,
		"type":                           e.Type,
	}
}

// validateEvent wants an event to be in the namespace of what it is about;
// what is in none may be told of in the default namespace.
func validateEvent(e *corev1.Event) field.ErrorList {
	at := field.NewPath("involvedObject", "namespace")
	about := e.InvolvedObject.Namespace
	if about == "" {
		if e.Namespace != metav1.NamespaceDefault && e.Namespace != metav1.NamespaceSystem {
			return field.ErrorList{field.Invalid(at, about, "does not match event.namespace")}
		}
		return nil
	}
	if e.Namespace != about {
		return field.ErrorList{field.Invalid(at, about, "does not match event.namespace")}
	}
	return rule.DNSLabel(field.NewPath("namespace"), e.Namespace)
}
