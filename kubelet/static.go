package kubelet

import (
	"context"
	"maps"
	"slices"
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/yare-io/yare/kubelet/staticpod"
)

// runStatic reads static pods and keeps their mirrors until ctx ends. Without a directory there are none, and mirrors left
// from earlier times go.
func (s *sources) runStatic(ctx context.Context) {
	settings := &s.k.config.Settings
	var wg sync.WaitGroup
	if settings.StaticPodPath == "" {
		s.staticRead(nil)
	} else {
		watch := staticpod.Watch{
			Dir: settings.StaticPodPath, Node: s.k.config.NodeName, Period: settings.FileCheckFrequency.Duration,
			Clock: s.k.config.Clock, Logger: s.k.logger, OnRead: s.staticRead,
		}
		wg.Go(func() { watch.Run(ctx) })
	}
	if s.wait(ctx) {
		mirrors := staticpod.Mirrors{
			Client: s.k.config.Client, Clock: s.k.config.Clock, Logger: s.k.logger,
			Wanted: s.staticPods, Found: s.mirrorPods, Owner: s.k.node.Node, Wake: s.mirrorWake,
		}
		mirrors.Run(ctx)
	}
	wg.Wait()
}

func (s *sources) filesRead() bool {
	select {
	case <-s.files:
		return true
	default:
		return false
	}
}

// staticRead takes over the static pods as they are now.
func (s *sources) staticRead(pods []*v1.Pod) {
	now := make(map[types.UID]*v1.Pod, len(pods))
	for _, pod := range pods {
		now[pod.UID] = pod
	}
	s.mu.Lock()
	before := s.static
	s.static = now
	s.mu.Unlock()
	for uid := range before {
		if now[uid] == nil {
			s.k.workers.Remove(uid)
		}
	}
	for uid, pod := range now {
		if before[uid] == nil {
			s.k.workers.Update(pod)
		}
	}
	s.filesOnce.Do(func() { close(s.files) })
	s.wakeMirrors()
}

func (s *sources) staticPods() []*v1.Pod {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.static))
}

func (s *sources) mirrorPods() []*v1.Pod {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.mirrors))
}

func (s *sources) mirrorChanged(pod *v1.Pod) {
	s.mu.Lock()
	s.mirrors[pod.UID] = pod
	uid := s.shownBy(pod)
	s.mu.Unlock()
	if uid != "" {
		s.k.statuses.Changed(uid)
	}
	s.wakeMirrors()
}

func (s *sources) mirrorGone(pod *v1.Pod) {
	s.mu.Lock()
	delete(s.mirrors, pod.UID)
	s.mu.Unlock()
	s.wakeMirrors()
}

// shownBy returns the UID of the static pod that the mirror shows, or "". The caller holds mu.
func (s *sources) shownBy(mirror *v1.Pod) types.UID {
	for uid, static := range s.static {
		if static.Name == mirror.Name && static.Namespace == mirror.Namespace && staticpod.Shows(mirror, static) {
			return uid
		}
	}
	return ""
}

// runningUID returns the UID by which the runtime knows the pod: a mirror's containers are those of its static pod.
func (s *sources) runningUID(uid types.UID) types.UID {
	s.mu.Lock()
	defer s.mu.Unlock()
	if mirror := s.mirrors[uid]; mirror != nil {
		if static := s.shownBy(mirror); static != "" {
			return static
		}
	}
	return uid
}

func (s *sources) wakeMirrors() {
	select {
	case s.mirrorWake <- struct{}{}:
	default:
	}
}
