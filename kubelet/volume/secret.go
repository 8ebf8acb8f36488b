package volume

import (
	"context"
	"os"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

func (m *Manager) secret(ctx context.Context, r Request, v *v1.Volume) (Mounted, error) {
	source := v.Secret
	files, err := m.secretFiles(ctx, r.Pod, source.SecretName, source.Items, modeOr(source.DefaultMode, v1.SecretVolumeSourceDefaultMode), isTrue(source.Optional))
	if err != nil {
		return Mounted{}, err
	}
	path := m.dir(r.Pod, "secret", v.Name)
	if err := m.inMemory(path); err != nil {
		return Mounted{}, err
	}
	return Mounted{Path: path, ReadOnly: true}, Write(path, files, fsGroup(r.Pod))
}

// inMemory makes a directory whose files never reach a disk, where the node can.
func (m *Manager) inMemory(path string) error {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	if !m.Tmpfs {
		return nil
	}
	if err := m.tmpfs(path); err != nil {
		return err
	}
	return os.Chmod(path, 0o755)
}

func (m *Manager) secretFiles(ctx context.Context, pod *v1.Pod, name string, items []v1.KeyToPath, mode int32, optional bool) (map[string]File, error) {
	object, err := m.Objects.Secret(ctx, pod.Namespace, name)
	if apierrors.IsNotFound(err) && optional {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return pick(object.Data, items, mode, optional, "secret")
}
