package server

import (
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// podOf finds the pod that a request's path names. A static pod goes by the
// uid of its mirror too, since that is the one the API server knows.
func (s *Server) podOf(r *http.Request) (*corev1.Pod, error) {
	namespace, name := r.PathValue("namespace"), r.PathValue("pod")
	uid := types.UID(r.PathValue("uid"))
	for _, pod := range s.config.Backend.Pods() {
		if pod.Namespace != namespace || pod.Name != name {
			continue
		}
		if uid == "" || pod.UID == uid || isStatic(pod) {
			return pod, nil
		}
	}
	return nil, fmt.Errorf("pod %s/%s: %w", namespace, name, ErrNotFound)
}

func isStatic(pod *corev1.Pod) bool {
	source, ok := pod.Annotations["kubernetes.io/config.source"]
	return ok && source != "api"
}

// containerOf finds pod and container that a request's path names.
func (s *Server) containerOf(r *http.Request) (*corev1.Pod, *corev1.Container, error) {
	pod, err := s.podOf(r)
	if err != nil {
		return nil, nil, err
	}
	name := r.PathValue("container")
	if container := findContainer(&pod.Spec, name); container != nil {
		return pod, container, nil
	}
	return nil, nil, fmt.Errorf("container %q in pod %s/%s: %w", name, pod.Namespace, pod.Name, ErrNotFound)
}

func findContainer(spec *corev1.PodSpec, name string) *corev1.Container {
	for _, list := range [][]corev1.Container{spec.Containers, spec.InitContainers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	for i := range spec.EphemeralContainers {
		if spec.EphemeralContainers[i].Name == name {
			return (*corev1.Container)(&spec.EphemeralContainers[i].EphemeralContainerCommon)
		}
	}
	return nil
}

func statusOf(status *corev1.PodStatus, name string) *corev1.ContainerStatus {
	for _, list := range [][]corev1.ContainerStatus{status.ContainerStatuses, status.InitContainerStatuses, status.EphemeralContainerStatuses} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}
