package kubelet

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"

	"github.com/yare-io/yare/kubelet/images"
	"github.com/yare-io/yare/kubelet/logs"
)

const (
	sweepPeriod   = time.Minute
	collectPeriod = 5 * time.Minute
)

func (k *Kubelet) rotator() *logs.Rotator {
	s := &k.config.Settings
	size := resource.MustParse(s.ContainerLogMaxSize) // checked by Validate
	return &logs.Rotator{
		CRI: k.cri, Clock: k.config.Clock, Logger: k.logger, Dir: s.PodLogsDir,
		MaxSize: size.Value(), MaxFiles: int(*s.ContainerLogMaxFiles), Period: s.ContainerLogMonitorInterval.Duration,
	}
}

func (k *Kubelet) collector() *images.Collector {
	s := &k.config.Settings
	return &images.Collector{
		CRI: k.cri, Clock: k.config.Clock, Logger: k.logger,
		High: int(*s.ImageGCHighThresholdPercent), Low: int(*s.ImageGCLowThresholdPercent),
		MinAge: s.ImageMinimumGCAge.Duration, Period: collectPeriod, Keep: k.config.KeepImages,
		OnFailure: func(err error) { k.event(v1.EventTypeWarning, "ImageGCFailed", err.Error()) },
	}
}

// Clean removes the control groups above the pods, if no pod is left in them. Call it after Run, and only if no kubelet is to
// come after this one.
func (k *Kubelet) Clean() error {
	if k.cgroups == nil {
		return nil
	}
	return k.cgroups.Close()
}

// event records an event about the node itself.
func (k *Kubelet) event(kind, reason, message string) {
	k.recorder.Event(&v1.ObjectReference{
		Kind: "Node", APIVersion: "v1", Name: k.config.NodeName, UID: types.UID(k.config.NodeName),
	}, kind, reason, message)
}

// sweep removes, now and then, what pods left that are gone: directories, control groups and logs.
func (k *Kubelet) sweep(ctx context.Context) {
	for {
		running, err := k.runningPods(ctx)
		if err == nil {
			k.sweepOnce(running)
		}
		select {
		case <-ctx.Done():
			return
		case <-k.config.Clock.After(sweepPeriod):
		}
	}
}

// runningPods returns the pods of which the runtime has anything.
func (k *Kubelet) runningPods(ctx context.Context) (map[types.UID]bool, error) {
	uids := map[types.UID]bool{}
	sandboxes, err := k.cri.ListSandboxes(ctx, nil)
	if err != nil {
		return nil, err
	}
	for _, s := range sandboxes {
		uids[types.UID(s.Metadata.GetUid())] = true
	}
	return uids, nil
}

func (k *Kubelet) sweepOnce(running map[types.UID]bool) {
	left := func(uid types.UID) bool {
		return uid != "" && !running[uid] && !k.sources.knows(uid) && !k.workers.Known(uid)
	}
	for _, name := range names(k.podsDir()) {
		if uid := types.UID(name); left(uid) {
			k.swept("directory", uid, k.volumes.Remove(uid))
		}
	}
	if k.cgroups != nil {
		for _, uid := range k.cgroups.Pods() {
			if left(uid) {
				k.swept("cgroup", uid, k.cgroups.Remove(uid))
			}
		}
	}
	for _, name := range names(k.config.Settings.PodLogsDir) {
		if uid := types.UID(name[strings.LastIndexByte(name, '_')+1:]); strings.Count(name, "_") == 2 && left(uid) {
			k.swept("logs", uid, os.RemoveAll(filepath.Join(k.config.Settings.PodLogsDir, name)))
		}
	}
	k.sweepLinks()
}

func (k *Kubelet) swept(what string, uid types.UID, err error) {
	if err != nil {
		k.logger.Warn("what a pod left could not be removed", "what", what, "uid", uid, "error", err)
		return
	}
	k.logger.Info("what a pod left was removed", "what", what, "uid", uid)
}

// sweepLinks removes links to logs that are gone.
func (k *Kubelet) sweepLinks() {
	if k.config.ContainerLogsDir == "" {
		return
	}
	for _, name := range names(k.config.ContainerLogsDir) {
		link := filepath.Join(k.config.ContainerLogsDir, name)
		target, err := os.Readlink(link)
		if err != nil || !strings.HasPrefix(target, k.config.Settings.PodLogsDir) {
			continue
		}
		if _, err := os.Stat(target); os.IsNotExist(err) {
			os.Remove(link)
		}
	}
}

func names(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	list := make([]string, 0, len(entries))
	for _, entry := range entries {
		list = append(list, entry.Name())
	}
	return list
}
