package node

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// podUse is what the graph wants to know of a pod. Informers keep what they
// follow, and whole pods take ten times as much.
type podUse struct {
	metav1.TypeMeta
	metav1.ObjectMeta
	bound boundPod
}

// DeepCopyObject implements runtime.Object. Nobody changes what a pod uses.
func (p *podUse) DeepCopyObject() runtime.Object {
	out := *p
	p.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	return &out
}

// useOf reads a pod, or the bookmark of a watch of pods.
func useOf(pod *corev1.Pod) *podUse {
	use := &podUse{bound: bind(pod)}
	use.Namespace, use.Name, use.UID, use.ResourceVersion = pod.Namespace, pod.Name, pod.UID, pod.ResourceVersion
	if end, ok := pod.Annotations[metav1.InitialEventsAnnotationKey]; ok {
		use.Annotations = map[string]string{metav1.InitialEventsAnnotationKey: end}
	}
	return use
}

// usesOf lists and watches what pods use where source does pods.
func usesOf(source *cache.ListWatch) *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			pods, err := source.ListWithContext(ctx, options)
			if err != nil {
				return nil, err
			}
			return listUses(pods)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			pods, err := source.WatchWithContext(ctx, options)
			if err != nil {
				return nil, err
			}
			return watch.Filter(pods, func(event watch.Event) (watch.Event, bool) {
				if pod, ok := event.Object.(*corev1.Pod); ok {
					event.Object = useOf(pod)
				}
				return event, true
			}), nil
		},
	}
}

func listUses(pods runtime.Object) (runtime.Object, error) {
	listed, err := meta.ListAccessor(pods)
	if err != nil {
		return nil, err
	}
	uses := &metav1.List{}
	uses.ResourceVersion, uses.Continue = listed.GetResourceVersion(), listed.GetContinue()
	err = meta.EachListItem(pods, func(obj runtime.Object) error {
		pod, ok := obj.(*corev1.Pod)
		if !ok {
			return fmt.Errorf("a %T among the pods", obj)
		}
		uses.Items = append(uses.Items, runtime.RawExtension{Object: useOf(pod)})
		return nil
	})
	return uses, err
}
