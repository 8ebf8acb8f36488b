package scheduler

import (
	"context"
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"github.com/yare-io/yare/scheduler/framework"
	"github.com/yare-io/yare/scheduler/plugins"
)

// watch fills the picture of the cluster and keeps it up to date; it returns
// when all is there. stop MUST be called.
func (s *Scheduler) watch(ctx context.Context) (stop func(), err error) {
	sources, synced, err := s.watchedSources(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.buildProfiles(sources); err != nil {
		return nil, err
	}
	var undo []func()
	stop = func() {
		for _, f := range undo {
			f()
		}
		if s.ownInformers {
			s.informers.Shutdown()
		}
	}
	handlers, err := s.handlers(sources)
	if err != nil {
		return nil, err
	}
	for _, h := range handlers {
		registration, err := h.informer.AddEventHandler(h.handler)
		if err != nil {
			stop()
			return nil, fmt.Errorf("watch: %w", err)
		}
		undo = append(undo, func() { _ = h.informer.RemoveEventHandler(registration) })
		synced = append(synced, registration.HasSynced)
	}
	s.informers.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), synced...) {
		stop()
		return nil, ctx.Err()
	}
	return stop, nil
}

type handler struct {
	informer cache.SharedIndexInformer
	handler  cache.ResourceEventHandler
}

func (s *Scheduler) handlers(sources plugins.Sources) ([]handler, error) {
	handlers := []handler{
		{s.informers.Core().V1().Nodes().Informer(), onChange(s.nodeChanged)},
		{s.informers.Core().V1().Pods().Informer(), onChange(s.podChanged)},
	}
	for resource, kind := range map[schema.GroupVersionResource]framework.Event{
		plugins.Namespaces: framework.NamespaceLabels, plugins.Claims: framework.ClaimChange, plugins.Volumes: framework.VolumeChange,
		plugins.StorageClasses: framework.StorageClassChange, plugins.CSINodes: framework.CSINodeChange,
	} {
		if !sources.Watches(resource) {
			continue
		}
		informer, err := s.informers.ForResource(resource)
		if err != nil {
			return nil, fmt.Errorf("watch %s: %w", resource, err)
		}
		handlers = append(handlers, handler{informer.Informer(), onChange(func(oldObj, newObj any) { s.queue.Changed(kind, oldObj, newObj) })})
	}
	return handlers, nil
}

// onChange turns the three kinds of notification into one; oldObj is nil for
// an addition, newObj for a deletion.
func onChange(changed func(oldObj, newObj any)) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { changed(nil, obj) },
		UpdateFunc: changed,
		DeleteFunc: func(obj any) {
			if unknown, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = unknown.Obj
			}
			changed(obj, nil)
		},
	}
}

func (s *Scheduler) nodeChanged(oldObj, newObj any) {
	old, _ := oldObj.(*v1.Node)
	node, _ := newObj.(*v1.Node)
	if node == nil {
		s.cluster.RemoveNode(old.Name)
		s.queue.Changed(framework.NodeDelete, old, nil)
		return
	}
	s.cluster.SetNode(node)
	if kind := nodeEvent(old, node); kind != 0 {
		s.queue.Changed(kind, oldObj, node)
	}
}

// nodeEvent says what about a node has changed.
func nodeEvent(old, node *v1.Node) framework.Event {
	if old == nil {
		return framework.NodeAdd
	}
	var kind framework.Event
	if !equality.Semantic.DeepEqual(old.Status.Allocatable, node.Status.Allocatable) {
		kind |= framework.NodeAllocatable
	}
	if !equality.Semantic.DeepEqual(old.Labels, node.Labels) {
		kind |= framework.NodeLabels
	}
	if !equality.Semantic.DeepEqual(old.Spec.Taints, node.Spec.Taints) {
		kind |= framework.NodeTaints
	}
	if old.Spec.Unschedulable != node.Spec.Unschedulable {
		kind |= framework.NodeUnschedulable
	}
	return kind
}

// podChanged routes a pod to the state of the cluster if it is on a node, to
// the queue if it waits for one of our profiles.
func (s *Scheduler) podChanged(oldObj, newObj any) {
	old, _ := oldObj.(*v1.Pod)
	pod, _ := newObj.(*v1.Pod)
	if old != nil && pod != nil && old.UID != pod.UID {
		s.podGone(old)
		old = nil
	}
	switch {
	case pod == nil:
		s.podGone(old)
	case framework.Terminal(pod):
		if old == nil || !framework.Terminal(old) {
			s.podGone(pod)
		}
	case pod.Spec.NodeName != "":
		s.podOnNode(old, pod)
	default:
		s.podWaits(pod)
	}
}

func (s *Scheduler) podGone(pod *v1.Pod) {
	s.queue.Delete(pod.UID)
	s.nominated.Drop(pod.UID)
	s.verdicts.drop(pod.UID)
	if pod.Spec.NodeName == "" && !s.cluster.Assumed(pod.UID) {
		return
	}
	s.cluster.RemovePod(pod.UID)
	s.podReleased(pod)
}

// podReleased wakes the pods that may use what this one held.
func (s *Scheduler) podReleased(pod *v1.Pod) {
	s.queue.Changed(framework.AssignedPodDelete, pod, nil)
}

func (s *Scheduler) podOnNode(old, pod *v1.Pod) {
	s.queue.Delete(pod.UID)
	s.nominated.Drop(pod.UID)
	if old != nil && old.Spec.NodeName != "" && sameForScheduling(old, pod) {
		return
	}
	if err := s.cluster.SetPod(pod); err != nil {
		s.log.Error("pod on node", "error", err)
	}
	kind := framework.AssignedPodUpdate
	if old == nil || old.Spec.NodeName == "" {
		kind = framework.AssignedPodAdd
		s.verdicts.drop(pod.UID)
	}
	s.queue.Changed(kind, old, pod)
}

// sameForScheduling reports whether nothing changed that counts for others on
// the node: most updates of a running pod are of its status.
func sameForScheduling(old, pod *v1.Pod) bool {
	return old.Generation == pod.Generation && old.Generation != 0 &&
		equality.Semantic.DeepEqual(old.Labels, pod.Labels) &&
		equality.Semantic.DeepEqual(old.Status.ContainerStatuses, pod.Status.ContainerStatuses) &&
		old.Status.Phase == pod.Status.Phase && (old.DeletionTimestamp == nil) == (pod.DeletionTimestamp == nil)
}

func (s *Scheduler) podWaits(pod *v1.Pod) {
	if s.profiles[pod.Spec.SchedulerName] == nil || s.cluster.Assumed(pod.UID) {
		return
	}
	info, err := framework.NewPodInfo(pod)
	if err != nil {
		s.log.Error("pod is not scheduled", "pod", info.Key(), "error", err)
		return
	}
	s.nominated.Set(info, pod.Status.NominatedNodeName)
	s.queue.Add(info)
}

// dropManagedFields keeps out of memory what the scheduler never looks at.
func dropManagedFields(obj any) (any, error) {
	if accessor, err := meta.Accessor(obj); err == nil {
		accessor.SetManagedFields(nil)
	}
	return obj, nil
}
