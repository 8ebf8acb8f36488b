package volume

import (
	"errors"
	"os"

	v1 "k8s.io/api/core/v1"

	"github.com/yare-io/yare/kubelet/downward"
)

func (m *Manager) downwardAPI(r Request, v *v1.Volume) (Mounted, error) {
	files, err := m.downwardFiles(r, v.DownwardAPI.Items, modeOr(v.DownwardAPI.DefaultMode, v1.DownwardAPIVolumeSourceDefaultMode))
	if err != nil {
		return Mounted{}, err
	}
	path := m.dir(r.Pod, "downward-api", v.Name)
	if err := os.MkdirAll(path, 0o755); err != nil {
		return Mounted{}, err
	}
	return Mounted{Path: path, ReadOnly: true}, Write(path, files, fsGroup(r.Pod))
}

func (m *Manager) downwardFiles(r Request, items []v1.DownwardAPIVolumeFile, mode int32) (map[string]File, error) {
	files := make(map[string]File, len(items))
	var failed []error
	for _, item := range items {
		value, err := m.downwardValue(r, item)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		files[item.Path] = File{Data: []byte(value), Mode: os.FileMode(modeOr(item.Mode, mode))}
	}
	return files, errors.Join(failed...)
}

func (m *Manager) downwardValue(r Request, item v1.DownwardAPIVolumeFile) (string, error) {
	if item.FieldRef != nil {
		return downward.Field(r.Pod, r.Addresses, item.FieldRef.FieldPath)
	}
	if item.ResourceFieldRef != nil {
		return downward.Resource(r.Pod, nil, item.ResourceFieldRef, m.Allocatable())
	}
	return "", errors.New("downward API file with neither fieldRef nor resourceFieldRef")
}
