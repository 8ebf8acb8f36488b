package deployment

import (
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"
)

func amount(t *rapid.T, label string) intstr.IntOrString {
	if rapid.Bool().Draw(t, label+" in percent") {
		return intstr.FromString(rapid.SampledFrom([]string{"0%", "10%", "25%", "34%", "100%"}).Draw(t, label))
	}
	return intstr.FromInt32(rapid.Int32Range(0, 5).Draw(t, label))
}

// A rollout under any sequence of edits and pods coming up at any pace never
// has more pods than the surge allows and never takes away availability.
func TestRolloutKeepsWithinSurgeAndAvailability(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(rapid.Int32Range(0, 12).Draw(t, "replicas"), amount(t, "surge"), amount(t, "unavailable"))
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "edit") {
			case 0:
				image := rapid.SampledFrom([]string{"v1", "v2", "v3"}).Draw(t, "image")
				w.edit(func(s *appsv1.DeploymentSpec) { s.Template = template(image) })
			case 1:
				replicas := rapid.Int32Range(0, 12).Draw(t, "scale")
				w.edit(func(s *appsv1.DeploymentSpec) { s.Replicas = &replicas })
			case 2:
				w.edit(func(s *appsv1.DeploymentSpec) { s.Paused = !s.Paused })
			}
			w.runPods(rapid.Int32Range(0, 3).Draw(t, "become available"))
			checkStep(t, w)
		}
		w.edit(func(s *appsv1.DeploymentSpec) { s.Paused = false })
		if !w.settle() {
			t.Fatal("does not come to rest")
		}
		newest := newest(w.d, w.sets)
		if newest == nil || *newest.Spec.Replicas != *w.d.Spec.Replicas || sum(w.sets, wantedBy) != *w.d.Spec.Replicas {
			t.Fatalf("settled with the wrong sizes: newest %v, all %d, wanted %d", newest, sum(w.sets, wantedBy), *w.d.Spec.Replicas)
		}
		if progressing := conditionOf(w.d.Status.Conditions, appsv1.DeploymentProgressing); progressing.Reason != reasonAvailable {
			t.Fatalf("settled, but Progressing is %s", progressing.Reason)
		}
	})
}

func checkStep(t *rapid.T, w *world) {
	before, scaling := sum(w.sets, wantedBy), newPlanner(Snapshot{Deployment: w.d, Sets: w.sets}).sizeChanged()
	minAvailable := replicasOf(w.d.Spec.Replicas) - maxUnavailable(w.d)
	availableBefore := sum(w.sets, availableOf)
	w.step()
	limit := replicasOf(w.d.Spec.Replicas) + maxSurge(w.d)
	if after := sum(w.sets, wantedBy); after > max(limit, before) {
		t.Fatalf("%d pods wanted, %d allowed", after, limit)
	}
	if scaling || w.d.Spec.Paused {
		return
	}
	remaining := sum(w.sets, func(set *appsv1.ReplicaSet) int32 { return min(availableOf(set), wantedBy(set)) })
	if remaining < min(minAvailable, availableBefore) {
		t.Fatalf("%d of %d available pods left, minimum is %d", remaining, availableBefore, minAvailable)
	}
}

func TestFirstRolloutTellsItsStory(t *testing.T) {
	w := newWorld(3, intstr.FromString("25%"), intstr.FromString("25%"))
	plan, _ := w.step()
	if plan.Create == nil || *plan.Create.Spec.Replicas != 3 {
		t.Fatalf("no set of 3 created: %v", plan.Create)
	}
	hash := plan.Create.Labels[appsv1.DefaultDeploymentUniqueLabelKey]
	if plan.Create.Name != "web-"+hash || plan.Create.Spec.Selector.MatchLabels["pod-template-hash"] != hash {
		t.Errorf("name %q and selector %v do not carry the hash", plan.Create.Name, plan.Create.Spec.Selector)
	}
	if w.d.Annotations[RevisionAnnotation] != "1" || plan.Create.Annotations[MaxReplicasAnnotation] != "4" {
		t.Errorf("annotations: %v, %v", w.d.Annotations, plan.Create.Annotations)
	}
	wantCondition(t, w, appsv1.DeploymentProgressing, corev1.ConditionTrue, "NewReplicaSetCreated")
	wantCondition(t, w, appsv1.DeploymentAvailable, corev1.ConditionFalse, "MinimumReplicasUnavailable")
	w.runPods(1)
	w.step()
	wantCondition(t, w, appsv1.DeploymentProgressing, corev1.ConditionTrue, "ReplicaSetUpdated")
	w.settle()
	wantCondition(t, w, appsv1.DeploymentProgressing, corev1.ConditionTrue, "NewReplicaSetAvailable")
	wantCondition(t, w, appsv1.DeploymentAvailable, corev1.ConditionTrue, "MinimumReplicasAvailable")
	if message := conditionOf(w.d.Status.Conditions, appsv1.DeploymentProgressing).Message; message != `ReplicaSet "`+plan.Create.Name+`" has successfully progressed.` {
		t.Errorf("message %q", message)
	}
}

func wantCondition(t *testing.T, w *world, kind appsv1.DeploymentConditionType, status corev1.ConditionStatus, reason string) {
	t.Helper()
	c := conditionOf(w.d.Status.Conditions, kind)
	if c == nil || c.Status != status || c.Reason != reason {
		t.Errorf("condition %s is %v, want %s %s", kind, c, status, reason)
	}
}

