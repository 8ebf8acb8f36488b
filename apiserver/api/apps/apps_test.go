package apps

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"

	"github.com/yare-io/yare/apiserver/api/rowtest"
)

const workload = `
metadata: {name: web, namespace: default}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: i}]}
`

// common breaks what all workloads with a selector have in common.
func common() rowtest.Cases {
	return rowtest.Cases{
		{"no selector", "spec: {selector: null}", []string{"Required spec.selector"}},
		{"empty selector", "spec: {selector: {matchLabels: null}}", []string{"Invalid spec.selector"}},
		{"selector of others", "spec: {selector: {matchLabels: {app: other}}}", []string{"Invalid spec.template.metadata.labels"}},
		{"no container", "spec: {template: {spec: {containers: []}}}", []string{"Required spec.template.spec.containers"}},
		{"pods that end", "spec: {template: {spec: {restartPolicy: OnFailure}}}", []string{"NotSupported spec.template.spec.restartPolicy"}},
		{"pods with a deadline", "spec: {template: {spec: {activeDeadlineSeconds: 5}}}", []string{"Forbidden spec.template.spec.activeDeadlineSeconds"}},
		{"negative readiness", "spec: {minReadySeconds: -1}", []string{"Invalid spec.minReadySeconds"}},
	}
}

func TestDeployment(t *testing.T) {
	r := rowtest.Row(t, Resources(), "deployments")
	rowtest.Creates(t, r, workload, append(common(), rowtest.Cases{
		{"fewer than none", "spec: {replicas: -1}", []string{"Invalid spec.replicas"}},
		{"unknown strategy", "spec: {strategy: {type: Magic}}", []string{"NotSupported spec.strategy"}},
		{"recreate that rolls", "spec: {strategy: {type: Recreate, rollingUpdate: {maxSurge: 1}}}", []string{"Forbidden spec.strategy.rollingUpdate"}},
		{"no step possible", "spec: {strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 0}}}", []string{"Invalid spec.strategy.rollingUpdate.maxUnavailable"}},
		{"no percentage", "spec: {strategy: {rollingUpdate: {maxSurge: many}}}", []string{"Invalid spec.strategy.rollingUpdate.maxSurge"}},
		{"more than all", "spec: {strategy: {rollingUpdate: {maxUnavailable: 101%}}}", []string{"Invalid spec.strategy.rollingUpdate.maxUnavailable"}},
		{"deadline before readiness", "spec: {minReadySeconds: 5, progressDeadlineSeconds: 5}", []string{"Invalid spec.progressDeadlineSeconds"}},
		{"negative history", "spec: {revisionHistoryLimit: -1}", []string{"Invalid spec.revisionHistoryLimit"}},
	}...))
	rowtest.Updates(t, r, &r.Strategy, workload, rowtest.Cases{
		{"more", "spec: {replicas: 3}", nil},
		{"another selector", "{spec: {selector: {matchLabels: {app: x}}, template: {metadata: {labels: {app: x}}}}}", []string{"Invalid spec.selector"}},
	})
	rowtest.Updates(t, r, r.Subresources[1].Part, workload, rowtest.Cases{
		{"counts that cannot be", "status: {replicas: 1, readyReplicas: 2, availableReplicas: 3, updatedReplicas: 4}", []string{
			"Invalid status.readyReplicas", "Invalid status.availableReplicas", "Invalid status.availableReplicas", "Invalid status.updatedReplicas"}},
		{"spec is not touched", "spec: {replicas: -4}", nil},
	})
}

func TestDeploymentDefaults(t *testing.T) {
	r := rowtest.Row(t, Resources(), "deployments")
	d := rowtest.Object(t, r, workload, "status: {replicas: 4}").(*appsv1.Deployment)
	rowtest.Create(r, d)
	if *d.Spec.Replicas != 1 || *d.Spec.RevisionHistoryLimit != 10 || *d.Spec.ProgressDeadlineSeconds != 600 ||
		d.Spec.Strategy.RollingUpdate.MaxSurge.String() != "25%" || d.Status.Replicas != 0 || d.Generation != 1 {
		t.Errorf("new deployment: %+v", d)
	}
	if d.Spec.Template.Spec.EnableServiceLinks != nil {
		t.Error("a template got what only pods get")
	}
}

