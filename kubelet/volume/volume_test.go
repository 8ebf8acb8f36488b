package volume_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/mount-utils"

	"github.com/yare-io/yare/kubelet/downward"
	"github.com/yare-io/yare/kubelet/volume"
)

func unmount(t *testing.T, path string) {
	for unix.Unmount(path, unix.MNT_DETACH) == nil {
	}
}

type objects struct {
	configMaps map[string]map[string]string
	secrets    map[string]map[string][]byte
}

func (o objects) ConfigMap(_ context.Context, _, name string) (*v1.ConfigMap, error) {
	data, ok := o.configMaps[name]
	if !ok {
		return nil, apierrors.NewNotFound(v1.Resource("configmap"), name)
	}
	return &v1.ConfigMap{Data: data}, nil
}

func (o objects) Secret(_ context.Context, _, name string) (*v1.Secret, error) {
	data, ok := o.secrets[name]
	if !ok {
		return nil, apierrors.NewNotFound(v1.Resource("secret"), name)
	}
	return &v1.Secret{Data: data}, nil
}

func (objects) Token(_ context.Context, _ *v1.Pod, audience string, _ time.Duration) (string, error) {
	return "token for " + audience, nil
}

func manager(t *testing.T, o objects) *volume.Manager {
	return &volume.Manager{
		PodsDir: t.TempDir(), Objects: o, Tokens: o, Mounter: mount.New(""), Tmpfs: os.Getuid() == 0, Logger: slog.New(slog.DiscardHandler),
		Allocatable: func() v1.ResourceList { return v1.ResourceList{v1.ResourceCPU: resource.MustParse("2")} },
	}
}

func podWith(volumes ...v1.Volume) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "uid-1", Labels: map[string]string{"app": "web"}},
		Spec:       v1.PodSpec{Volumes: volumes, Containers: []v1.Container{{Name: "web"}}},
	}
}

func TestVolumesFromObjects(t *testing.T) {
	o := objects{
		configMaps: map[string]map[string]string{"cm": {"a": "1", "b": "2"}},
		secrets:    map[string]map[string][]byte{"s": {"key": []byte("hidden")}},
	}
	m := manager(t, o)
	pod := podWith(
		v1.Volume{Name: "cm", VolumeSource: v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{
			LocalObjectReference: v1.LocalObjectReference{Name: "cm"}, Items: []v1.KeyToPath{{Key: "a", Path: "x/y", Mode: new(int32(0o400))}}}}},
		v1.Volume{Name: "none", VolumeSource: v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{
			LocalObjectReference: v1.LocalObjectReference{Name: "missing"}, Optional: new(true)}}},
		v1.Volume{Name: "secret", VolumeSource: v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: "s"}}},
		v1.Volume{Name: "all", VolumeSource: v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{
			{ServiceAccountToken: &v1.ServiceAccountTokenProjection{Path: "token", Audience: "vault"}},
			{DownwardAPI: &v1.DownwardAPIProjection{Items: []v1.DownwardAPIVolumeFile{
				{Path: "labels", FieldRef: &v1.ObjectFieldSelector{FieldPath: "metadata.labels"}},
				{Path: "cpu", ResourceFieldRef: &v1.ResourceFieldSelector{ContainerName: "web", Resource: "limits.cpu"}},
			}}},
		}}}},
	)
	t.Cleanup(func() {
		if err := m.Remove(pod.UID); err != nil {
			t.Error(err)
		}
	})
	mounted, err := m.SetUp(context.Background(), volume.Request{Pod: pod, Addresses: downward.Addresses{PodIPs: []string{"10.0.0.1"}}})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		mounted["cm"].Path + "/x/y": "1", mounted["secret"].Path + "/key": "hidden", mounted["all"].Path + "/token": "token for vault",
		mounted["all"].Path + "/labels": `app="web"`, mounted["all"].Path + "/cpu": "2",
	} {
		if got := read(t, path); got != want {
			t.Errorf("%s holds %q, want %q", path, got, want)
		}
	}
	if !mounted["secret"].ReadOnly {
		t.Error("the secret may be written by containers")
	}
	if visible, err := filepath.Glob(mounted["none"].Path + "/[^.]*"); err != nil || len(visible) > 0 {
		t.Errorf("optional volume: %v, %v", visible, err)
	}
	o.configMaps["cm"]["a"] = "changed"
	if _, err := m.SetUp(context.Background(), volume.Request{Pod: pod}); err != nil {
		t.Fatal(err)
	}
	if got := read(t, mounted["cm"].Path+"/x/y"); got != "changed" {
		t.Errorf("after a change it holds %q", got)
	}
}

