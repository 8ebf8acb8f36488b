package staticpod

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"
)

// IsMirror says whether the API object stands for a static pod.
func IsMirror(pod *v1.Pod) bool {
	_, ok := pod.Annotations[MirrorAnnotation]
	return ok
}

// Shows says whether the mirror shows this very static pod.
func Shows(mirror, static *v1.Pod) bool {
	return mirror.Annotations[MirrorAnnotation] == static.Annotations[HashAnnotation]
}

// Mirrors keeps one mirror for each static pod.
type Mirrors struct {
	Client kubernetes.Interface
	Clock  clock.Clock
	Logger *slog.Logger
	// Wanted returns the static pods, and Found the mirrors that the API server has.
	Wanted, Found func() []*v1.Pod
	// Owner returns the Node, which owns the mirrors; nil as long as it is not registered.
	Owner func() *v1.Node
	// Wake tells that either may have changed.
	Wake <-chan struct{}
}

const retryPeriod = 10 * time.Second

// Run keeps mirrors until ctx ends.
func (m *Mirrors) Run(ctx context.Context) {
	for {
		if err := m.sync(ctx); err != nil && ctx.Err() == nil {
			m.Logger.Warn("mirror pods could not be brought up to date", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-m.Wake:
		case <-m.Clock.After(retryPeriod):
		}
	}
}

func (m *Mirrors) sync(ctx context.Context) error {
	wanted := map[string]*v1.Pod{}
	for _, pod := range m.Wanted() {
		wanted[pod.Namespace+"/"+pod.Name] = pod
	}
	var failed []error
	for _, mirror := range m.Found() {
		name := mirror.Namespace + "/" + mirror.Name
		static := wanted[name]
		if static != nil && Shows(mirror, static) && mirror.DeletionTimestamp == nil {
			delete(wanted, name)
			continue
		}
		if err := m.remove(ctx, mirror); err != nil {
			failed = append(failed, fmt.Errorf("delete %s: %w", name, err))
		}
	}
	for name, static := range wanted {
		if err := m.create(ctx, static); err != nil {
			failed = append(failed, fmt.Errorf("create %s: %w", name, err))
		}
	}
	return errors.Join(failed...)
}

func (m *Mirrors) remove(ctx context.Context, mirror *v1.Pod) error {
	err := m.Client.CoreV1().Pods(mirror.Namespace).Delete(ctx, mirror.Name, metav1.DeleteOptions{
		GracePeriodSeconds: new(int64(0)), Preconditions: &metav1.Preconditions{UID: &mirror.UID},
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

func (m *Mirrors) create(ctx context.Context, static *v1.Pod) error {
	owner := m.Owner()
	if owner == nil {
		return nil
	}
	mirror := static.DeepCopy()
	mirror.UID = ""
	mirror.Annotations = maps.Clone(static.Annotations)
	mirror.Annotations[MirrorAnnotation] = static.Annotations[HashAnnotation]
	mirror.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: "v1", Kind: "Node", Name: owner.Name, UID: owner.UID, Controller: new(true),
	}}
	_, err := m.Client.CoreV1().Pods(mirror.Namespace).Create(ctx, mirror, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil // it will be seen, and replaced if it is not ours
	}
	return err
}