func TestScale(t *testing.T) {
	r := rowtest.Row(t, Resources(), "deployments")
	d := rowtest.Object(t, r, workload, "{metadata: {resourceVersion: '9'}, spec: {replicas: 2}, status: {replicas: 1}}").(*appsv1.Deployment)
	p := r.Subresources[0].Projection
	o, err := p.From(d)
	if err != nil {
		t.Fatal(err)
	}
	scale := o.(*autoscalingv1.Scale)
	if scale.Spec.Replicas != 2 || scale.Status.Replicas != 1 || scale.Status.Selector != "app=web" || scale.ResourceVersion != "9" {
		t.Errorf("scale %+v", scale)
	}
	scale.Spec.Replicas = 5
	if err := p.Into(scale, d); err != nil || *d.Spec.Replicas != 5 {
		t.Errorf("replicas %d (%v)", *d.Spec.Replicas, err)
	}
	scale.Spec.Replicas = -1
	rowtest.Expect(t, p.Validate(scale), "Invalid spec.replicas")
}

func TestReplicaSet(t *testing.T) {
	r := rowtest.Row(t, Resources(), "replicasets")
	rowtest.Creates(t, r, workload, common())
	rowtest.Updates(t, r, &r.Strategy, workload, rowtest.Cases{
		{"another template", "spec: {template: {spec: {containers: [{name: d, image: j}]}}}", nil},
		{"another selector", "{spec: {selector: {matchLabels: {app: x}}, template: {metadata: {labels: {app: x}}}}}", []string{"Invalid spec.selector"}},
	})
}

func TestStatefulSet(t *testing.T) {
	r := rowtest.Row(t, Resources(), "statefulsets")
	rowtest.Creates(t, r, workload, append(common(), rowtest.Cases{
		{"unknown order", "spec: {podManagementPolicy: Random}", []string{"NotSupported spec.podManagementPolicy"}},
		{"unknown strategy", "spec: {updateStrategy: {type: Magic}}", []string{"Invalid spec.updateStrategy"}},
		{"on delete, but rolling", "spec: {updateStrategy: {type: OnDelete, rollingUpdate: {partition: 1}}}", []string{"Invalid spec.updateStrategy.rollingUpdate"}},
		{"negative partition", "spec: {updateStrategy: {rollingUpdate: {partition: -1}, type: RollingUpdate}}", []string{"Invalid spec.updateStrategy.rollingUpdate.partition"}},
		{"unknown retention", "spec: {persistentVolumeClaimRetentionPolicy: {whenDeleted: Shred}}", []string{"NotSupported spec.persistentVolumeClaimRetentionPolicy.whenDeleted"}},
		{"negative start", "spec: {ordinals: {start: -1}}", []string{"Invalid spec.ordinals.start"}},
	}...))
	rowtest.Updates(t, r, &r.Strategy, workload, rowtest.Cases{
		{"another template", "spec: {replicas: 3, template: {spec: {containers: [{name: d, image: j}]}}}", nil},
		{"another service", "spec: {serviceName: x}", []string{"Forbidden spec"}},
		{"a claim", "spec: {volumeClaimTemplates: [{metadata: {name: v}, spec: {accessModes: [ReadWriteOnce]}}]}", []string{"Forbidden spec"}},
	})
}

func TestDaemonSet(t *testing.T) {
	r := rowtest.Row(t, Resources(), "daemonsets")
	rowtest.Creates(t, r, workload, append(common(), rowtest.Cases{
		{"unknown strategy", "spec: {updateStrategy: {type: Magic}}", []string{"NotSupported spec.updateStrategy.type"}},
		{"no step possible", "spec: {updateStrategy: {rollingUpdate: {maxUnavailable: 0}}}", []string{"Required spec.updateStrategy.rollingUpdate.maxUnavailable"}},
		{"two on a node", "spec: {updateStrategy: {rollingUpdate: {maxUnavailable: 1, maxSurge: 1}}}", []string{"Invalid spec.updateStrategy.rollingUpdate.maxSurge"}},
	}...))
}

func TestControllerRevision(t *testing.T) {
	r := rowtest.Row(t, Resources(), "controllerrevisions")
	base := "{metadata: {name: a, namespace: b}, data: {a: b}, revision: 1}"
	rowtest.Creates(t, r, base, rowtest.Cases{
		{"negative", "revision: -1", []string{"Invalid revision"}},
		{"no data", "data: null", []string{"Required data"}},
	})
	rowtest.Updates(t, r, &r.Strategy, base, rowtest.Cases{
		{"other data", "data: {a: c}", []string{"Invalid data"}},
		{"another number", "revision: 2", nil},
	})
}
