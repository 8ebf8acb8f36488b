// Package policystatus checks the expressions of ValidatingAdmissionPolicies
// against the schemas of the kinds they are about, and writes what would fail
// into the policies' status. It changes nothing of what policies do.
package policystatus

import (
	"context"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	applyv1 "k8s.io/client-go/applyconfigurations/admissionregistration/v1"
	admissionregistrationlisters "k8s.io/client-go/listers/admissionregistration/v1"

	"github.com/yare-io/yare/controllers/worker"
)

const name = "validatingadmissionpolicy-status-controller"

type controller struct {
	env      *worker.Env
	policies admissionregistrationlisters.ValidatingAdmissionPolicyLister
}

// New makes the controller.
func New(env *worker.Env) (worker.Runner, error) {
	policies := env.Informers.Admissionregistration().V1().ValidatingAdmissionPolicies()
	c := &controller{env: env, policies: policies.Lister()}
	loop := worker.NewLoop(env, worker.Options[worker.Key]{Queue: "validatingadmissionpolicy-status", Workers: env.Workers, Reconcile: c.reconcile})
	worker.WatchKeys[*admissionregistrationv1.ValidatingAdmissionPolicy](loop, policies.Informer())
	return loop, nil
}

// reconcile checks a policy once for each generation, as Kubernetes does: a
// schema that changes later does not bring it back.
func (c *controller) reconcile(ctx context.Context, key worker.Key) error {
	policy, err := c.policies.Get(key.Name)
	if apierrors.IsNotFound(err) || err == nil && policy.Generation <= policy.Status.ObservedGeneration {
		return nil
	}
	if err != nil {
		return err
	}
	warnings, err := check(&policy.Spec, newSchemas(c.env.Client.Discovery()))
	if err != nil {
		return err
	}
	found := applyv1.TypeChecking()
	for _, w := range warnings {
		found.WithExpressionWarnings(applyv1.ExpressionWarning().WithFieldRef(w.FieldRef).WithWarning(w.Warning))
	}
	status := applyv1.ValidatingAdmissionPolicyStatus().WithObservedGeneration(policy.Generation).WithTypeChecking(found)
	_, err = c.env.Client.AdmissionregistrationV1().ValidatingAdmissionPolicies().ApplyStatus(ctx,
		applyv1.ValidatingAdmissionPolicy(policy.Name).WithStatus(status), metav1.ApplyOptions{FieldManager: name, Force: true})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
