package autoscaling

import (
	"testing"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/yare-io/yare/apiserver/api/rowtest"
	"github.com/yare-io/yare/apiserver/registry"
)

const autoscaler = `
metadata: {name: web, namespace: default}
spec: {maxReplicas: 5, scaleTargetRef: {kind: Deployment, name: web, apiVersion: apps/v1}}
`

func version(v string) *registry.Resource {
	for _, r := range Resources() {
		if r.Kind.Version == v {
			return r
		}
	}
	panic("no version " + v)
}

func TestRules(t *testing.T) {
	metric := func(m string) string { return "spec: {metrics: [" + m + "]}" }
	rowtest.Creates(t, version("v2"), autoscaler, rowtest.Cases{
		{"no maximum", "spec: {maxReplicas: 0}", []string{"Invalid spec.maxReplicas", "Invalid spec.maxReplicas"}},
		{"down to nothing", "spec: {minReplicas: 0}", []string{"Invalid spec.minReplicas"}},
		{"minimum above maximum", "spec: {minReplicas: 6}", []string{"Invalid spec.maxReplicas"}},
		{"no target", "spec: {scaleTargetRef: {kind: '', name: ''}}", []string{"Required spec.scaleTargetRef.kind", "Required spec.scaleTargetRef.name"}},
		{"metric without a source", metric("{type: Resource}"), []string{"Required spec.metrics[0].resource"}},
		{"metric with another source", metric("{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 5}}, pods: {metric: {name: a}, target: {type: AverageValue, averageValue: 1}}}"), []string{"Forbidden spec.metrics[0].pods"}},
		{"metric without a value", metric("{type: Resource, resource: {name: cpu, target: {type: Utilization}}}"), []string{"Required spec.metrics[0].resource.target.averageUtilization"}},
		{"metric without a name", metric("{type: Pods, pods: {metric: {name: ''}, target: {type: AverageValue, averageValue: 1}}}"), []string{"Required spec.metrics[0].pods.metric.name"}},
		{"window too long", "spec: {behavior: {scaleDown: {stabilizationWindowSeconds: 3601}}}", []string{"Invalid spec.behavior.scaleDown.stabilizationWindowSeconds"}},
		{"policy of nothing", "spec: {behavior: {scaleUp: {policies: [{type: Pods, value: 0, periodSeconds: 15}]}}}", []string{"Invalid spec.behavior.scaleUp.policies[0].value"}},
		{"unknown policy", "spec: {behavior: {scaleUp: {selectPolicy: Most}}}", []string{"NotSupported spec.behavior.scaleUp.selectPolicy"}},
	})
	rowtest.Creates(t, version("v1"), autoscaler, rowtest.Cases{
		{"minimum above maximum", "spec: {minReplicas: 6}", []string{"Invalid spec.maxReplicas"}},
		{"annotation that is none", "metadata: {annotations: {autoscaling.alpha.kubernetes.io/metrics: x}}", []string{"Invalid metadata.annotations"}},
	})
}

func TestDefaults(t *testing.T) {
	r := version("v2")
	h := rowtest.Object(t, r, autoscaler, "spec: {behavior: {}}").(*autoscalingv2.HorizontalPodAutoscaler)
	rowtest.Create(r, h)
	if *h.Spec.MinReplicas != 1 || *h.Spec.Metrics[0].Resource.Target.AverageUtilization != 80 {
		t.Errorf("defaults: %+v", h.Spec)
	}
	if up := h.Spec.Behavior.ScaleUp; *up.StabilizationWindowSeconds != 0 || len(up.Policies) != 2 {
		t.Errorf("scaling up: %+v", up)
	}
	if down := h.Spec.Behavior.ScaleDown; down.StabilizationWindowSeconds != nil || len(down.Policies) != 1 {
		t.Errorf("scaling down: %+v", down)
	}
}

// TestNothingIsLostThroughV1: what a v2 client wrote survives a v1 client that
// reads it and writes it back.
func TestNothingIsLostThroughV1(t *testing.T) {
	r := version("v2")
	h := rowtest.Object(t, r, autoscaler, `
metadata: {annotations: {a: b}}
spec:
  minReplicas: 2
  behavior: {scaleDown: {selectPolicy: Disabled}}
  metrics:
  - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 60}}}
  - {type: Resource, resource: {name: memory, target: {type: AverageValue, averageValue: 1Gi}}}
  - {type: Pods, pods: {metric: {name: hits, selector: {matchLabels: {a: b}}}, target: {type: AverageValue, averageValue: 10}}}
  - {type: Object, object: {describedObject: {kind: Ingress, name: x, apiVersion: v1}, metric: {name: rate}, target: {type: Value, value: 5}}}
  - {type: External, external: {metric: {name: queue}, target: {type: AverageValue, averageValue: 3}}}
  - {type: ContainerResource, containerResource: {name: cpu, container: c, target: {type: Utilization, averageUtilization: 50}}}
status:
  currentReplicas: 2
  desiredReplicas: 3
  conditions: [{type: AbleToScale, status: "True", reason: Ready}]
  currentMetrics: [{type: Resource, resource: {name: cpu, current: {averageUtilization: 55, averageValue: 100m}}}]
`).(*autoscalingv2.HorizontalPodAutoscaler)
	r.Strategy.Default(h)
	rowtest.Expect(t, r.Strategy.Validate(t.Context(), h))
	back := roundTrip(t, h)
	back.TypeMeta = h.TypeMeta
	if !apiequality.Semantic.DeepEqual(h, back) {
		t.Errorf("got  %+v\nwant %+v", back, h)
	}
}

func roundTrip(t *testing.T, o runtime.Object) *autoscalingv2.HorizontalPodAutoscaler {
	t.Helper()
	c := version("v1").StoredAs
	v1, err := c.FromStored(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := v1.(*autoscalingv1.HorizontalPodAutoscaler); !ok {
		t.Fatalf("converted to %T", v1)
	}
	v2, err := c.ToStored(v1)
	if err != nil {
		t.Fatal(err)
	}
	return v2.(*autoscalingv2.HorizontalPodAutoscaler)
}

func TestConversionLeavesItsArgumentAlone(t *testing.T) {
	r := version("v1")
	h := rowtest.Object(t, r, autoscaler, "metadata: {annotations: {autoscaling.alpha.kubernetes.io/metrics: '[]', a: b}}")
	before := h.DeepCopyObject()
	if _, err := r.StoredAs.ToStored(h); err != nil {
		t.Fatal(err)
	}
	if !apiequality.Semantic.DeepEqual(before, h) {
		t.Errorf("changed to %+v", h)
	}
}
