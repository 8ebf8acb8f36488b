package podstatus

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
)

const (
	controllerIndex = "podController"
	nodeIndex       = "podNode"
)

// AddIndexes gives the shared pod informer the indexes behind OwnedOrOrphaned
// and OnNode. It may be called by every controller that uses them.
func AddIndexes(informer cache.SharedIndexInformer) error {
	missing := cache.Indexers{}
	present := informer.GetIndexer().GetIndexers()
	for name, index := range map[string]cache.IndexFunc{controllerIndex: byController, nodeIndex: byNode} {
		if _, ok := present[name]; !ok {
			missing[name] = index
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if err := informer.AddIndexers(missing); err != nil {
		return fmt.Errorf("indexing pods: %w", err)
	}
	return nil
}

func byController(object any) ([]string, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return nil, nil
	}
	if owner := metav1.GetControllerOfNoCopy(pod); owner != nil {
		return []string{string(owner.UID)}, nil
	}
	return []string{orphanKey(pod.Namespace)}, nil
}

func orphanKey(namespace string) string { return "orphans/" + namespace }

func byNode(object any) ([]string, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return nil, nil
	}
	return []string{pod.Spec.NodeName}, nil
}

// OwnedOrOrphaned returns the pods whose controller has that UID, then the pods
// of the namespace that have no controller.
func OwnedOrOrphaned(pods cache.Indexer, namespace string, uid types.UID) ([]*corev1.Pod, error) {
	owned, err := indexed(pods, controllerIndex, string(uid))
	if err != nil {
		return nil, err
	}
	orphans, err := indexed(pods, controllerIndex, orphanKey(namespace))
	return append(owned, orphans...), err
}

// Owned returns the pods whose controller has that UID.
func Owned(pods cache.Indexer, uid types.UID) ([]*corev1.Pod, error) {
	return indexed(pods, controllerIndex, string(uid))
}

// OnNode returns the pods bound to the node; for "", those bound to none.
func OnNode(pods cache.Indexer, node string) ([]*corev1.Pod, error) {
	return indexed(pods, nodeIndex, node)
}

func indexed(pods cache.Indexer, index, key string) ([]*corev1.Pod, error) {
	objects, err := pods.ByIndex(index, key)
	if err != nil {
		return nil, fmt.Errorf("looking up pods by %s: %w", index, err)
	}
	found := make([]*corev1.Pod, 0, len(objects))
	for _, object := range objects {
		found = append(found, object.(*corev1.Pod))
	}
	return found, nil
}
