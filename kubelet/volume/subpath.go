package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// beneath lets a look-up follow links, but never out of the directory it started in.
const beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS

// BindSubPath bind-mounts what lies at sub inside the volume to stable, and returns stable. A missing sub is
// made as a directory. The look-up and the mount use the same open file, so a container that swaps links meanwhile
// cannot make it leave the volume.
func BindSubPath(volume, sub, stable string) (string, error) {
	if !filepath.IsLocal(sub) {
		return "", fmt.Errorf("subPath %q leaves the volume", sub)
	}
	root, err := unix.Open(volume, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("open volume: %w", err)
	}
	defer unix.Close(root)
	target, err := openOrMake(root, filepath.Clean(sub))
	if err != nil {
		return "", fmt.Errorf("subPath %q: %w", sub, err)
	}
	defer unix.Close(target)
	if err := prepareTarget(target, stable); err != nil {
		return "", err
	}
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", target), stable, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return "", fmt.Errorf("bind subPath %q: %w", sub, err)
	}
	return stable, nil
}

func open(dir int, path string) (int, error) {
	return unix.Openat2(dir, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: beneath})
}

// openOrMake opens path, making missing directories one by one.
func openOrMake(root int, path string) (int, error) {
	fd, err := open(root, path)
	if !errors.Is(err, unix.ENOENT) {
		return fd, err
	}
	parent, err := open(root, ".")
	if err != nil {
		return -1, err
	}
	for _, name := range strings.Split(path, "/") {
		next, err := open(parent, name)
		if errors.Is(err, unix.ENOENT) {
			if err = unix.Mkdirat(parent, name, 0o750); err == nil || errors.Is(err, unix.EEXIST) {
				next, err = open(parent, name)
			}
			if err == nil {
				err = copyMode(root, next)
			}
		}
		unix.Close(parent)
		if err != nil {
			return -1, err
		}
		parent = next
	}
	return parent, nil
}

// copyMode gives a new directory the permissions of the volume's root.
func copyMode(root, dir int) error {
	var stat unix.Stat_t
	if err := unix.Fstat(root, &stat); err != nil {
		return err
	}
	return os.Chmod(fmt.Sprintf("/proc/self/fd/%d", dir), fs.FileMode(stat.Mode&0o777))
}

// prepareTarget makes stable something the open file can be mounted on, unmounting what an earlier container left there.
func prepareTarget(target int, stable string) error {
	for range 16 { // each earlier container may have left one
		if err := unix.Unmount(stable, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			break
		}
	}
	if err := os.RemoveAll(stable); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(stable), 0o750); err != nil {
		return err
	}
	var stat unix.Stat_t
	if err := unix.Fstat(target, &stat); err != nil {
		return err
	}
	if stat.Mode&unix.S_IFMT == unix.S_IFDIR {
		return os.Mkdir(stable, 0o750)
	}
	return os.WriteFile(stable, nil, 0o640)
}
