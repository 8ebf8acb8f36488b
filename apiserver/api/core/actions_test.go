package core

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	testclock "k8s.io/utils/clock/testing"

	"github.com/yare-io/yare/apiserver/registry"
)

// objects is a server with one pod and some budgets.
type objects struct {
	pod     *corev1.Pod
	budgets []runtime.Object
	deleted *metav1.DeleteOptions
}

func (o *objects) Get(context.Context, schema.GroupResource, string, string) (runtime.Object, error) {
	return o.pod, nil
}

func (o *objects) List(context.Context, schema.GroupResource, string) ([]runtime.Object, error) {
	return o.budgets, nil
}

func (o *objects) Create(_ context.Context, _ schema.GroupResource, obj runtime.Object) (runtime.Object, error) {
	return obj, nil
}

func (o *objects) Update(_ context.Context, r schema.GroupResource, _, _ string, change func(runtime.Object) error) (runtime.Object, error) {
	if r == budgetResource {
		return o.budgets[0], change(o.budgets[0])
	}
	return o.pod, change(o.pod)
}

func (o *objects) Delete(_ context.Context, _ schema.GroupResource, _, _ string, options *metav1.DeleteOptions) error {
	o.deleted = options
	return nil
}

var now = testclock.NewFakePassiveClock(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))

func running() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "default", UID: "u", Labels: map[string]string{"app": "web"}, ResourceVersion: "7"},
		Spec:       corev1.PodSpec{NodeName: "n"},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
	}
}

func budget(allowed int32) *policyv1.PodDisruptionBudget {
	return &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: "b", Namespace: "default"},
		Spec:       policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}},
		Status:     policyv1.PodDisruptionBudgetStatus{DisruptionsAllowed: allowed, CurrentHealthy: 1, DesiredHealthy: 1},
	}
}

func TestEvictionRespectsBudgets(t *testing.T) {
	unready := running()
	unready.Status.Conditions = nil
	behind := budget(1)
	behind.Generation = 2
	for name, c := range map[string]struct {
		pod     *corev1.Pod
		budgets []runtime.Object
		refused func(error) bool
		left    int32
	}{
		"no budget":            {pod: running()},
		"room":                 {pod: running(), budgets: []runtime.Object{budget(1)}},
		"no room":              {pod: running(), budgets: []runtime.Object{budget(0)}, refused: apierrors.IsTooManyRequests},
		"budget not seen yet":  {pod: running(), budgets: []runtime.Object{behind}, refused: apierrors.IsTooManyRequests, left: 1},
		"two budgets":          {pod: running(), budgets: []runtime.Object{budget(1), budget(1)}, refused: apierrors.IsInternalError, left: 1},
		"a pod that is unwell": {pod: unready, budgets: []runtime.Object{budget(0)}},
	} {
		t.Run(name, func(t *testing.T) {
			o := &objects{pod: c.pod, budgets: c.budgets}
			_, err := evict(now)(t.Context(), registry.Call{
				Object: &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "p"}}, Namespace: "default", Name: "p", Objects: o,
			})
			if c.refused == nil && (err != nil || o.deleted == nil) {
				t.Fatalf("not evicted: %v", err)
			}
			if c.refused != nil && (!c.refused(err) || o.deleted != nil) {
				t.Fatalf("got %v, deleted %v", err, o.deleted != nil)
			}
			if len(c.budgets) > 0 {
				if left := c.budgets[0].(*policyv1.PodDisruptionBudget).Status.DisruptionsAllowed; left != c.left {
					t.Errorf("%d disruptions left, want %d", left, c.left)
				}
			}
		})
	}
}

func TestBinding(t *testing.T) {
	free := func() *corev1.Pod { p := running(); p.Spec.NodeName = ""; return p }
	going := free()
	going.DeletionTimestamp = &metav1.Time{Time: now.Now()}
	gated := free()
	gated.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "g"}}
	for name, c := range map[string]struct {
		pod     *corev1.Pod
		binding corev1.Binding
		refused func(error) bool
	}{
		"free pod":    {pod: free()},
		"other pod":   {pod: free(), binding: corev1.Binding{ObjectMeta: metav1.ObjectMeta{UID: "v"}}, refused: apierrors.IsConflict},
		"bound pod":   {pod: running(), refused: apierrors.IsConflict},
		"going pod":   {pod: going, refused: apierrors.IsConflict},
		"gated pod":   {pod: gated, refused: apierrors.IsConflict},
		"to a target": {pod: free(), binding: corev1.Binding{Target: corev1.ObjectReference{Kind: "Rack"}}, refused: apierrors.IsInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			b := c.binding.DeepCopy()
			b.Name, b.Target.Name = "p", "n2"
			b.Annotations = map[string]string{"a": "b"}
			_, err := bind(now)(t.Context(), registry.Call{Object: b, Namespace: "default", Name: "p", Objects: &objects{pod: c.pod}})
			if c.refused != nil {
				if !c.refused(err) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if c.pod.Spec.NodeName != "n2" || c.pod.Annotations["a"] != "b" || !hasPodCondition(c.pod, corev1.PodScheduled) {
				t.Errorf("bound pod: %+v", c.pod)
			}
		})
	}
}
