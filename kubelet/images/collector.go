package images

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/kubelet/cri"
)

// Collector removes images that no container uses when their disk fills up, those unused longest first.
type Collector struct {
	CRI    *cri.Client
	Clock  clock.Clock
	Logger *slog.Logger
	// High and Low are percentages of the disk: above High images go until Low is reached. High 100 turns it off.
	High, Low int
	// MinAge spares images that were found only recently.
	MinAge time.Duration
	Period time.Duration
	// Keep are names of images that never go.
	Keep []string
	// OnFailure is told when the disk stays too full. It may be nil.
	OnFailure func(err error)
	// Usage measures the file system at a path; the kernel's figures if nil.
	Usage func(path string) (used, all uint64, err error)

	mu   sync.Mutex         // one look at a time
	seen map[string]*record // by image id
}

type record struct{ found, used time.Time }

// Run collects until ctx ends.
func (c *Collector) Run(ctx context.Context) {
	for {
		if err := c.Collect(ctx); err != nil && ctx.Err() == nil {
			c.Logger.Warn("unused images could not be removed", "error", err)
			if c.OnFailure != nil {
				c.OnFailure(err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-c.Clock.After(c.Period):
		}
	}
}

// Collect looks once, and removes images if the disk is too full.
func (c *Collector) Collect(ctx context.Context) error {
	if c.High >= 100 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	candidates, err := c.unused(ctx)
	if err != nil {
		return err
	}
	disk, err := c.CRI.ImageFilesystem(ctx)
	if err != nil || disk == nil {
		return err
	}
	measure := c.Usage
	if measure == nil {
		measure = usage
	}
	used, all, err := measure(disk.GetFsId().GetMountpoint())
	if err != nil || all == 0 {
		return err
	}
	if used*100/all < uint64(c.High) {
		return nil
	}
	wanted := int64(used) - int64(all)*int64(c.Low)/100
	freed, err := c.remove(ctx, candidates, wanted)
	if err != nil {
		return err
	}
	if freed < wanted {
		return fmt.Errorf("failed to garbage collect required amount of images. Attempted to free %d bytes, but only found %d bytes eligible to free", wanted, freed)
	}
	return nil
}

// RemoveUnused removes every image that may go, however full the disk is.
func (c *Collector) RemoveUnused(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	candidates, err := c.unused(ctx)
	if err != nil {
		return err
	}
	_, err = c.remove(ctx, candidates, math.MaxInt64)
	return err
}

func usage(path string) (used, all uint64, err error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return 0, 0, err
	}
	return (fs.Blocks - fs.Bavail) * uint64(fs.Bsize), fs.Blocks * uint64(fs.Bsize), nil
}

// unused notes which images there are and which are in use, and returns those that may go, unused longest first.
func (c *Collector) unused(ctx context.Context) ([]*runtimeapi.Image, error) {
	images, err := c.CRI.ListImages(ctx)
	if err != nil {
		return nil, err
	}
	containers, err := c.CRI.ListContainers(ctx, nil)
	if err != nil {
		return nil, err
	}
	inUse := map[string]bool{}
	for _, container := range containers {
		inUse[container.ImageRef], inUse[container.ImageId], inUse[container.Image.GetImage()] = true, true, true
	}
	now, seen := c.Clock.Now(), map[string]*record{}
	var free []*runtimeapi.Image
	for _, image := range images {
		r := c.seen[image.Id]
		if r == nil {
			r = &record{found: now, used: now}
		}
		seen[image.Id] = r
		if inUse[image.Id] {
			r.used = now
			continue
		}
		if !image.Pinned && !c.kept(image) && now.Sub(r.found) >= c.MinAge {
			free = append(free, image)
		}
	}
	c.seen = seen
	slices.SortFunc(free, func(a, b *runtimeapi.Image) int {
		return cmp.Or(seen[a.Id].used.Compare(seen[b.Id].used), seen[a.Id].found.Compare(seen[b.Id].found))
	})
	return free, nil
}

func (c *Collector) kept(image *runtimeapi.Image) bool {
	return slices.ContainsFunc(c.Keep, func(name string) bool {
		return name == image.Id || slices.Contains(image.RepoTags, name) || slices.Contains(image.RepoDigests, name)
	})
}

func (c *Collector) remove(ctx context.Context, images []*runtimeapi.Image, wanted int64) (freed int64, err error) {
	for _, image := range images {
		if freed >= wanted {
			break
		}
		if err := c.CRI.RemoveImage(ctx, image.Id); err != nil {
			return freed, fmt.Errorf("remove image %s: %w", image.Id, err)
		}
		c.Logger.Info("an unused image was removed", "image", image.Id, "bytes", image.Size)
		freed += int64(image.Size)
	}
	return freed, nil
}
