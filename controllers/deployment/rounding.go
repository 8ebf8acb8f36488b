package deployment

import (
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func isRollingUpdate(d *appsv1.Deployment) bool {
	return d.Spec.Strategy.Type != appsv1.RecreateDeploymentStrategyType
}

// replicasOf reads an optional replica count as the API defaults it.
func replicasOf(replicas *int32) int32 {
	if replicas == nil {
		return 1
	}
	return *replicas
}

// fenceposts resolves maxSurge (rounded up) and maxUnavailable (rounded down)
// against the wanted replicas. If both come to nothing, one pod may be
// unavailable: a rollout must be able to move.
func fenceposts(d *appsv1.Deployment) (surge, unavailable int32) {
	rolling := d.Spec.Strategy.RollingUpdate
	if !isRollingUpdate(d) || rolling == nil {
		return 0, 0
	}
	wanted := replicasOf(d.Spec.Replicas)
	surge = resolve(rolling.MaxSurge, wanted, true)
	unavailable = resolve(rolling.MaxUnavailable, wanted, false)
	if surge == 0 && unavailable == 0 {
		unavailable = 1
	}
	return surge, unavailable
}

func resolve(value *intstr.IntOrString, total int32, roundUp bool) int32 {
	scaled, err := intstr.GetScaledValueFromIntOrPercent(intstr.ValueOrDefault(value, intstr.FromInt32(0)), int(total), roundUp)
	if err != nil || scaled < 0 {
		return 0
	}
	return int32(scaled)
}

// maxSurge is how many pods beyond the wanted ones may exist.
func maxSurge(d *appsv1.Deployment) int32 {
	surge, _ := fenceposts(d)
	return surge
}

// maxUnavailable is how many of the wanted pods may be missing.
func maxUnavailable(d *appsv1.Deployment) int32 {
	wanted := replicasOf(d.Spec.Replicas)
	if !isRollingUpdate(d) || wanted == 0 {
		return 0
	}
	_, unavailable := fenceposts(d)
	return min(unavailable, wanted)
}
