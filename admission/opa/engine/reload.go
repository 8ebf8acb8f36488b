package engine

import (
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"net/url"
	"path/filepath"
	"time"

	bundleplugin "github.com/open-policy-agent/opa/v1/plugins/bundle"
)

// fileScheme begins the resource of a bundle that is a directory or file here.
const fileScheme = "file://"

// reloadEvery is how often bundles on this machine's disk are looked at.
const reloadEvery = time.Second

// fingerprints of the bundles on disk, as they were when last loaded, by name.
type fingerprints map[string]uint64

// reload has bundles on disk loaded again when their files have changed: OPA
// itself loads them once.
func (e *Engine) reload(ctx context.Context, known fingerprints) error {
	ticker := time.NewTicker(reloadEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			e.listen()
			e.updateLayouts()
			if known.update(e.bundles()) {
				e.fetch(ctx)
			}
		}
	}
}

// updateLayouts copies what has changed in OCI layouts to where OPA reads it.
func (e *Engine) updateLayouts() {
	for _, l := range e.layouts {
		if err := l.update(); err != nil {
			e.failures.set(l.name, err)
			e.logger.Error("Policy bundle not copied; the one before stays in force", "bundle", l.name, "err", err)
		}
	}
}

// listen takes the status of bundles, also where discovery has brought the
// plugin that has them.
func (e *Engine) listen() {
	if bundles := e.bundles(); bundles != nil {
		bundles.Register(SettingsName, e.failures.note)
	}
}

// fetch asks for all bundles now; for those of services this is one
// conditional request more.
func (e *Engine) fetch(ctx context.Context) {
	if err := e.bundles().Trigger(ctx); err != nil && ctx.Err() == nil {
		e.logger.Error("Changed policy bundle not activated; the one before stays in force", "err", err)
	}
}

func (e *Engine) bundles() *bundleplugin.Plugin { return bundleplugin.Lookup(e.manager) }

// update takes new fingerprints and reports whether any has changed.
func (f fingerprints) update(bundles *bundleplugin.Plugin) bool {
	if bundles == nil {
		return false
	}
	changed := false
	for name, source := range bundles.Config().Bundles {
		location, err := url.Parse(source.Resource)
		if err != nil || location.Scheme != "file" {
			continue
		}
		now := fingerprint(location.Path)
		before, there := f[name]
		f[name] = now
		changed = changed || !there || now != before
	}
	return changed
}

// fingerprint sums up names, sizes and times of all files below a path.
func fingerprint(path string) uint64 {
	sum := fnv.New64a()
	err := filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(sum, name, info.Size(), info.ModTime().UnixNano(), info.Mode())
		return err
	})
	if err != nil {
		_, _ = io.WriteString(sum, err.Error())
	}
	return sum.Sum64()
}
