package podspec

import (
	corev1 "k8s.io/api/core/v1"
)

const (
	defaultFileMode        int32 = 0o644
	defaultTokenExpiration int64 = 3600
)

// DefaultVolume fills a volume; one without any source is an emptyDir.
func DefaultVolume(v *corev1.Volume) {
	if v.VolumeSource == (corev1.VolumeSource{}) {
		v.EmptyDir = &corev1.EmptyDirVolumeSource{}
	}
	defaultFileVolume(v)
	defaultBlockVolume(v)
	if v.Ephemeral != nil && v.Ephemeral.VolumeClaimTemplate != nil {
		setDefaultPtr(&v.Ephemeral.VolumeClaimTemplate.Spec.VolumeMode, corev1.PersistentVolumeFilesystem)
	}
	if v.Image != nil {
		setDefault(&v.Image.PullPolicy, pullPolicyFor(v.Image.Reference))
	}
}

func defaultFileVolume(v *corev1.Volume) {
	if v.Secret != nil {
		setDefaultPtr(&v.Secret.DefaultMode, defaultFileMode)
	}
	if v.ConfigMap != nil {
		setDefaultPtr(&v.ConfigMap.DefaultMode, defaultFileMode)
	}
	if v.DownwardAPI != nil {
		setDefaultPtr(&v.DownwardAPI.DefaultMode, defaultFileMode)
		defaultDownward(v.DownwardAPI.Items)
	}
	if v.HostPath != nil {
		setDefaultPtr(&v.HostPath.Type, corev1.HostPathUnset)
	}
	if v.Projected != nil {
		defaultProjected(v.Projected)
	}
}

func defaultProjected(p *corev1.ProjectedVolumeSource) {
	setDefaultPtr(&p.DefaultMode, defaultFileMode)
	for i := range p.Sources {
		if s := p.Sources[i].ServiceAccountToken; s != nil {
			setDefaultPtr(&s.ExpirationSeconds, defaultTokenExpiration)
		}
		if s := p.Sources[i].DownwardAPI; s != nil {
			defaultDownward(s.Items)
		}
	}
}

func defaultDownward(items []corev1.DownwardAPIVolumeFile) {
	for i := range items {
		if items[i].FieldRef != nil {
			setDefault(&items[i].FieldRef.APIVersion, "v1")
		}
	}
}

func defaultBlockVolume(v *corev1.Volume) {
	if v.ISCSI != nil {
		setDefault(&v.ISCSI.ISCSIInterface, "default")
	}
	if v.RBD != nil {
		setDefault(&v.RBD.RBDPool, "rbd")
		setDefault(&v.RBD.RadosUser, "admin")
		setDefault(&v.RBD.Keyring, "/etc/ceph/keyring")
	}
	if v.AzureDisk != nil {
		defaultAzureDisk(v.AzureDisk)
	}
	if v.ScaleIO != nil {
		setDefault(&v.ScaleIO.StorageMode, "ThinProvisioned")
		setDefault(&v.ScaleIO.FSType, "xfs")
	}
}

func defaultAzureDisk(d *corev1.AzureDiskVolumeSource) {
	setDefaultPtr(&d.CachingMode, corev1.AzureDataDiskCachingReadWrite)
	setDefaultPtr(&d.Kind, corev1.AzureSharedBlobDisk)
	setDefaultPtr(&d.FSType, "ext4")
	setDefaultPtr(&d.ReadOnly, false)
}

// DefaultPersistentSource fills the source of a persistent volume.
func DefaultPersistentSource(s *corev1.PersistentVolumeSource) {
	if s.HostPath != nil {
		setDefaultPtr(&s.HostPath.Type, corev1.HostPathUnset)
	}
	if s.ISCSI != nil {
		setDefault(&s.ISCSI.ISCSIInterface, "default")
	}
	if s.RBD != nil {
		setDefault(&s.RBD.RBDPool, "rbd")
		setDefault(&s.RBD.RadosUser, "admin")
		setDefault(&s.RBD.Keyring, "/etc/ceph/keyring")
	}
	if s.AzureDisk != nil {
		defaultAzureDisk(s.AzureDisk)
	}
	if s.ScaleIO != nil {
		setDefault(&s.ScaleIO.StorageMode, "ThinProvisioned")
		setDefault(&s.ScaleIO.FSType, "xfs")
	}
}
