// Package volume puts a pod's volumes in place on the node and takes them away again. One file for each kind of volume; it
// owns the pod's volumes directory, and refuses to know containers or when a pod starts and ends. Kinds it
// has no file for are refused with a clear error.
package volume

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/mount-utils"

	"github.com/yare-io/yare/kubelet/downward"
)

// Mounted is a volume in place.
type Mounted struct {
	Path string
	// ReadOnly volumes are mounted read-only whatever the container asks for.
	ReadOnly bool
}

// Objects fetches what volumes are made from. A missing object is an error for which apierrors.IsNotFound holds.
type Objects interface {
	ConfigMap(ctx context.Context, namespace, name string) (*v1.ConfigMap, error)
	Secret(ctx context.Context, namespace, name string) (*v1.Secret, error)
}

// Tokens issues service account tokens bound to a pod.
type Tokens interface {
	Token(ctx context.Context, pod *v1.Pod, audience string, lifetime time.Duration) (string, error)
}

// Manager puts volumes in place. Its fields must not change once it is used. It is safe for concurrent use on different
// pods.
type Manager struct {
	PodsDir     string
	Objects     Objects
	Tokens      Tokens
	Allocatable func() v1.ResourceList
	Mounter     mount.Interface
	// Tmpfs is false where nothing can be mounted: secrets then lie on disk, and memory-backed volumes are refused.
	Tmpfs  bool
	Logger *slog.Logger
}

// Request is what SetUp works from.
type Request struct {
	Pod       *v1.Pod
	Addresses downward.Addresses
}

// Error says which volume could not be put in place.
type Error struct {
	Volume string
	Err    error
}

func (e *Error) Error() string {
	return fmt.Sprintf("MountVolume.SetUp failed for volume %q : %v", e.Volume, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// SetUp puts all volumes of the pod in place, or brings those that follow API objects up to date. Calling it again
// changes only what is out of date. What could be done is returned even if some volumes fail; the error joins an *Error
// for each of those.
func (m *Manager) SetUp(ctx context.Context, r Request) (map[string]Mounted, error) {
	mounted := make(map[string]Mounted, len(r.Pod.Spec.Volumes))
	var failed []error
	for i := range r.Pod.Spec.Volumes {
		v := &r.Pod.Spec.Volumes[i]
		place, err := m.setUp(ctx, r, v)
		if err != nil {
			failed = append(failed, &Error{Volume: v.Name, Err: err})
			continue
		}
		mounted[v.Name] = place
	}
	return mounted, errors.Join(failed...)
}

func (m *Manager) setUp(ctx context.Context, r Request, v *v1.Volume) (Mounted, error) {
	switch {
	case v.EmptyDir != nil:
		return m.emptyDir(r, v)
	case v.HostPath != nil:
		return hostPath(v.HostPath)
	case v.ConfigMap != nil:
		return m.configMap(ctx, r, v)
	case v.Secret != nil:
		return m.secret(ctx, r, v)
	case v.DownwardAPI != nil:
		return m.downwardAPI(r, v)
	case v.Projected != nil:
		return m.projected(ctx, r, v)
	}
	return Mounted{}, fmt.Errorf("%s volumes are not supported on this node", kind(v))
}

// kind names the volume's source as the API does.
func kind(v *v1.Volume) string {
	switch {
	case v.PersistentVolumeClaim != nil:
		return "persistentVolumeClaim"
	case v.CSI != nil:
		return "csi"
	case v.Ephemeral != nil:
		return "ephemeral"
	case v.NFS != nil:
		return "nfs"
	case v.ISCSI != nil:
		return "iscsi"
	case v.FC != nil:
		return "fc"
	case v.Image != nil:
		return "image"
	}
	return "such"
}

// dir is where a volume of a plugin lies, as Kubernetes lays it out.
func (m *Manager) dir(pod *v1.Pod, plugin, name string) string {
	return filepath.Join(m.PodsDir, string(pod.UID), "volumes", "kubernetes.io~"+plugin, name)
}

// tmpfs mounts a memory file system at path unless there is one.
func (m *Manager) tmpfs(path string, options ...string) error {
	notMounted, err := m.Mounter.IsLikelyNotMountPoint(path)
	if err != nil {
		return err
	}
	if !notMounted {
		return nil
	}
	if err := m.Mounter.Mount("tmpfs", path, "tmpfs", options); err != nil {
		return fmt.Errorf("mount tmpfs: %w", err)
	}
	return nil
}

// TearDown unmounts and removes the pod's volumes. Nothing of the pod may be running.
func (m *Manager) TearDown(uid types.UID) error {
	root, err := m.podDir(uid)
	if err != nil {
		return err
	}
	if err := m.unmountUnder(root); err != nil {
		return err
	}
	for _, name := range []string{"volumes", "volume-subpaths"} {
		if err := os.RemoveAll(filepath.Join(root, name)); err != nil {
			return fmt.Errorf("remove volumes: %w", err)
		}
	}
	return nil
}

// Remove removes the pod's whole directory, which TearDown must have emptied of volumes.
func (m *Manager) Remove(uid types.UID) error {
	root, err := m.podDir(uid)
	if err != nil {
		return err
	}
	if err := m.unmountUnder(root); err != nil {
		return err
	}
	if err := os.RemoveAll(root); err != nil {
		return fmt.Errorf("remove pod directory: %w", err)
	}
	return nil
}

func (m *Manager) podDir(uid types.UID) (string, error) {
	root := filepath.Join(m.PodsDir, string(uid))
	if uid == "" || filepath.Dir(root) != filepath.Clean(m.PodsDir) {
		return "", fmt.Errorf("%q is not a pod UID", uid)
	}
	return root, nil
}

// unmountUnder unmounts all that is mounted below root, last mounted first. It must succeed before anything
// is removed: removal would reach through a mount into what is mounted.
func (m *Manager) unmountUnder(root string) error {
	if _, err := os.Lstat(root); os.IsNotExist(err) {
		return nil
	}
	points, err := m.Mounter.List()
	if err != nil {
		return fmt.Errorf("list mounts: %w", err)
	}
	for i := len(points) - 1; i >= 0; i-- {
		if !mount.PathWithinBase(points[i].Path, root) {
			continue
		}
		if err := m.Mounter.Unmount(points[i].Path); err != nil {
			return fmt.Errorf("unmount %s: %w", points[i].Path, err)
		}
	}
	return nil
}
