package volume

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	v1 "k8s.io/api/core/v1"
)

func fsGroup(pod *v1.Pod) *int64 {
	if pod.Spec.SecurityContext == nil {
		return nil
	}
	return pod.Spec.SecurityContext.FSGroup
}

// own gives everything below path to the group, readable and writable, and makes new files inherit it, unless
// path itself is right already. Symbolic links are not followed.
func own(path string, group *int64) error {
	if group == nil {
		return nil
	}
	if info, err := os.Lstat(path); err == nil && belongs(info, *group) {
		return nil
	}
	return filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		return ownOne(name, info, *group)
	})
}

func belongs(info fs.FileInfo, group int64) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int64(stat.Gid) == group && info.Mode()&os.ModeSetgid != 0
}

func ownOne(name string, info fs.FileInfo, group int64) error {
	if err := os.Lchown(name, -1, int(group)); err != nil {
		return err
	}
	if info.Mode()&os.ModeSymlink != 0 {
		return nil
	}
	mode := info.Mode().Perm() | 0o660
	if info.IsDir() {
		mode |= os.ModeSetgid | 0o110
	}
	return os.Chmod(name, mode)
}
