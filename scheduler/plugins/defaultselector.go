package plugins

import (
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// defaultSelector selects the pods that serve the same purpose as the pod:
// those of its services and of its controller. It is empty if there are none.
func (s Sources) defaultSelector(pod *v1.Pod) labels.Selector {
	merged := labels.Set{}
	if services, err := s.Services.Services(pod.Namespace).List(labels.Everything()); err == nil {
		for _, service := range services {
			selector := labels.Set(service.Spec.Selector)
			if len(selector) > 0 && selector.AsSelectorPreValidated().Matches(labels.Set(pod.Labels)) {
				merged = labels.Merge(merged, selector)
			}
		}
	}
	selector := labels.NewSelector()
	if len(merged) > 0 {
		selector = merged.AsSelector()
	}
	owner := metav1.GetControllerOf(pod)
	if owner == nil {
		return selector
	}
	if owned, ok := s.controllerSelector(pod.Namespace, owner); ok {
		requirements, _ := owned.Requirements()
		selector = selector.Add(requirements...)
	}
	return selector
}

func (s Sources) controllerSelector(namespace string, owner *metav1.OwnerReference) (labels.Selector, bool) {
	var by *metav1.LabelSelector
	switch owner.Kind {
	case "ReplicationController":
		if rc, err := s.ReplicationControllers.ReplicationControllers(namespace).Get(owner.Name); err == nil {
			return labels.SelectorFromSet(rc.Spec.Selector), true
		}
	case "ReplicaSet":
		if rs, err := s.ReplicaSets.ReplicaSets(namespace).Get(owner.Name); err == nil {
			by = rs.Spec.Selector
		}
	case "StatefulSet":
		if ss, err := s.StatefulSets.StatefulSets(namespace).Get(owner.Name); err == nil {
			by = ss.Spec.Selector
		}
	}
	if by == nil {
		return nil, false
	}
	selector, err := metav1.LabelSelectorAsSelector(by)
	return selector, err == nil
}
