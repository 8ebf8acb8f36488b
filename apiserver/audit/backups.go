package audit

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// backups are the files of a log that were put aside: stem-time.extension, and
// behind it .gz when they are compressed.
type backups struct{ stem, extension string }

const (
	// backupTime is the form of the time in their names.
	backupTime = "2006-01-02T15-04-05.000"
	compressed = ".gz"
	// unfinished is behind the name of a file that is being compressed.
	unfinished = ".part"
)

func backupsOf(path string) backups {
	extension := filepath.Ext(path)
	return backups{strings.TrimSuffix(path, extension), extension}
}

// name is that of a file put aside now.
func (b backups) name(now time.Time) string {
	return b.stem + "-" + now.UTC().Format(backupTime) + b.extension
}

// backup is one file.
type backup struct {
	path string
	made time.Time
}

// find returns the files, the newest first.
func (b backups) find() ([]backup, error) {
	paths, err := filepath.Glob(b.stem + "-*")
	if err != nil {
		return nil, err
	}
	var found []backup
	for _, path := range paths {
		name := strings.TrimSuffix(strings.TrimPrefix(path, b.stem+"-"), compressed)
		made, err := time.Parse(backupTime, strings.TrimSuffix(name, b.extension))
		if err != nil || !strings.HasSuffix(name, b.extension) {
			continue // not one of ours
		}
		found = append(found, backup{path, made})
	}
	slices.SortFunc(found, func(x, y backup) int { return y.made.Compare(x.made) })
	return found, nil
}

// prune removes the files beyond the newest most, zero for no bound, and those
// put aside before oldest.
func (b backups) prune(most int, oldest time.Time) error {
	found, err := b.find()
	if err != nil {
		return err
	}
	for i, one := range found {
		if !one.made.Before(oldest) && (most == 0 || i < most) {
			continue
		}
		if err := os.Remove(one.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// compress makes the files gzip's that are not.
func (b backups) compress(ctx context.Context) error {
	found, err := b.find()
	if err != nil {
		return err
	}
	for _, one := range found {
		if strings.HasSuffix(one.path, compressed) {
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := compressFile(one.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// compressFile puts a compressed file in the place of one. What is not finished
// bears another name.
func compressFile(path string) (err error) {
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	part := path + compressed + unfinished
	to, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(part)
		}
	}()
	zip := gzip.NewWriter(to)
	_, err = io.Copy(zip, from)
	if err = errors.Join(err, zip.Close(), to.Close()); err != nil {
		return err
	}
	if err := os.Rename(part, path+compressed); err != nil {
		return err
	}
	return os.Remove(path)
}
