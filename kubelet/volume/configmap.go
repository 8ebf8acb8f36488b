package volume

import (
	"context"
	"os"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

func (m *Manager) configMap(ctx context.Context, r Request, v *v1.Volume) (Mounted, error) {
	source := v.ConfigMap
	files, err := m.configMapFiles(ctx, r.Pod, source.Name, source.Items, modeOr(source.DefaultMode, v1.ConfigMapVolumeSourceDefaultMode), isTrue(source.Optional))
	if err != nil {
		return Mounted{}, err
	}
	path := m.dir(r.Pod, "configmap", v.Name)
	if err := os.MkdirAll(path, 0o755); err != nil {
		return Mounted{}, err
	}
	return Mounted{Path: path, ReadOnly: true}, Write(path, files, fsGroup(r.Pod))
}

func (m *Manager) configMapFiles(ctx context.Context, pod *v1.Pod, name string, items []v1.KeyToPath, mode int32, optional bool) (map[string]File, error) {
	object, err := m.Objects.ConfigMap(ctx, pod.Namespace, name)
	if apierrors.IsNotFound(err) && optional {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	data := make(map[string][]byte, len(object.Data)+len(object.BinaryData))
	for key, value := range object.Data {
		data[key] = []byte(value)
	}
	for key, value := range object.BinaryData {
		data[key] = value
	}
	return pick(data, items, mode, optional, "configmap")
}