func TestRollbackTakesTheOldSetToTheNewestRevision(t *testing.T) {
	w := newWorld(3, intstr.FromInt32(1), intstr.FromInt32(0))
	w.settle()
	w.edit(func(s *appsv1.DeploymentSpec) { s.Template = template("v2") })
	w.settle()
	w.edit(func(s *appsv1.DeploymentSpec) { s.Template = template("v1") })
	w.settle()
	first := w.setOf("v1")
	if len(w.sets) != 2 || *first.Spec.Replicas != 3 {
		t.Fatalf("%d sets, v1 wants %d", len(w.sets), *first.Spec.Replicas)
	}
	if first.Annotations[RevisionAnnotation] != "3" || first.Annotations[RevisionHistoryAnnotation] != "1" || w.d.Annotations[RevisionAnnotation] != "3" {
		t.Errorf("revisions: set %v, deployment %v", first.Annotations, w.d.Annotations)
	}
}

func TestHistoryIsTrimmedToItsLimit(t *testing.T) {
	w := newWorld(1, intstr.FromInt32(1), intstr.FromInt32(0))
	w.edit(func(s *appsv1.DeploymentSpec) { limit := int32(2); s.RevisionHistoryLimit = &limit })
	for _, image := range []string{"v1", "v2", "v3", "v4", "v5"} {
		w.edit(func(s *appsv1.DeploymentSpec) { s.Template = template(image) })
		w.settle()
	}
	if len(w.sets) != 3 || w.setOf("v1") != nil || w.setOf("v2") != nil {
		t.Errorf("%d sets are left, want v3, v4 and v5", len(w.sets))
	}
}

func TestScalingDuringARolloutIsProportional(t *testing.T) {
	w := newWorld(10, intstr.FromInt32(3), intstr.FromInt32(2))
	w.settle()
	w.edit(func(s *appsv1.DeploymentSpec) { s.Template = template("v2") })
	w.step()
	w.runPods(0)
	w.step()
	if old, fresh := *w.setOf("v1").Spec.Replicas, *w.setOf("v2").Spec.Replicas; old != 8 || fresh != 3 {
		t.Fatalf("before scaling: old %d, new %d", old, fresh)
	}
	w.runPods(0)
	w.step()
	w.runPods(0)
	w.edit(func(s *appsv1.DeploymentSpec) { replicas := int32(15); s.Replicas = &replicas })
	plan, _ := w.step()
	if old, fresh := *w.setOf("v1").Spec.Replicas, *w.setOf("v2").Spec.Replicas; old != 11 || fresh != 7 {
		t.Errorf("after scaling to 15: old %d, new %d; want 11 and 7", old, fresh)
	}
	for _, update := range plan.Update {
		if !strings.HasPrefix(update.Event, "Scaled up replica set web-") {
			t.Errorf("event %q", update.Event)
		}
	}
}

func TestRecreateWaitsForTheLastOldPod(t *testing.T) {
	w := newWorld(2, intstr.FromInt32(0), intstr.FromInt32(0))
	w.edit(func(s *appsv1.DeploymentSpec) {
		s.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
	})
	w.settle()
	w.edit(func(s *appsv1.DeploymentSpec) { s.Template = template("v2") })
	w.step()
	if *w.setOf("v1").Spec.Replicas != 0 || w.setOf("v2") != nil {
		t.Fatal("the first step must only end the old pods")
	}
	w.step()
	if w.setOf("v2") != nil {
		t.Fatal("the new set was made while old pods run")
	}
	w.runPods(0)
	w.step()
	if set := w.setOf("v2"); set == nil || *set.Spec.Replicas != 2 {
		t.Fatalf("the new set is %v", set)
	}
}

func TestDeadlineIsNoticedAndShown(t *testing.T) {
	w := newWorld(1, intstr.FromInt32(1), intstr.FromInt32(0))
	plan, _ := w.step()
	if plan.CheckAgain != 601*time.Second {
		t.Errorf("looks again in %s, want just after the deadline", plan.CheckAgain)
	}
	w.now = w.now.Add(601 * time.Second)
	w.step()
	wantCondition(t, w, appsv1.DeploymentProgressing, corev1.ConditionFalse, "ProgressDeadlineExceeded")
	w.runPods(1)
	w.settle()
	wantCondition(t, w, appsv1.DeploymentProgressing, corev1.ConditionTrue, "NewReplicaSetAvailable")
}

func TestPausedDeploymentScalesButDoesNotRoll(t *testing.T) {
	w := newWorld(2, intstr.FromInt32(1), intstr.FromInt32(0))
	w.settle()
	w.edit(func(s *appsv1.DeploymentSpec) {
		s.Paused = true
		s.Template = template("v2")
		three := int32(3)
		s.Replicas = &three
	})
	w.settle()
	if w.setOf("v2") != nil || *w.setOf("v1").Spec.Replicas != 3 {
		t.Errorf("sets are %v", w.sets)
	}
	wantCondition(t, w, appsv1.DeploymentProgressing, corev1.ConditionUnknown, "DeploymentPaused")
}

// The hash is part of object names that live in users stores.
func TestTemplateHashIsStable(t *testing.T) {
	template := template("v1")
	one := TemplateHash(&template, nil)
	if one != TemplateHash(&template, nil) || strings.ContainsAny(one, "aeiou013") {
		t.Errorf("hash %q is unstable or not safe", one)
	}
	collisions := int32(1)
	if one == TemplateHash(&template, &collisions) {
		t.Error("a collision gives the same hash")
	}
}
