package kubelet_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/yare-io/yare/kubelet"
	"github.com/yare-io/yare/kubelet/eviction"
	"github.com/yare-io/yare/kubelet/kubelettest"
)

func TestPodIsEvictedWhenMemoryRunsShort(t *testing.T) {
	var left atomic.Int64
	left.Store(1 << 30)
	c := newCluster(t, func(config *kubelet.Config) {
		config.Settings.EvictionHard = map[string]string{"memory.available": "100Mi"}
		config.Settings.EvictionPressureTransitionPeriod = metav1.Duration{Duration: time.Second}
		config.Observe = func() map[eviction.Signal]eviction.Observation {
			return map[eviction.Signal]eviction.Observation{eviction.MemoryAvailable: {Available: left.Load(), Capacity: 4 << 30}}
		}
	})
	critical := newPod("critical", "serve", "8081")
	critical.Spec.Priority = new(int32(2_000_000_000))
	c.create(newPod("victim", "serve", "8080"))
	c.create(critical)
	c.await("victim", "is ready", isReady)
	c.await("critical", "is ready", isReady)
	left.Store(50 << 20)

	evicted := c.await("victim", "is evicted", func(pod *v1.Pod) bool { return pod.Status.Phase == v1.PodFailed })
	if evicted.Status.Reason != "Evicted" || !strings.HasPrefix(evicted.Status.Message, "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. Container web was using ") {
		t.Errorf("the pod ended with %s: %s", evicted.Status.Reason, evicted.Status.Message)
	}
	disrupted := false
	for _, condition := range evicted.Status.Conditions {
		disrupted = disrupted || condition.Type == v1.DisruptionTarget && condition.Reason == v1.PodReasonTerminationByKubelet
	}
	if !disrupted {
		t.Errorf("no DisruptionTarget among %+v", evicted.Status.Conditions)
	}
	c.awaitEvent("Evicted", "The node was low on resource: memory.")
	c.awaitPressure(v1.ConditionTrue)
	c.create(newPod("late", "serve", "8082"))
	if refused := c.await("late", "is refused", func(pod *v1.Pod) bool { return pod.Status.Phase == v1.PodFailed }); refused.Status.Reason != "Evicted" {
		t.Errorf("a pod that came under pressure ended with %s", refused.Status.Reason)
	}
	if !isReady(c.get("critical")) {
		t.Error("the critical pod was evicted too")
	}
	left.Store(1 << 30)
	c.awaitPressure(v1.ConditionFalse)
}

func (c *cluster) awaitPressure(want v1.ConditionStatus) {
	c.t.Helper()
	kubelettest.Eventually(c.t, "MemoryPressure is "+string(want), func() (bool, error) {
		node, err := c.api.CoreV1().Nodes().Get(context.Background(), "node-1", metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		for _, condition := range node.Status.Conditions {
			if condition.Type == v1.NodeMemoryPressure {
				return condition.Status == want, nil
			}
		}
		return false, nil
	})
}
