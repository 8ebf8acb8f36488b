package admission_test

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/yare-io/yare/kubelet/admission"
)

func pod(cpu string, selector map[string]string) *v1.Pod {
	return &v1.Pod{Spec: v1.PodSpec{NodeSelector: selector, Containers: []v1.Container{{
		Resources: v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse(cpu)}},
	}}}}
}

func TestCheck(t *testing.T) {
	node := &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{"zone": "a"}},
		Status: v1.NodeStatus{Allocatable: v1.ResourceList{
			v1.ResourceCPU: resource.MustParse("1"), v1.ResourcePods: resource.MustParse("2"),
		}},
	}
	cases := []struct {
		name            string
		pod             *v1.Pod
		others          []*v1.Pod
		reason, message string
	}{
		{name: "fits", pod: pod("600m", nil), others: []*v1.Pod{pod("400m", nil)}},
		{"too little cpu", pod("600m", nil), []*v1.Pod{pod("500m", nil)}, "OutOfcpu",
			"Pod was rejected: Node didn't have enough resource: cpu, requested: 600, used: 500, capacity: 1000"},
		{"too many pods", pod("0", nil), []*v1.Pod{pod("0", nil), pod("0", nil)}, "OutOfpods",
			"Pod was rejected: Node didn't have enough resource: pods, requested: 1, used: 2, capacity: 2"},
		{name: "belongs here", pod: pod("0", map[string]string{"zone": "a"})},
		{"belongs elsewhere", pod("0", map[string]string{"zone": "b"}), nil, "NodeAffinity",
			"Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			verdict := admission.Check(c.pod, c.others, node)
			if verdict == nil && c.reason != "" || verdict != nil && (verdict.Reason != c.reason || verdict.Message != c.message) {
				t.Errorf("got %+v, want %s: %s", verdict, c.reason, c.message)
			}
		})
	}
}
