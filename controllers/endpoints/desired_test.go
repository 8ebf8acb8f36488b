package endpoints

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func service(change ...func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default", Labels: map[string]string{"tier": "front"}},
		Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.1", Ports: []corev1.ServicePort{
			{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromString("web")},
		}},
	}
	for _, c := range change {
		c(s)
	}
	return s
}

func pod(name, ip string, port int32, ready bool) *corev1.Pod {
	status := corev1.ConditionFalse
	if ready {
		status = corev1.ConditionTrue
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID(name)},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: port, Protocol: corev1.ProtocolTCP}}}}},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, PodIP: ip, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: status}}},
	}
}

func TestPodsAreGroupedByPortsAndReadiness(t *testing.T) {
	gone := metav1.Now()
	ended, leaving := pod("ended", "10.0.0.8", 8080, false), pod("leaving", "10.0.0.9", 8080, true)
	ended.Status.Phase = corev1.PodSucceeded
	leaving.DeletionTimestamp = &gone
	pods := []*corev1.Pod{pod("b", "10.0.0.2", 8080, true), pod("a", "10.0.0.1", 8080, true), pod("c", "10.0.0.3", 8080, false), pod("d", "10.0.0.4", 9090, true), ended, leaving, pod("none", "", 1, true)}
	found := desired(service(), pods, nil, time.Time{})
	if len(found.Subsets) != 2 {
		t.Fatalf("subsets are %v", found.Subsets)
	}
	first, second := found.Subsets[0], found.Subsets[1]
	if first.Ports[0].Port != 8080 || len(first.Addresses) != 2 || first.Addresses[0].IP != "10.0.0.1" || len(first.NotReadyAddresses) != 1 || second.Ports[0].Port != 9090 {
		t.Errorf("subsets are %v", found.Subsets)
	}
	if found.Labels["tier"] != "front" || found.Labels[managedLabel] != managedBy {
		t.Errorf("labels are %v", found.Labels)
	}
}

func TestUnreadyPodsArePublishedWhereAskedFor(t *testing.T) {
	leaving := pod("leaving", "10.0.0.2", 80, false)
	now := metav1.Now()
	leaving.DeletionTimestamp = &now
	found := desired(service(func(s *corev1.Service) {
		s.Spec.PublishNotReadyAddresses = true
		s.Spec.ClusterIP = corev1.ClusterIPNone
	}), []*corev1.Pod{pod("a", "10.0.0.1", 80, false), leaving}, nil, time.Time{})
	if len(found.Subsets) != 1 || len(found.Subsets[0].Addresses) != 2 {
		t.Errorf("subsets are %v", found.Subsets)
	}
	if _, ok := found.Labels[corev1.IsHeadlessService]; !ok {
		t.Error("a headless service's endpoints do not say so")
	}
}

func TestMoreThanAThousandAddressesAreCut(t *testing.T) {
	var pods []*corev1.Pod
	for i := range 1100 {
		pods = append(pods, pod(fmt.Sprint(i), fmt.Sprintf("10.0.%d.%d", i/250, i%250+1), 80, i >= 200))
	}
	found := desired(service(), pods, nil, time.Time{})
	if ready, not := len(found.Subsets[0].Addresses), len(found.Subsets[0].NotReadyAddresses); ready != 900 || not != 100 {
		t.Errorf("%d ready and %d others are left", ready, not)
	}
	if found.Annotations[corev1.EndpointsOverCapacity] != truncated {
		t.Errorf("annotations are %v", found.Annotations)
	}
}
