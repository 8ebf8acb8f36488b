package hollow

import (
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// eventQueue is how many events a watcher may be behind before it is cut off.
const eventQueue = 1024

// watcher is one client of GetContainerEvents.
type watcher struct {
	queue chan *runtimeapi.ContainerEventResponse
	// ended is closed when the runtime has cut the watcher off; err says why.
	ended chan struct{}
	err   error
}

// GetContainerEvents implements RuntimeServiceServer. A client that is too slow
// is cut off and has to list.
func (r *Runtime) GetContainerEvents(_ *runtimeapi.GetEventsRequest, stream grpc.ServerStreamingServer[runtimeapi.ContainerEventResponse]) error {
	w := &watcher{queue: make(chan *runtimeapi.ContainerEventResponse, eventQueue), ended: make(chan struct{})}
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return status.Error(codes.Unavailable, "the runtime is closed")
	}
	r.watchers[w] = true
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.watchers, w)
	}()
	for {
		select {
		case event := <-w.queue:
			if err := stream.Send(event); err != nil {
				return err
			}
		case <-w.ended:
			return w.err
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

// notify tells all watchers what happened to a container or a sandbox.
func (r *Runtime) notify(id string, s *sandbox, kind runtimeapi.ContainerEventType) {
	if len(r.watchers) == 0 {
		return
	}
	event := &runtimeapi.ContainerEventResponse{
		ContainerId: id, ContainerEventType: kind, CreatedAt: r.now(),
		PodSandboxStatus: s.status(), ContainersStatuses: s.containerStatuses(),
	}
	for w := range r.watchers {
		select {
		case w.queue <- event:
		default:
			r.drop(w, status.Errorf(codes.ResourceExhausted, "more than %d events behind", eventQueue))
		}
	}
}

// drop ends a watch.
func (r *Runtime) drop(w *watcher, why error) {
	delete(r.watchers, w)
	w.err = why
	close(w.ended)
}
