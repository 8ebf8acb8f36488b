// Package evict ends pods on behalf of controllers that clear nodes: it writes
// down why before it deletes. Which pods have to go is for others to say.
package evict

import (
	"context"
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// Why is shown in the pod's DisruptionTarget condition.
type Why struct {
	Reason, Message string
	// Fail also sets the phase to Failed, for pods that no kubelet will.
	Fail bool
}

// Delete marks the pod with why and deletes it. A nil grace is the pod's own; a
// pod that is gone, or another by now, is no error.
func Delete(ctx context.Context, client kubernetes.Interface, pod *corev1.Pod, why Why, grace *int64, now metav1.Time) error {
	if err := mark(ctx, client, pod, why, now); err != nil {
		return err
	}
	err := client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: grace,
		Preconditions:      metav1.NewUIDPreconditions(string(pod.UID)),
	})
	return ignoreGone(err)
}

func mark(ctx context.Context, client kubernetes.Interface, pod *corev1.Pod, why Why, now metav1.Time) error {
	condition := corev1.PodCondition{
		Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, ObservedGeneration: pod.Generation,
		Reason: why.Reason, Message: why.Message, LastTransitionTime: now,
	}
	status := map[string]any{"conditions": []corev1.PodCondition{condition}}
	if why.Fail && pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed {
		status["phase"] = corev1.PodFailed
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": pod.UID}, "status": status})
	if err != nil {
		return err
	}
	_, err = client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	return ignoreGone(err)
}

func ignoreGone(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}
