package apiserver

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/apiserver/codec"
	"github.com/yare-io/yare/apiserver/table"
	"github.com/yare-io/yare/storage/cache"
)

func (s *Server) handleWatch(w http.ResponseWriter, r *http.Request, c *call) error {
	offer := streams(c.res.offer)
	if isSocket(r) {
		offer = socketOffer(offer)
	}
	a, err := s.negotiate(r, c, offer)
	if err != nil {
		return err
	}
	sel, err := selectionOf(c)
	if err != nil {
		return err
	}
	ctx, cancel := s.watchContext(r.Context(), sel)
	defer cancel()
	events, err := c.res.objects().Watch(ctx, sel.watchOptions(c.res.folder(c.namespace)))
	expired := errors.Is(err, cache.ErrExpired)
	if err != nil && !expired {
		return err
	}
	if !expired {
		defer events.Close()
	}
	if isSocket(r) {
		k, err := s.upgrade(w, r, cancel)
		if err != nil {
			return nil
		}
		defer k.close()
		w = k
	}
	stream := &stream{answer: a, res: c.res, clock: s.clock, w: w, control: http.NewResponseController(w)}
	stream.watchdog = newWatchdog(stream.control, s.config.Timeouts.Write)
	defer stream.watchdog.stop()
	if expired {
		// An expired watch is told so within the stream, as watches of long
		// standing are.
		stream.begin()
		stream.fail(apiError(cache.ErrExpired, c.res.row.GroupResource(), ""))
		return nil
	}
	gauge := s.metrics.watching(c.res.row)
	gauge.Inc()
	defer gauge.Dec()
	defer s.watches.add(c.info)()
	if sel.SendInitialEvents == nil || !*sel.SendInitialEvents {
		leaveFlow(r.Context())
	} else {
		stream.begun = func() { leaveFlow(r.Context()) }
	}
	stream.begin()
	stream.run(ctx, events)
	return nil
}

// streams leaves out what cannot be framed.
func streams(offer codec.Offer) codec.Offer {
	kept := codec.Offer{As: offer.As}
	for _, f := range offer.Formats {
		if f != codec.YAML {
			kept.Formats = append(kept.Formats, f)
		}
	}
	return kept
}

