// Package logs keeps container logs from filling the disk: it rotates files that have grown, compresses old ones and
// removes the oldest. It refuses to know what is in them.
package logs

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/kubelet/cri"
)

const (
	stampFormat = "20060102-150405"
	gzSuffix    = ".gz"
	tmpSuffix   = ".tmp"
)

// Rotator rotates the logs of running containers.
type Rotator struct {
	CRI      *cri.Client
	Clock    clock.Clock
	Logger   *slog.Logger
	Dir      string // the directory of all pods' logs
	MaxSize  int64  // bytes
	MaxFiles int    // of one container, the one being written included
	Period   time.Duration
}

// Run rotates until ctx ends.
func (r *Rotator) Run(ctx context.Context) {
	for {
		if err := r.Rotate(ctx); err != nil && ctx.Err() == nil {
			r.Logger.Warn("container logs could not be rotated", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-r.Clock.After(r.Period):
		}
	}
}

// Rotate looks at every running container once.
func (r *Rotator) Rotate(ctx context.Context) error {
	containers, err := r.CRI.ListContainers(ctx, nil)
	if err != nil {
		return err
	}
	var failed []error
	for _, c := range containers {
		if c.State != runtimeapi.ContainerState_CONTAINER_RUNNING || c.Labels[cri.LabelPodUID] == "" {
			continue
		}
		path := r.path(c)
		info, err := os.Stat(path)
		if err != nil || info.Size() < r.MaxSize {
			continue
		}
		if err := r.rotate(ctx, c.Id, path); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", path, err))
		}
	}
	return errors.Join(failed...)
}

func (r *Rotator) path(c *runtimeapi.Container) string {
	pod := strings.Join([]string{c.Labels[cri.LabelPodNamespace], c.Labels[cri.LabelPodName], c.Labels[cri.LabelPodUID]}, "_")
	return filepath.Join(r.Dir, pod, c.Metadata.GetName(), strconv.Itoa(int(c.Metadata.GetAttempt()))+".log")
}

// rotate makes room, compresses what was rotated before, and has the runtime begin a new file.
func (r *Rotator) rotate(ctx context.Context, id, path string) error {
	old, err := rotated(path)
	if err != nil {
		return err
	}
	for len(old) > max(r.MaxFiles-2, 0) { // one is being written, one is about to be rotated
		if err := os.Remove(old[0]); err != nil {
			return err
		}
		old = old[1:]
	}
	for _, name := range old {
		if err := compress(name); err != nil {
			return err
		}
	}
	name := path + "." + r.Clock.Now().UTC().Format(stampFormat)
	if err := os.Rename(path, name); err != nil {
		return err
	}
	if err := r.CRI.ReopenLog(ctx, id); err != nil {
		return errors.Join(fmt.Errorf("reopen: %w", err), os.Rename(name, path))
	}
	return nil
}

// rotated returns the files that were rotated from path, oldest first; leftovers of interrupted compressions are removed.
func rotated(path string) ([]string, error) {
	all, err := filepath.Glob(path + ".*")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, name := range all {
		if strings.HasSuffix(name, tmpSuffix) {
			if err := os.Remove(name); err != nil {
				return nil, err
			}
			continue
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

func compress(name string) (err error) {
	if strings.HasSuffix(name, gzSuffix) {
		return nil
	}
	source, err := os.Open(name)
	if err != nil {
		return err
	}
	defer source.Close()
	temporary := name + tmpSuffix
	target, err := os.OpenFile(temporary, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	writer := gzip.NewWriter(target)
	_, err = io.Copy(writer, source)
	if err = errors.Join(err, writer.Close(), target.Close()); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	if err := os.Rename(temporary, name+gzSuffix); err != nil {
		return err
	}
	return os.Remove(name)
}
