package apiserver

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/yare-io/yare/apiserver/registry"
)

func TestVerdictsOnDeletion(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	dying := func(grace int64, finalizers ...string) metav1.ObjectMeta {
		at := metav1.NewTime(now.Add(time.Duration(grace) * time.Second))
		return metav1.ObjectMeta{DeletionTimestamp: &at, DeletionGracePeriodSeconds: &grace, Finalizers: finalizers}
	}
	seconds := func(n int64) *metav1.DeleteOptions { return metav1.NewDeleteOptions(n) }
	policy := func(p metav1.DeletionPropagation) *metav1.DeleteOptions {
		return &metav1.DeleteOptions{PropagationPolicy: &p}
	}
	const wait = "example.com/wait"
	for _, test := range []struct {
		name       string
		meta       metav1.ObjectMeta
		options    *metav1.DeleteOptions
		seconds    int64
		graceful   bool
		want       verdict
		grace      int64 // afterwards; -1: none
		finalizers []string
	}{
		{"plain", metav1.ObjectMeta{}, seconds(0), 0, false, removeNow, -1, nil},
		{"finalizer", metav1.ObjectMeta{Finalizers: []string{wait}}, &metav1.DeleteOptions{}, 0, false, markDeleted, 0, []string{wait}},
		{"finalizer, again", dying(0, wait), &metav1.DeleteOptions{}, 0, false, leaveAlone, 0, []string{wait}},
		{"orphan", metav1.ObjectMeta{}, policy(metav1.DeletePropagationOrphan), 0, false, markDeleted, 0, []string{metav1.FinalizerOrphanDependents}},
		{"foreground", metav1.ObjectMeta{}, policy(metav1.DeletePropagationForeground), 0, false, markDeleted, 0, []string{metav1.FinalizerDeleteDependents}},
		{"foreground, then background", dying(0, metav1.FinalizerDeleteDependents), policy(metav1.DeletePropagationBackground), 0, false, removeNow, 0, nil},
		{"foreground, then silent", dying(0, metav1.FinalizerDeleteDependents), &metav1.DeleteOptions{}, 0, false, leaveAlone, 0, []string{metav1.FinalizerDeleteDependents}},
		{"foreground, then orphan", dying(0, metav1.FinalizerDeleteDependents), policy(metav1.DeletePropagationOrphan), 0, false, markDeleted, 0, []string{metav1.FinalizerOrphanDependents}},
		{"graceful", metav1.ObjectMeta{}, &metav1.DeleteOptions{}, 30, true, markDeleted, 30, nil},
		{"graceful, no time", metav1.ObjectMeta{}, seconds(0), 0, true, removeNow, -1, nil},
		{"graceful, no time, finalizer", metav1.ObjectMeta{Finalizers: []string{wait}}, seconds(0), 0, true, markDeleted, 0, []string{wait}},
		{"graceful, again", dying(30), &metav1.DeleteOptions{}, 30, true, leaveAlone, 30, nil},
		{"graceful, longer", dying(30), seconds(60), 60, true, leaveAlone, 30, nil},
		{"graceful, shorter", dying(30), seconds(5), 5, true, markDeleted, 5, nil},
		{"graceful, now", dying(30), seconds(0), 0, true, removeNow, 0, nil},
		{"graceful, now, finalizer", dying(30, wait), seconds(0), 0, true, markDeleted, 0, []string{wait}},
	} {
		t.Run(test.name, func(t *testing.T) {
			obj := &corev1.Pod{ObjectMeta: test.meta}
			obj.Generation = 1
			got := judgeDeletion(&registry.Resource{}, obj, test.options, test.seconds, test.graceful, now)
			if got != test.want || !slices.Equal(obj.Finalizers, test.finalizers) {
				t.Errorf("verdict %d, %+v", got, obj.ObjectMeta)
			}
			grace := int64(-1)
			if obj.DeletionGracePeriodSeconds != nil {
				grace = *obj.DeletionGracePeriodSeconds
			}
			if grace != test.grace {
				t.Errorf("grace %d", grace)
			}
			begun := test.meta.DeletionTimestamp == nil && obj.DeletionTimestamp != nil
			if begun != (obj.Generation == 2) {
				t.Errorf("generation %d", obj.Generation)
			}
		})
	}
}