func TestVolumesThatCannotBeMountedSayWhy(t *testing.T) {
	m := manager(t, objects{configMaps: map[string]map[string]string{"cm": {}}})
	cases := map[string]v1.VolumeSource{
		`configmap "gone" not found`: {ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: v1.LocalObjectReference{Name: "gone"}}},
		"configmap references non-existent config key: k": {ConfigMap: &v1.ConfigMapVolumeSource{
			LocalObjectReference: v1.LocalObjectReference{Name: "cm"}, Items: []v1.KeyToPath{{Key: "k", Path: "k"}}}},
		"persistentVolumeClaim volumes are not supported on this node":   {PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: "c"}},
		"clusterTrustBundle projections are not supported on this node":  {Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{{ClusterTrustBundle: &v1.ClusterTrustBundleProjection{}}}}},
		"hostPath type check failed: /nowhere/at/all is not a directory": {HostPath: &v1.HostPathVolumeSource{Path: "/nowhere/at/all", Type: new(v1.HostPathDirectory)}},
		`emptyDir: medium "HugePages" is not supported on this node`:     {EmptyDir: &v1.EmptyDirVolumeSource{Medium: v1.StorageMediumHugePages}},
	}
	for want, source := range cases {
		_, err := m.SetUp(context.Background(), volume.Request{Pod: podWith(v1.Volume{Name: "v", VolumeSource: source})})
		if err == nil || err.Error() != `MountVolume.SetUp failed for volume "v" : `+want {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestEmptyDirInMemoryIsBoundedAndGoesWithThePod(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to mount")
	}
	m := manager(t, objects{})
	pod := podWith(v1.Volume{Name: "mem", VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{
		Medium: v1.StorageMediumMemory, SizeLimit: new(resource.MustParse("1Mi"))}}})
	pod.Spec.SecurityContext = &v1.PodSecurityContext{FSGroup: new(int64(4321))}
	mounted, err := m.SetUp(context.Background(), volume.Request{Pod: pod})
	if err != nil {
		t.Fatal(err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(mounted["mem"].Path, &fs); err != nil || fs.Type != unix.TMPFS_MAGIC || int64(fs.Blocks)*fs.Bsize != 1<<20 {
		t.Errorf("file system: %+v, %v", fs, err)
	}
	var stat unix.Stat_t
	if err := unix.Stat(mounted["mem"].Path, &stat); err != nil || stat.Gid != 4321 || stat.Mode&unix.S_ISGID == 0 || stat.Mode&0o777 != 0o777 {
		t.Errorf("owner: %+v, %v", stat, err)
	}
	if err := m.TearDown(pod.UID); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(mounted["mem"].Path); !os.IsNotExist(err) {
		t.Errorf("still there: %v", err)
	}
}

func TestRemoveRefusesWhatIsNoPod(t *testing.T) {
	m := manager(t, objects{})
	keep := filepath.Join(filepath.Dir(m.PodsDir), "keep")
	if err := os.WriteFile(keep, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, uid := range []string{"", "..", "../keep", "a/b", "."} {
		if err := m.Remove(types.UID(uid)); err == nil || !strings.Contains(err.Error(), "not a pod UID") {
			t.Errorf("%q: %v", uid, err)
		}
	}
	if _, err := os.Stat(keep); err != nil {
		t.Error(err)
	}
}
