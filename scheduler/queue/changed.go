package queue

import (
	"maps"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
)

func mapsEqual(a, b map[string]string) bool { return maps.Equal(a, b) }

func specChanged(old, updated *v1.Pod) bool {
	return !equality.Semantic.DeepEqual(&old.Spec, &updated.Spec)
}
