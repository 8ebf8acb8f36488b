package kubeapiserver

import (
	"context"
	"errors"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// followDirectly has the informer of a resource that changes much read the watch
// cache, where others read it through the API.
func (l *loopback) followDirectly(factory informers.SharedInformerFactory, name schema.GroupResource, example runtime.Object) {
	source := direct{loopback: l, name: name, keep: true}.listWatch()
	factory.InformerFor(example, func(_ kubernetes.Interface, resync time.Duration) cache.SharedIndexInformer {
		return cache.NewSharedIndexInformer(source, example, resync, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	})
}

// direct is the server's ListWatch once the server is there; before, it fails,
// and informers try again.
type direct struct {
	loopback *loopback
	name     schema.GroupResource
	// keep: what is listed and watched is kept.
	keep bool
}

func (d direct) listWatch() *cache.ListWatch {
	return &cache.ListWatch{ListWithContextFunc: d.list, WatchFuncWithContext: d.watch}
}

var errNotThere = errors.New("the server has not started yet")

func (d direct) source() (*cache.ListWatch, error) {
	server := d.loopback.server.Load()
	if server == nil {
		return nil, errNotThere
	}
	if d.keep {
		server.Stored(d.name).KeepDecoded()
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
