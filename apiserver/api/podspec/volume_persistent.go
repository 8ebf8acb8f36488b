package podspec

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ValidatePersistentSource wants exactly one source of a persistent volume.
func ValidatePersistentSource(at *field.Path, s *corev1.PersistentVolumeSource) field.ErrorList {
	return exactlyOneSource(at, append(persistentSources(s), persistentCloudSources(s)...))
}

func persistentSources(s *corev1.PersistentVolumeSource) []sourceCheck {
	return []sourceCheck{
		{"hostPath", s.HostPath != nil, func(p *field.Path) field.ErrorList { return ValidateHostPath(p, s.HostPath) }},
		{"local", s.Local != nil, func(p *field.Path) field.ErrorList {
			return append(needed(p, need{"path", s.Local.Path}), noBacksteps(p.Child("path"), s.Local.Path)...)
		}},
		{"nfs", s.NFS != nil, func(p *field.Path) field.ErrorList { return ValidateNFS(p, s.NFS) }},
		{"csi", s.CSI != nil, func(p *field.Path) field.ErrorList { return validatePersistentCSI(p, s.CSI) }},
		{"iscsi", s.ISCSI != nil, func(p *field.Path) field.ErrorList {
			return ValidateISCSI(p, s.ISCSI.TargetPortal, s.ISCSI.IQN, s.ISCSI.Lun)
		}},
		{"fc", s.FC != nil, func(p *field.Path) field.ErrorList { return ValidateFC(p, s.FC) }},
		{"rbd", s.RBD != nil, func(p *field.Path) field.ErrorList { return ValidateRBD(p, s.RBD.CephMonitors, s.RBD.RBDImage) }},
		{"cephfs", s.CephFS != nil, func(p *field.Path) field.ErrorList { return ValidateMonitors(p, s.CephFS.Monitors) }},
		{"glusterfs", s.Glusterfs != nil, func(p *field.Path) field.ErrorList {
			return needed(p, need{"endpoints", s.Glusterfs.EndpointsName}, need{"path", s.Glusterfs.Path})
		}},
		{"flocker", s.Flocker != nil, func(p *field.Path) field.ErrorList { return ValidateFlocker(p, s.Flocker) }},
		{"quobyte", s.Quobyte != nil, func(p *field.Path) field.ErrorList { return ValidateQuobyte(p, s.Quobyte) }},
		{"flexVolume", s.FlexVolume != nil, func(p *field.Path) field.ErrorList { return needed(p, need{"driver", s.FlexVolume.Driver}) }},
	}
}

func persistentCloudSources(s *corev1.PersistentVolumeSource) []sourceCheck {
	return []sourceCheck{
		{"gcePersistentDisk", s.GCEPersistentDisk != nil, func(p *field.Path) field.ErrorList { return ValidateGCEDisk(p, s.GCEPersistentDisk) }},
		{"awsElasticBlockStore", s.AWSElasticBlockStore != nil, func(p *field.Path) field.ErrorList { return ValidateEBS(p, s.AWSElasticBlockStore) }},
		{"cinder", s.Cinder != nil, func(p *field.Path) field.ErrorList { return needed(p, need{"volumeID", s.Cinder.VolumeID}) }},
		{"azureFile", s.AzureFile != nil, func(p *field.Path) field.ErrorList {
			return needed(p, need{"secretName", s.AzureFile.SecretName}, need{"shareName", s.AzureFile.ShareName})
		}},
		{"azureDisk", s.AzureDisk != nil, func(p *field.Path) field.ErrorList { return ValidateAzureDisk(p, s.AzureDisk) }},
		{"vsphereVolume", s.VsphereVolume != nil, func(p *field.Path) field.ErrorList {
			return needed(p, need{"volumePath", s.VsphereVolume.VolumePath})
		}},
		{"photonPersistentDisk", s.PhotonPersistentDisk != nil, func(p *field.Path) field.ErrorList {
			return needed(p, need{"pdID", s.PhotonPersistentDisk.PdID})
		}},
		{"portworxVolume", s.PortworxVolume != nil, func(p *field.Path) field.ErrorList {
			return needed(p, need{"volumeID", s.PortworxVolume.VolumeID})
		}},
		{"scaleIO", s.ScaleIO != nil, func(p *field.Path) field.ErrorList {
			return needed(p, need{"gateway", s.ScaleIO.Gateway}, need{"system", s.ScaleIO.System}, need{"volumeName", s.ScaleIO.VolumeName})
		}},
		{"storageos", s.StorageOS != nil, func(p *field.Path) field.ErrorList {
			return needed(p, need{"volumeName", s.StorageOS.VolumeName})
		}},
	}
}

func validatePersistentCSI(at *field.Path, s *corev1.CSIPersistentVolumeSource) field.ErrorList {
	errs := ValidateCSIDriverName(at.Child("driver"), s.Driver)
	errs = append(errs, needed(at, need{"volumeHandle", s.VolumeHandle})...)
	for _, r := range []struct {
		name string
		ref  *corev1.SecretReference
	}{
		{"controllerPublishSecretRef", s.ControllerPublishSecretRef},
		{"controllerExpandSecretRef", s.ControllerExpandSecretRef},
		{"nodePublishSecretRef", s.NodePublishSecretRef},
		{"nodeStageSecretRef", s.NodeStageSecretRef},
		{"nodeExpandSecretRef", s.NodeExpandSecretRef},
	} {
		if r.ref != nil {
			errs = append(errs, needed(at.Child(r.name), need{"name", r.ref.Name}, need{"namespace", r.ref.Namespace})...)
		}
	}
	return errs
}
