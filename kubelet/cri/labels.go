package cri

import (
	"strconv"

	"k8s.io/kubelet/pkg/types"
)

// Labels and annotations that tie what runs to the pod it belongs to. They are how a restarted kubelet finds its
// containers again, so they are Kubernetes' own.
const (
	LabelPodName       = types.KubernetesPodNameLabel
	LabelPodNamespace  = types.KubernetesPodNamespaceLabel
	LabelPodUID        = types.KubernetesPodUIDLabel
	LabelContainerName = types.KubernetesContainerNameLabel

	AnnotationHash                     = "io.kubernetes.container.hash"
	AnnotationRestartCount             = "io.kubernetes.container.restartCount"
	AnnotationTerminationMessagePath   = "io.kubernetes.container.terminationMessagePath"
	AnnotationTerminationMessagePolicy = "io.kubernetes.container.terminationMessagePolicy"
	AnnotationPodGracePeriod           = "io.kubernetes.pod.terminationGracePeriod"
)

func intAnnotation(annotations map[string]string, key string) int {
	n, err := strconv.Atoi(annotations[key])
	if err != nil {
		return 0
	}
	return n
}
