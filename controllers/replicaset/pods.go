package replicaset

import (
	"context"
	"fmt"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/yare-io/yare/controllers/worker"
)

// firstBatch is how many pods are created before it is known whether the API
// takes them; each batch that succeeds doubles the next.
const firstBatch = 1

func newPod(set *appsv1.ReplicaSet) *corev1.Pod {
	template := set.Spec.Template.DeepCopy()
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName:    set.Name + "-",
			Namespace:       set.Namespace,
			Labels:          template.Labels,
			Annotations:     template.Annotations,
			Finalizers:      template.Finalizers,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(set, Kind)},
		},
		Spec: template.Spec,
	}
}

// createPods creates count pods in growing batches and stops after the first
// batch with a failure, so that a pod the API refuses is not sent 500 times.
func (c *controller) createPods(ctx context.Context, set *appsv1.ReplicaSet, count int) error {
	key := worker.KeyOf(set)
	c.expected.ExpectCreations(key, count)
	done := 0
	for batch := min(count, firstBatch); batch > 0; batch = min(2*batch, count-done) {
		errs := inParallel(batch, func(int) error { return c.createPod(ctx, set) })
		done += batch
		for range errs {
			c.expected.Created(key)
		}
		if len(errs) > 0 {
			for range count - done {
				c.expected.Created(key)
			}
			return errs[0]
		}
	}
	return nil
}

func (c *controller) createPod(ctx context.Context, set *appsv1.ReplicaSet) error {
	pod, err := c.env.Client.CoreV1().Pods(set.Namespace).Create(ctx, newPod(set), metav1.CreateOptions{})
	if err != nil {
		if !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
			c.env.Events.Eventf(set, corev1.EventTypeWarning, "FailedCreate", "Error creating: %v", err)
		}
		return err
	}
	c.env.Events.Eventf(set, corev1.EventTypeNormal, "SuccessfulCreate", "Created pod: %v", pod.Name)
	return nil
}

func (c *controller) deletePods(ctx context.Context, set *appsv1.ReplicaSet, doomed []*corev1.Pod) error {
	key := worker.KeyOf(set)
	uids := make([]types.UID, len(doomed))
	for i, pod := range doomed {
		uids[i] = pod.UID
	}
	c.expected.ExpectDeletions(key, uids)
	errs := inParallel(len(doomed), func(i int) error {
		err := c.deletePod(ctx, set, doomed[i])
		if err != nil {
			c.expected.Deleted(key, doomed[i].UID)
		}
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
	if len(errs) > 0 {
		return errs[0]
	}
	return nil
}

func (c *controller) deletePod(ctx context.Context, set *appsv1.ReplicaSet, pod *corev1.Pod) error {
	options := metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(pod.UID))}
	err := c.env.Client.CoreV1().Pods(set.Namespace).Delete(ctx, pod.Name, options)
	switch {
	case apierrors.IsNotFound(err):
		return err
	case err != nil:
		c.env.Events.Eventf(set, corev1.EventTypeWarning, "FailedDelete", "Error deleting: %v", err)
		return fmt.Errorf("unable to delete pods: %w", err)
	}
	c.env.Events.Eventf(set, corev1.EventTypeNormal, "SuccessfulDelete", "Deleted pod: %v", pod.Name)
	return nil
}

// inParallel calls do for 0..n-1 at once and returns the errors.
func inParallel(n int, do func(i int) error) []error {
	var group sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for i := range n {
		group.Go(func() {
			if err := do(i); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	group.Wait()
	return errs
}
