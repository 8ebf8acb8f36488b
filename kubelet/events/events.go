// Package events tells a pod's story to its users: it ties each event to the pod, and to the container it is about. It owns the
// reference that events carry, and refuses to know why they are sent.
package events

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/tools/reference"
)

// Recorder records events about pods. Its zero value drops them. It is safe for concurrent use.
type Recorder struct {
	Recorder record.EventRecorder
}

// Pod records an event about the pod as a whole.
func (r Recorder) Pod(pod *v1.Pod, kind, reason, format string, args ...any) {
	r.record(pod, "", kind, reason, fmt.Sprintf(format, args...))
}

// Container records an event about one container of the pod.
func (r Recorder) Container(pod *v1.Pod, name, kind, reason, format string, args ...any) {
	r.record(pod, fieldPath(pod, name), kind, reason, fmt.Sprintf(format, args...))
}

func (r Recorder) record(pod *v1.Pod, path, kind, reason, message string) {
	if r.Recorder == nil {
		return
	}
	ref, err := reference.GetPartialReference(scheme.Scheme, pod, path)
	if err != nil {
		return
	}
	r.Recorder.Event(ref, kind, reason, message)
}

func fieldPath(pod *v1.Pod, name string) string {
	for i := range pod.Spec.InitContainers {
		if pod.Spec.InitContainers[i].Name == name {
			return fmt.Sprintf("spec.initContainers{%s}", name)
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		if pod.Spec.EphemeralContainers[i].Name == name {
			return fmt.Sprintf("spec.ephemeralContainers{%s}", name)
		}
	}
	return fmt.Sprintf("spec.containers{%s}", name)
}
