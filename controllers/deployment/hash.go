package deployment

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/dump"
	"k8s.io/apimachinery/pkg/util/rand"
)

// TemplateHash returns the pod-template-hash Kubernetes gives the template: it
// is part of the names of ReplicaSets, so the two must agree to the letter.
func TemplateHash(template *corev1.PodTemplateSpec, collisions *int32) string {
	hash := fnv.New32a()
	fmt.Fprintf(hash, "%v", dump.ForHash(*template))
	if collisions != nil {
		hash.Write(binary.LittleEndian.AppendUint64(nil, uint64(uint32(*collisions)))) //nolint:gosec // a bit pattern
	}
	return rand.SafeEncodeString(fmt.Sprint(hash.Sum32()))
}

// sameTemplate compares two templates but for the hash label.
func sameTemplate(a, b *corev1.PodTemplateSpec) bool {
	return equality.Semantic.DeepEqual(withoutHash(a), withoutHash(b))
}

func withoutHash(template *corev1.PodTemplateSpec) *corev1.PodTemplateSpec {
	if _, ok := template.Labels[appsv1.DefaultDeploymentUniqueLabelKey]; !ok {
		return template
	}
	bare := *template
	bare.Labels = withoutKey(template.Labels, appsv1.DefaultDeploymentUniqueLabelKey)
	return &bare
}

func withoutKey(from map[string]string, key string) map[string]string {
	rest := make(map[string]string, len(from))
	for k, v := range from {
		if k != key {
			rest[k] = v
		}
	}
	return rest
}
