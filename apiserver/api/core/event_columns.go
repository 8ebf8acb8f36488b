package core

import (
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

// EventColumns are the columns of events, in whatever version they are shown:
// as gives the core form.
func EventColumns(as func(runtime.Object) *corev1.Event) []registry.Column {
	text := func(name string, cell func(*corev1.Event) string) registry.Column {
		return row.Text(name, func(o runtime.Object) any { return cell(as(o)) })
	}
	aged := func(name string, cell func(*corev1.Event, time.Time) string) registry.Column {
		return row.Aged(name, func(o runtime.Object, now time.Time) any { return cell(as(o), now) })
	}
	name := row.Wide(row.NameColumn())
	return []registry.Column{
		aged("Last Seen", lastSeen),
		text("Type", func(e *corev1.Event) string { return e.Type }),
		text("Reason", func(e *corev1.Event) string { return e.Reason }),
		text("Object", eventObject),
		row.Wide(text("Subobject", func(e *corev1.Event) string { return e.InvolvedObject.FieldPath })),
		row.Wide(text("Source", eventSource)),
		text("Message", func(e *corev1.Event) string { return strings.TrimSpace(e.Message) }),
		row.Wide(aged("First Seen", func(e *corev1.Event, now time.Time) string { return row.Age(firstTime(e), now) })),
		row.Wide(text("Count", func(e *corev1.Event) string { return strconv.Itoa(eventCount(e)) })),
		name,
	}
}

func firstTime(e *corev1.Event) metav1.Time {
	if e.FirstTimestamp.IsZero() {
		return metav1.NewTime(e.EventTime.Time)
	}
	return e.FirstTimestamp
}

func lastSeen(e *corev1.Event, now time.Time) string {
	if e.Series != nil {
		return row.Age(metav1.NewTime(e.Series.LastObservedTime.Time), now)
	}
	if !e.LastTimestamp.IsZero() {
		return row.Age(e.LastTimestamp, now)
	}
	return row.Age(firstTime(e), now)
}

func eventCount(e *corev1.Event) int {
	switch {
	case e.Series != nil:
		return int(e.Series.Count)
	case e.Count > 1:
		return int(e.Count)
	}
	return 1
}

func eventObject(e *corev1.Event) string {
	kind := strings.ToLower(e.InvolvedObject.Kind)
	if e.InvolvedObject.Name == "" {
		return kind
	}
	return kind + "/" + e.InvolvedObject.Name
}

func eventSource(e *corev1.Event) string {
	component, instance := e.Source.Component, e.Source.Host
	if component == "" {
		component = e.ReportingController
	}
	if instance == "" {
		instance = e.ReportingInstance
	}
	if instance == "" {
		return component
	}
	return component + ", " + instance
}
