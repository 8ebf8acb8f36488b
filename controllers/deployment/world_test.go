package deployment

import (
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// world plays the API server and the ReplicaSet controller for one deployment.
type world struct {
	d    *appsv1.Deployment
	sets []*appsv1.ReplicaSet
	now  time.Time
	seq  int
}

func newWorld(replicas int32, surge, unavailable intstr.IntOrString) *world {
	deadline, history := int32(600), int32(10)
	return &world{
		now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		d: &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default", UID: "d", Generation: 1},
			Spec: appsv1.DeploymentSpec{
				Replicas: &replicas,
				Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
				Template: template("v1"),
				Strategy: appsv1.DeploymentStrategy{
					Type:          appsv1.RollingUpdateDeploymentStrategyType,
					RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &surge, MaxUnavailable: &unavailable},
				},
				ProgressDeadlineSeconds: &deadline,
				RevisionHistoryLimit:    &history,
			},
		},
	}
}

func template(image string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: image}}},
	}
}

func (w *world) edit(change func(*appsv1.DeploymentSpec)) {
	change(&w.d.Spec)
	w.d.Generation++
}

func (w *world) decide() Plan {
	return Decide(Snapshot{
		Deployment: w.d, Sets: w.sets, Now: w.now,
		OldPodsRunning: func(newest *appsv1.ReplicaSet) bool {
			for _, set := range w.sets {
				if set.Status.Replicas > 0 && (newest == nil || set.UID != newest.UID) {
					return true
				}
			}
			return false
		},
	})
}

// step decides once and writes the result down. It reports whether there was any.
func (w *world) step() (Plan, bool) {
	plan := w.decide()
	changed := plan.Create != nil || len(plan.Update)+len(plan.Delete) > 0 || plan.Changed(w.d)
	if plan.Create != nil {
		w.seq++
		plan.Create.UID = types.UID(fmt.Sprint("set-", w.seq))
		plan.Create.CreationTimestamp = metav1.NewTime(w.now.Add(time.Duration(w.seq) * time.Second))
		plan.Create.Generation = 1
		w.sets = append(w.sets, plan.Create)
	}
	for _, update := range plan.Update {
		for i := range w.sets {
			if w.sets[i].UID == update.Set.UID {
				update.Set.Generation++
				w.sets[i] = update.Set
			}
		}
	}
	for _, gone := range plan.Delete {
		for i := range w.sets {
			if w.sets[i].UID == gone.UID {
				w.sets = append(w.sets[:i:i], w.sets[i+1:]...)
				break
			}
		}
	}
	w.d = plan.Deployment
	return plan, changed
}

// runPods makes every set have the pods it wants; up to available of those that
// are missing become available.
func (w *world) runPods(available int32) {
	for _, set := range w.sets {
		wanted := replicasOf(set.Spec.Replicas)
		set.Status.Replicas = wanted
		set.Status.ObservedGeneration = set.Generation
		set.Status.AvailableReplicas = min(set.Status.AvailableReplicas, wanted)
		grow := min(available, wanted-set.Status.AvailableReplicas)
		available -= grow
		set.Status.AvailableReplicas += grow
		set.Status.ReadyReplicas = set.Status.AvailableReplicas
	}
}

// settle steps until nothing changes, with every pod becoming available.
func (w *world) settle() bool {
	for range 200 {
		w.runPods(1 << 20)
		if _, changed := w.step(); !changed {
			return true
		}
	}
	return false
}

func (w *world) setOf(image string) *appsv1.ReplicaSet {
	for _, set := range w.sets {
		if set.Spec.Template.Spec.Containers[0].Image == image {
			return set
		}
	}
	return nil
}
