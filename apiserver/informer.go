package apiserver

import (
	"context"
	"fmt"
	"strconv"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/yare-io/yare/storage/cache"
)

// ListWatch is for informers in this process that follow a stored resource of
// which much happens: they get the watch cache's own objects, with no bytes in
// between and past authorization. Who reads them must change nothing; who keeps
// them has the cache keep them decoded too, by Stored.
func (s *Server) ListWatch(name schema.GroupResource) (*toolscache.ListWatch, error) {
	res := s.set().stored[name]
	if res == nil || res.row.Codec != nil || res.row.StoredAs != nil {
		return nil, fmt.Errorf("no resource %s is stored as it is served", name)
	}
	direct := direct{res}
	return &toolscache.ListWatch{ListWithContextFunc: direct.list, WatchFuncWithContext: direct.watch}, nil
}

// direct knows no selectors and limits: informers have none.
type direct struct{ res *resource }

func (l direct) list(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	revision, err := revisionOf(options.ResourceVersion)
	if err != nil {
		return nil, err
	}
	page, err := l.res.objects().List(ctx, cache.ListOptions{Prefix: l.res.prefix, Revision: revision})
	if err != nil {
		return nil, apiError(err, l.res.row.GroupResource(), "")
	}
	list := &metav1.List{Items: make([]runtime.RawExtension, len(page.Objects))}
	list.ResourceVersion = strconv.FormatInt(page.Revision, 10)
	for i, o := range page.Objects {
		if list.Items[i].Object, err = o.Decoded(); err != nil {
			return nil, apiError(err, l.res.row.GroupResource(), "")
		}
	}
	return list, nil
}

func revisionOf(version string) (int64, error) {
	if version == "" {
		return cache.Consistent, nil
	}
	return parseVersion(version)
}

// watch goes on until it is stopped.
func (l direct) watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	after, err := revisionOf(options.ResourceVersion)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	events, err := l.res.objects().Watch(ctx, cache.WatchOptions{
		Prefix: l.res.prefix, After: after, Bookmarks: options.AllowWatchBookmarks,
		InitialEvents: options.SendInitialEvents != nil && *options.SendInitialEvents,
	})
	if err != nil {
		cancel()
		return nil, apiError(err, l.res.row.GroupResource(), "")
	}
	w := &directWatch{res: l.res, events: make(chan watch.Event), cancel: cancel}
	go w.pump(ctx, events)
	return w, nil
}

// directWatch passes the events of the cache on.
type directWatch struct {
	res    *resource
	events chan watch.Event
	cancel context.CancelFunc
}

// ResultChan implements watch.Interface.
func (w *directWatch) ResultChan() <-chan watch.Event { return w.events }

// Stop implements watch.Interface.
func (w *directWatch) Stop() { w.cancel() }

// pump ends when the watch is stopped or the cache ends it.
func (w *directWatch) pump(ctx context.Context, from *cache.Watch) {
	defer close(w.events)
	defer w.cancel()
	defer from.Close()
	for {
		batch, err := from.Next(ctx)
		if err != nil {
			status := statusOf(apiError(err, w.res.row.GroupResource(), ""))
			w.send(ctx, watch.Event{Type: watch.Error, Object: status})
			return
		}
		for i := range batch {
			event, err := w.event(&batch[i])
			if err != nil || !w.send(ctx, event) {
				return
			}
		}
	}
}

func (w *directWatch) send(ctx context.Context, event watch.Event) bool {
	select {
	case w.events <- event:
		return true
	case <-ctx.Done():
		return false
	}
}

func (w *directWatch) event(event *cache.Event) (watch.Event, error) {
	if event.Type != watch.Bookmark {
		obj, err := event.Object.Decoded()
		return watch.Event{Type: event.Type, Object: obj}, err
	}
	obj, err := bookmarkOf(w.res, event)
	return watch.Event{Type: watch.Bookmark, Object: obj}, err
}

// bookmarkOf is an object that says how far a watch has come, and nothing else.
func bookmarkOf(res *resource, event *cache.Event) (runtime.Object, error) {
	obj := res.row.New()
	accessor, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	accessor.SetResourceVersion(strconv.FormatInt(event.Revision, 10))
	if event.InitialEventsEnd {
		accessor.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	}
	return obj, nil
}
