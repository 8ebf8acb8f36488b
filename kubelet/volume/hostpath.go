package volume

import (
	"fmt"
	"os"
	"path/filepath"

	v1 "k8s.io/api/core/v1"
)

// hostPath checks, and if asked to makes, what the pod wants to see of the node.
func hostPath(source *v1.HostPathVolumeSource) (Mounted, error) {
	kind := v1.HostPathUnset
	if source.Type != nil {
		kind = *source.Type
	}
	path := source.Path
	switch kind {
	case v1.HostPathUnset:
		return Mounted{Path: path}, nil
	case v1.HostPathDirectoryOrCreate:
		if err := os.MkdirAll(path, 0o755); err != nil {
			return Mounted{}, err
		}
		kind = v1.HostPathDirectory
	case v1.HostPathFileOrCreate:
		if err := createFile(path); err != nil {
			return Mounted{}, err
		}
		kind = v1.HostPathFile
	}
	return Mounted{Path: path}, checkHostPath(path, kind)
}

func createFile(path string) error {
	if _, err := os.Stat(filepath.Dir(path)); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o644)
	if err != nil {
		return err
	}
	return file.Close()
}

func checkHostPath(path string, kind v1.HostPathType) error {
	info, err := os.Stat(path)
	mode := os.FileMode(0)
	if err == nil {
		mode = info.Mode()
	}
	ok, noun := false, ""
	switch kind {
	case v1.HostPathDirectory:
		ok, noun = mode.IsDir(), "a directory"
	case v1.HostPathFile:
		ok, noun = err == nil && mode.IsRegular(), "a file"
	case v1.HostPathSocket:
		ok, noun = mode&os.ModeSocket != 0, "a socket file"
	case v1.HostPathCharDev:
		ok, noun = mode&os.ModeCharDevice != 0, "a character device"
	case v1.HostPathBlockDev:
		ok, noun = mode&os.ModeDevice != 0 && mode&os.ModeCharDevice == 0, "a block device"
	default:
		return fmt.Errorf("%s is an invalid volume type", kind)
	}
	if !ok {
		return fmt.Errorf("hostPath type check failed: %s is not %s", path, noun)
	}
	return nil
}
