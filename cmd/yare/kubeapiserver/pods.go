package kubeapiserver

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/cache"
)

// podLister reads pods where the server keeps them, for those who look at few: an
// informer would keep all of them decoded, which takes several times the room.
type podLister struct{ loopback *loopback }

var _ corelisters.PodLister = podLister{}

// List implements corelisters.PodLister.
func (l podLister) List(selector labels.Selector) ([]*corev1.Pod, error) {
	return l.Pods("").List(selector)
}

// Pods implements corelisters.PodLister.
func (l podLister) Pods(namespace string) corelisters.PodNamespaceLister {
	folder := podPrefix
	if namespace != "" {
		folder += namespace + "/"
	}
	return podsIn{l.loopback, folder}
}

const podPrefix = "/registry/pods/"

// podWait is how long a lister waits for pods that are still being loaded.
const podWait = 5 * time.Second

// podsIn reads the pods of a namespace, or of all.
type podsIn struct {
	loopback *loopback
	folder   string
}

func (p podsIn) stored() (*cache.Resource, error) {
	server := p.loopback.server.Load()
	if server == nil {
		return nil, errNotThere
	}
	return server.Stored(corev1.Resource("pods")), nil
}

// List implements corelisters.PodNamespaceLister.
func (p podsIn) List(selector labels.Selector) ([]*corev1.Pod, error) {
	stored, err := p.stored()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), podWait)
	defer cancel()
	page, err := stored.List(ctx, cache.ListOptions{Prefix: p.folder, Predicate: cache.Predicate{Labels: selector}})
	if err != nil {
		return nil, err
	}
	pods := make([]*corev1.Pod, len(page.Objects))
	for i, object := range page.Objects {
		if pods[i], err = podOf(object); err != nil {
			return nil, err
		}
	}
	return pods, nil
}

// Get implements corelisters.PodNamespaceLister.
func (p podsIn) Get(name string) (*corev1.Pod, error) {
	stored, err := p.stored()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), podWait)
	defer cancel()
	object, err := stored.Get(ctx, p.folder+name, 0)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, apierrors.NewNotFound(corev1.Resource("pods"), name)
	}
	if err != nil {
		return nil, err
	}
	return podOf(object)
}

func podOf(object *cache.Object) (*corev1.Pod, error) {
	obj, err := object.Decoded()
	if err != nil {
		return nil, err
	}
	return obj.(*corev1.Pod), nil
}
