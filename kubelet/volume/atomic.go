package volume

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	dataLink    = "..data"     // points to the directory that holds the current files
	newDataLink = "..data_tmp" // becomes dataLink by a rename
	maxPath     = 4096
)

// Write makes the files of dir exactly those given, all at once for whoever reads them through dir: they are written
// to a new directory, and one rename of a link puts it in place. Nothing is touched if nothing differs. Paths are
// relative, stay inside dir and do not begin with "..". With a group the files belong to it and it may read them.
func Write(dir string, files map[string]File, group *int64) error {
	clean, err := validate(files)
	if err != nil {
		return err
	}
	old, err := os.Readlink(filepath.Join(dir, dataLink))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if old != "" && same(filepath.Join(dir, old), clean, group) {
		return linkNames(dir, clean)
	}
	fresh, err := os.MkdirTemp(dir, "..data-")
	if err != nil {
		return err
	}
	if err := fill(fresh, clean, group); err != nil {
		return errors.Join(err, os.RemoveAll(fresh))
	}
	if err := swap(dir, filepath.Base(fresh)); err != nil {
		return errors.Join(err, os.RemoveAll(fresh))
	}
	if err := linkNames(dir, clean); err != nil {
		return err
	}
	return prune(dir, filepath.Base(fresh), clean)
}

// validate returns the files by cleaned path, or an error if a path could leave the directory or clash with its links.
func validate(files map[string]File) (map[string]File, error) {
	clean := make(map[string]File, len(files))
	for name, file := range files {
		path := filepath.Clean(name)
		if name == "" || len(name) > maxPath || !filepath.IsLocal(name) || path == "." {
			return nil, fmt.Errorf("invalid path %q: must be relative and stay inside the volume", name)
		}
		if strings.HasPrefix(path, "..") || strings.ContainsRune(path, 0) {
			return nil, fmt.Errorf("invalid path %q: must not start with '..'", name)
		}
		for _, part := range strings.Split(path, "/") {
			if len(part) > 255 {
				return nil, fmt.Errorf("invalid path %q: a part of it is too long", name)
			}
		}
		clean[path] = file
	}
	for path := range clean {
		for parent := filepath.Dir(path); parent != "."; parent = filepath.Dir(parent) {
			if _, ok := clean[parent]; ok {
				return nil, fmt.Errorf("invalid path %q: %q is a file", path, parent)
			}
		}
	}
	return clean, nil
}

// same says whether dir holds exactly the files.
func same(dir string, files map[string]File, group *int64) bool {
	found := 0
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		want, ok := files[relative]
		if !ok || !sameFile(name, want, group) {
			return fs.SkipAll
		}
		found++
		return nil
	})
	return err == nil && found == len(files)
}

func sameFile(name string, want File, group *int64) bool {
	info, err := os.Lstat(name)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm() != permissions(want, group) || info.Size() != int64(len(want.Data)) {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || (group != nil && int64(stat.Gid) != *group) || (want.UID != nil && int64(stat.Uid) != *want.UID) {
		return false
	}
	data, err := os.ReadFile(name)
	return err == nil && bytes.Equal(data, want.Data)
}

func permissions(file File, group *int64) os.FileMode {
	mode := file.Mode.Perm()
	if group != nil {
		mode |= 0o440
	}
	return mode
}

// fill writes the files below dir.
func fill(dir string, files map[string]File, group *int64) error {
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	uid, gid := -1, -1
	if group != nil {
		gid = int(*group)
	}
	for path, file := range files {
		name := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, file.Data, 0o600); err != nil {
			return err
		}
		uid = -1
		if file.UID != nil {
			uid = int(*file.UID)
		}
		if err := os.Lchown(name, uid, gid); err != nil {
			return err
		}
		if err := os.Chmod(name, permissions(file, group)); err != nil {
			return err
		}
	}
	return nil
}

// swap makes dataLink point to target in one step.
func swap(dir, target string) error {
	temporary := filepath.Join(dir, newDataLink)
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(target, temporary); err != nil {
		return err
	}
	return os.Rename(temporary, filepath.Join(dir, dataLink))
}

// tops returns the first parts of the paths.
func tops(files map[string]File) map[string]bool {
	names := map[string]bool{}
	for path := range files {
		top, _, _ := strings.Cut(path, "/")
		names[top] = true
	}
	return names
}

// linkNames makes each visible name of dir a link through dataLink.
func linkNames(dir string, files map[string]File) error {
	for name := range tops(files) {
		link, target := filepath.Join(dir, name), filepath.Join(dataLink, name)
		if current, err := os.Readlink(link); err == nil && current == target {
			continue
		}
		if err := os.Symlink(target, link); err != nil {
			return err
		}
	}
	return nil
}

// prune removes names that are gone and directories of earlier versions.
func prune(dir, current string, files map[string]File) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	keep := tops(files)
	for _, entry := range entries {
		name := entry.Name()
		if keep[name] || name == dataLink || name == current {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}