// watchContext ends with the request, after the time that the client or else
// the server sets, and when the server stops.
func (s *Server) watchContext(ctx context.Context, sel *selection) (context.Context, context.CancelFunc) {
	limit := s.config.Timeouts.MinWatch + rand.N(s.config.Timeouts.MinWatch)
	if sel.TimeoutSeconds != nil && *sel.TimeoutSeconds > 0 {
		limit = time.Duration(*sel.TimeoutSeconds) * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	release := context.AfterFunc(s.stopping, cancel)
	return ctx, func() { release(); cancel() }
}

// watchOptions says where a watch begins. Without a resourceVersion, or at
// "0", it begins with the current objects.
func (sel *selection) watchOptions(folder string) cache.WatchOptions {
	options := cache.WatchOptions{Prefix: folder, Predicate: sel.predicate, Bookmarks: sel.AllowWatchBookmarks, After: sel.revision}
	if sel.ResourceVersion == "" {
		options.After = cache.Consistent
	}
	if sel.SendInitialEvents != nil {
		options.InitialEvents = *sel.SendInitialEvents
	} else {
		options.InitialEvents = sel.revision == 0
	}
	return options
}

// stream writes watch events to one client.
type stream struct {
	answer
	res     *resource
	clock   clock.PassiveClock
	w       http.ResponseWriter
	control *http.ResponseController
	// headed: the column definitions of a table have been sent.
	headed   bool
	watchdog *watchdog
	// keys are those of frameKey.
	keys map[watch.EventType]string
	// begun is called once the first batch is out; it may be nil.
	begun func()
}

// begin sends the headers, so that the client knows that the watch is on.
func (t *stream) begin() {
	t.w.Header().Set("Content-Type", t.out.Format.StreamType())
	t.w.Header().Set("Cache-Control", "no-cache, private")
	t.w.WriteHeader(http.StatusOK)
	_ = t.control.Flush()
}

// run sends events until the watch or the client ends.
func (t *stream) run(ctx context.Context, events *cache.Watch) {
	for {
		batch, err := events.Next(ctx)
		if err != nil {
			if ctx.Err() == nil {
				t.fail(apiError(err, t.res.row.GroupResource(), ""))
			}
			return
		}
		if !t.deliver(ctx, batch) {
			return
		}
		if t.begun != nil {
			t.begun()
			t.begun = nil
		}
	}
}

// deliver writes a batch and flushes it; false when the client is gone.
func (t *stream) deliver(ctx context.Context, batch []cache.Event) bool {
	defer t.watchdog.guard()()
	if len(batch) == 1 {
		frame, err := t.frame(ctx, &batch[0])
		if err != nil {
			t.fail(err)
			return false
		}
		if _, err := t.w.Write(frame); err != nil {
			return false
		}
		return t.control.Flush() == nil
	}
	chunks := codec.NewChunks(t.w)
	for i := range batch {
		if err := t.add(ctx, chunks, &batch[i]); err != nil {
			_, _ = chunks.Close()
			t.fail(err)
			return false
		}
	}
	if _, err := chunks.Close(); err != nil {
		return false
	}
	return t.control.Flush() == nil
}

// add adds an event to those that are sent together. Of objects that were there
// before the watch, the frames are not kept: only the objects are.
func (t *stream) add(ctx context.Context, chunks *codec.Chunks, event *cache.Event) error {
	if event.Initial && t.out.As == "" {
		found, err := t.res.presentOne(ctx, event.Object)
		if err != nil {
			return err
		}
		bare, err := found.Encoded(t.out.Format.Bare())
		if err != nil {
			return err
		}
		return chunks.AddFrame(t.out.Format, string(event.Type), t.kind, bare)
	}
	frame, err := t.frame(ctx, event)
	if err == nil {
		chunks.Add(frame)
	}
	return err
}

// frame returns an event's bytes. All streams of the same form share them,
// except for the first table of each, which alone has column definitions.
func (t *stream) frame(ctx context.Context, event *cache.Event) ([]byte, error) {
	if event.Type == watch.Bookmark {
		return t.bookmark(event)
	}
	if t.out.As == "Table" && !t.headed {
		t.headed = true
		return t.build(ctx, event, true)
	}
	return event.Frame(t.frameKey(event.Type), func() ([]byte, error) { return t.build(ctx, event, false) })
}

// frameKey names the form of an event in the stream.
func (t *stream) frameKey(event watch.EventType) string {
	if key := t.keys[event]; key != "" {
		return key
	}
	key := "frame " + string(event) + " " + t.out.Format.MediaType()
	if t.res.row.Codec != nil {
		// Versions of a kind may share what they watch.
		key += "/" + t.kind.Version
	}
	if t.out.As != "" {
		key += "/" + t.out.As + "/" + t.out.AsVersion + "/" + string(t.tables.Include)
	}
	if t.keys == nil {
		t.keys = make(map[watch.EventType]string, 3)
	}
	t.keys[event] = key
	return key
}

func (t *stream) build(ctx context.Context, event *cache.Event, header bool) ([]byte, error) {
	found, err := t.res.presentOne(ctx, event.Object)
	if err != nil {
		return nil, err
	}
	body, err := t.object(found, header)
	if err != nil {
		return nil, err
	}
	return codec.Frame(t.out.Format, string(event.Type), body), nil
}

func (t *stream) object(from encodable, header bool) ([]byte, error) {
	switch t.out.As {
	case "Table":
		t.tables.Now = t.clock.Now()
		source, err := t.source(from)
		if err != nil {
			return nil, err
		}
		return t.tables.Make(listMetaOf(source.Object), []table.Source{source}, header)
	case "PartialObjectMetadata", "PartialObjectMetadataList":
		return t.wrap(from, t.out.Format.Metadata(), t.partialKind())
	default:
		return t.wrap(from, t.out.Format.Bare(), t.kind)
	}
}

func (t *stream) partialKind() schema.GroupVersionKind {
	kind := t.out.AsKind()
	kind.Kind = "PartialObjectMetadata"
	return kind
}

// bookmark tells how far the watch has come, in an object that has nothing
// else.
func (t *stream) bookmark(event *cache.Event) ([]byte, error) {
	obj, err := bookmarkOf(t.res, event)
	if err != nil {
		return nil, err
	}
	body, err := t.object(fresh{obj}, !t.headed)
	if err != nil {
		return nil, err
	}
	t.headed = true
	return codec.Frame(t.out.Format, string(watch.Bookmark), body), nil
}

// fail ends the stream with an ERROR event.
func (t *stream) fail(err error) {
	body, err := renderStatus(codec.Output{Format: t.out.Format}, statusOf(err))
	if err != nil {
		return
	}
	defer t.watchdog.guard()()
	_, _ = t.w.Write(codec.Frame(t.out.Format, string(watch.Error), body))
	_ = t.control.Flush()
}
