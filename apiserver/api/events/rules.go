package events

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/rule"
)

const (
	maxReason = 128
	maxAction = 128
	maxNote   = 1024
	maxName   = 128
)

func validateEvent(e *eventsv1.Event) field.ErrorList {
	errs := validateNamespace(e)
	if e.EventTime.IsZero() {
		return append(errs, field.Required(field.NewPath("eventTime"), ""))
	}
	return append(errs, validateNew(e)...)
}

func validateNamespace(e *eventsv1.Event) field.ErrorList {
	about := e.Regarding.Namespace
	if about == e.Namespace || about == "" && (e.Namespace == metav1.NamespaceDefault || e.Namespace == metav1.NamespaceSystem) {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("involvedObject", "namespace"), about, "does not match event.namespace")}
}

func validateNew(e *eventsv1.Event) field.ErrorList {
	var errs field.ErrorList
	if e.ReportingController == "" {
		errs = append(errs, field.Required(field.NewPath("reportingController"), ""))
	} else {
		errs = append(errs, rule.QualifiedName(field.NewPath("reportingController"), e.ReportingController)...)
	}
	for _, f := range []struct {
		name, value string
		most        int
	}{{"reportingInstance", e.ReportingInstance, maxName}, {"action", e.Action, maxAction}, {"reason", e.Reason, maxReason}} {
		at := field.NewPath(f.name)
		if f.value == "" {
			errs = append(errs, field.Required(at, ""))
		}
		if len(f.value) > f.most {
			errs = append(errs, field.Invalid(at, "", fmt.Sprintf("can have at most %v characters", f.most)))
		}
	}
	if len(e.Note) > maxNote {
		errs = append(errs, field.Invalid(field.NewPath("message"), "", fmt.Sprintf("can have at most %v characters", maxNote)))
	}
	if e.Type != corev1.EventTypeNormal && e.Type != corev1.EventTypeWarning {
		errs = append(errs, field.Invalid(field.NewPath("type"), "", fmt.Sprintf("has invalid value: %v", e.Type)))
	}
	return append(errs, validateUnused(e)...)
}

// validateUnused refuses the fields of the old kind.
func validateUnused(e *eventsv1.Event) field.ErrorList {
	var errs field.ErrorList
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"firstTimestamp", !e.DeprecatedFirstTimestamp.IsZero()}, {"lastTimestamp", !e.DeprecatedLastTimestamp.IsZero()},
		{"count", e.DeprecatedCount != 0}, {"source", e.DeprecatedSource != (corev1.EventSource{})},
	} {
		if f.set {
			errs = append(errs, field.Invalid(field.NewPath(f.name), "", "needs to be unset"))
		}
	}
	if s := e.Series; s != nil {
		at := field.NewPath("series")
		if s.Count < 2 {
			errs = append(errs, field.Invalid(at.Child("count"), "", "should be at least 2"))
		}
		if s.LastObservedTime.IsZero() {
			errs = append(errs, field.Required(at.Child("lastObservedTime"), ""))
		}
	}
	return errs
}

// validateEventUpdate lets a series go on and nothing else.
func validateEventUpdate(e, old *eventsv1.Event) field.ErrorList {
	errs := validateNamespace(e)
	if old.EventTime.IsZero() {
		return errs
	}
	errs = append(errs, validateNew(e)...)
	for _, f := range []struct {
		name    string
		is, was any
	}{
		{"involvedObject", e.Regarding, old.Regarding}, {"reason", e.Reason, old.Reason}, {"message", e.Note, old.Note},
		{"type", e.Type, old.Type}, {"eventTime", e.EventTime, old.EventTime}, {"action", e.Action, old.Action},
		{"related", e.Related, old.Related}, {"reportingController", e.ReportingController, old.ReportingController},
		{"reportingInstance", e.ReportingInstance, old.ReportingInstance},
	} {
		errs = append(errs, rule.Immutable(field.NewPath(f.name), f.is, f.was)...)
	}
	return errs
}
