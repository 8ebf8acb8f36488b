package kubeapiserver

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// followDirectly has the informers of what changes most read the watch cache,
// where others read it through the API.
func (l *loopback) followDirectly(factory informers.SharedInformerFactory) {
	for name, example := range map[string]runtime.Object{"pods": &corev1.Pod{}, "nodes": &corev1.Node{}} {
		direct := direct{loopback: l, name: corev1.Resource(name)}
		source := &cache.ListWatch{ListWithContextFunc: direct.list, WatchFuncWithContext: direct.watch}
		factory.InformerFor(example, func(_ kubernetes.Interface, resync time.Duration) cache.SharedIndexInformer {
			return cache.NewSharedIndexInformer(source, example, resync, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
		})
	}
}

// direct is the server's ListWatch once the server is there; before, it fails,
// and informers try again.
type direct struct {
	loopback *loopback
	name     schema.GroupResource
}

var errNotThere = errors.New("the server has not started yet")

func (d direct) source() (*cache.ListWatch, error) {
	server := d.loopback.server.Load()
	if server == nil {
		return nil, errNotThere
	}
	return server.ListWatch(d.name)
}

func (d direct) list(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	source, err := d.source()
	if err != nil {
		return nil, err
	}
	return source.ListWithContext(ctx, options)
}

func (d direct) watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	source, err := d.source()
	if err != nil {
		return nil, err
	}
	return source.WatchWithContext(ctx, options)
}
