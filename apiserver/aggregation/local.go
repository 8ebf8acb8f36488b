package aggregation

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

const (
	// managedLabel marks the API services that the server itself keeps, and
	// says for how long.
	managedLabel = "kube-aggregator.kubernetes.io/automanaged"
	onStart      = "onstart"
	always       = "true"
)

// groupPriorities are those of Kubernetes' own groups: the first group that has
// a resource of some name is the one that kubectl takes.
var groupPriorities = map[string]int32{
	"": 18000, "apps": 17800, "events.k8s.io": 17750, "authentication.k8s.io": 17700, "authorization.k8s.io": 17600,
	"autoscaling": 17500, "batch": 17400, "certificates.k8s.io": 17300, "networking.k8s.io": 17200, "policy": 17100,
	"rbac.authorization.k8s.io": 17000, "storage.k8s.io": 16800, "apiextensions.k8s.io": 16700,
	"admissionregistration.k8s.io": 16700, "scheduling.k8s.io": 16600, "coordination.k8s.io": 16500, "node.k8s.io": 16300,
	"discovery.k8s.io": 16200, "flowcontrol.apiserver.k8s.io": 16100, "internal.apiserver.k8s.io": 16000,
	"resource.k8s.io": 15900, "storagemigration.k8s.io": 15800,
}

// versionPriorities are those that differ from the usual 15.
var versionPriorities = map[schema.GroupVersion]int32{
	{Version: "v1"}: 1, {Group: "autoscaling", Version: "v2"}: 30, {Group: "flowcontrol.apiserver.k8s.io", Version: "v1"}: 21,
}

// own returns the API services that the server should have for itself.
func (a *Aggregator) own() map[string]*service {
	wanted := map[string]*service{}
	for _, row := range a.config.Rows() {
		gv := row.Kind.GroupVersion()
		name := gv.Version + "." + gv.Group
		if wanted[name] != nil || gv.Group == apiregistrationv1.GroupName {
			continue
		}
		s := &service{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{managedLabel: onStart}},
			Spec:       apiregistrationv1.APIServiceSpec{Group: gv.Group, Version: gv.Version, GroupPriorityMinimum: 15000, VersionPriority: 15},
		}
		if priority, ok := groupPriorities[gv.Group]; ok {
			s.Spec.GroupPriorityMinimum = priority
		}
		if priority, ok := versionPriorities[gv]; ok {
			s.Spec.VersionPriority = priority
		}
		if a.config.Custom(row) {
			s.Labels[managedLabel] = always
			s.Spec.GroupPriorityMinimum, s.Spec.VersionPriority = 1000, 100
		}
		wanted[name] = s
	}
	return wanted
}

// registerOwn creates, corrects and removes the API services that the server
// keeps for itself. Those that somebody made his own, by taking the label away
// or by naming a service, are left alone.
func (a *Aggregator) registerOwn(ctx context.Context) {
	known := a.state.Load().services
	if known == nil {
		return // not read yet
	}
	wanted := a.own()
	for name, s := range wanted {
		old := known[name]
		switch {
		case old == nil:
			a.create(ctx, s)
		case old.Labels[managedLabel] == always && (old.Spec.GroupPriorityMinimum != s.Spec.GroupPriorityMinimum || old.Spec.VersionPriority != s.Spec.VersionPriority || old.Spec.Service != nil):
			a.update(ctx, name, func(current *service) error {
				current.Spec = s.Spec
				return nil
			})
		}
	}
	for name, old := range known {
		managed := old.Labels[managedLabel]
		if wanted[name] != nil || managed != always && managed != onStart {
			continue
		}
		if err := a.config.Objects().Delete(ctx, Services, "", name, nil); err != nil && !apierrors.IsNotFound(err) && ctx.Err() == nil {
			a.logger.Error("cannot remove an API service", "name", name, "error", err)
		}
	}
}

func (a *Aggregator) create(ctx context.Context, s *service) {
	s.Status.Conditions = []apiregistrationv1.APIServiceCondition{{
		Type: apiregistrationv1.Available, Status: apiregistrationv1.ConditionTrue, LastTransitionTime: metav1.Now(),
		Reason: "Local", Message: "Local APIServices are always available",
	}}
	if _, err := a.config.Objects().Create(ctx, Services, s); err != nil && !apierrors.IsAlreadyExists(err) && ctx.Err() == nil {
		a.logger.Error("cannot create an API service", "name", s.Name, "error", err)
	}
}
