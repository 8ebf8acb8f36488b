package podspec

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/rule"
)

// need is a field that must not be empty.
type need struct{ name, value string }

func needed(at *field.Path, needs ...need) field.ErrorList {
	var errs field.ErrorList
	for _, n := range needs {
		errs = append(errs, rule.Required(at.Child(n.name), n.value)...)
	}
	return errs
}

// deviceSources are the volumes of storage systems, most of them served by CSI
// drivers nowadays.
func deviceSources(s *corev1.VolumeSource) []sourceCheck {
	return []sourceCheck{
		{"gcePersistentDisk", s.GCEPersistentDisk != nil, func(p *field.Path) field.ErrorList { return ValidateGCEDisk(p, s.GCEPersistentDisk) }},
		{"awsElasticBlockStore", s.AWSElasticBlockStore != nil, func(p *field.Path) field.ErrorList { return ValidateEBS(p, s.AWSElasticBlockStore) }},
		{"nfs", s.NFS != nil, func(p *field.Path) field.ErrorList { return ValidateNFS(p, s.NFS) }},
		{"iscsi", s.ISCSI != nil, func(p *field.Path) field.ErrorList {
			return ValidateISCSI(p, s.ISCSI.TargetPortal, s.ISCSI.IQN, s.ISCSI.Lun)
		}},
		{"glusterfs", s.Glusterfs != nil, func(p *field.Path) field.ErrorList {
			return needed(p, need{"endpoints", s.Glusterfs.EndpointsName}, need{"path", s.Glusterfs.Path})
		}},
		{"flocker", s.Flocker != nil, func(p *field.Path) field.ErrorList { return ValidateFlocker(p, s.Flocker) }},
		{"rbd", s.RBD != nil, func(p *field.Path) field.ErrorList { return ValidateRBD(p, s.RBD.CephMonitors, s.RBD.RBDImage) }},
		{"cinder", s.Cinder != nil, func(p *field.Path) field.ErrorList { return needed(p, need{"volumeID", s.Cinder.VolumeID}) }},
		{"cephfs", s.CephFS != nil, func(p *field.Path) field.ErrorList { return ValidateMonitors(p, s.CephFS.Monitors) }},
		{"quobyte", s.Quobyte != nil, func(p *field.Path) field.ErrorList { return ValidateQuobyte(p, s.Quobyte) }},
		{"flexVolume", s.FlexVolume != nil, func(p *field.Path) field.ErrorList { return needed(p, need{"driver", s.FlexVolume.Driver}) }},
		{"azureFile", s.AzureFile != nil, func(p *field.Path) field.ErrorList {
			return needed(p, need{"secretName", s.AzureFile.SecretName}, need{"shareName", s.AzureFile.ShareName})
		}},
		{"fc", s.FC != nil, func(p *field.Path) field.ErrorList { return ValidateFC(p, s.FC) }},
		{"vsphereVolume", s.VsphereVolume != nil, func(p *field.Path) field.ErrorList {
			return needed(p, need{"volumePath", s.VsphereVolume.VolumePath})
		}},
		{"photonPersistentDisk", s.PhotonPersistentDisk != nil, func(p *field.Path) field.ErrorList {
			return needed(p, need{"pdID", s.PhotonPersistentDisk.PdID})
		}},
		{"portworxVolume", s.PortworxVolume != nil, func(p *field.Path) field.ErrorList {
			return needed(p, need{"volumeID", s.PortworxVolume.VolumeID})
		}},
		{"azureDisk", s.AzureDisk != nil, func(p *field.Path) field.ErrorList { return ValidateAzureDisk(p, s.AzureDisk) }},
		{"scaleIO", s.ScaleIO != nil, func(p *field.Path) field.ErrorList {
			return needed(p, need{"gateway", s.ScaleIO.Gateway}, need{"system", s.ScaleIO.System}, need{"volumeName", s.ScaleIO.VolumeName})
		}},
		{"storageos", s.StorageOS != nil, func(p *field.Path) field.ErrorList {
			return needed(p, need{"volumeName", s.StorageOS.VolumeName})
		}},
	}
}

// ValidateGCEDisk returns what is wrong with a GCE disk.
func ValidateGCEDisk(at *field.Path, s *corev1.GCEPersistentDiskVolumeSource) field.ErrorList {
	return append(needed(at, need{"pdName", s.PDName}), rule.Between(at.Child("partition"), s.Partition, 0, 255)...)
}

// ValidateEBS returns what is wrong with an AWS volume.
func ValidateEBS(at *field.Path, s *corev1.AWSElasticBlockStoreVolumeSource) field.ErrorList {
	return append(needed(at, need{"volumeID", s.VolumeID}), rule.Between(at.Child("partition"), s.Partition, 0, 255)...)
}

// ValidateNFS returns what is wrong with an NFS export.
func ValidateNFS(at *field.Path, s *corev1.NFSVolumeSource) field.ErrorList {
	errs := needed(at, need{"server", s.Server}, need{"path", s.Path})
	if s.Path != "" && !strings.HasPrefix(s.Path, "/") {
		errs = append(errs, field.Invalid(at.Child("path"), s.Path, "must be an absolute path"))
	}
	return errs
}

// ValidateISCSI returns what is wrong with an iSCSI target.
func ValidateISCSI(at *field.Path, portal, iqn string, lun int32) field.ErrorList {
	errs := needed(at, need{"targetPortal", portal}, need{"iqn", iqn})
	if iqn != "" && !strings.HasPrefix(iqn, "iqn.") && !strings.HasPrefix(iqn, "eui.") && !strings.HasPrefix(iqn, "naa.") {
		errs = append(errs, field.Invalid(at.Child("iqn"), iqn, "must be valid format starting with iqn, eui, or naa"))
	}
	return append(errs, rule.Between(at.Child("lun"), lun, 0, 255)...)
}

// ValidateFlocker wants a dataset by name or by UUID.
func ValidateFlocker(at *field.Path, s *corev1.FlockerVolumeSource) field.ErrorList {
	switch {
	case s.DatasetName == "" && s.DatasetUUID == "":
		return field.ErrorList{field.Required(at, "one of datasetName and datasetUUID is required")}
	case s.DatasetName != "" && s.DatasetUUID != "":
		return field.ErrorList{field.Invalid(at, "resource", "datasetName and datasetUUID can not be specified simultaneously")}
	case strings.HasPrefix(s.DatasetName, "/"):
		return field.ErrorList{field.Invalid(at.Child("datasetName"), s.DatasetName, "must not contain '/'")}
	}
	return nil
}

// ValidateMonitors wants at least one Ceph monitor.
func ValidateMonitors(at *field.Path, monitors []string) field.ErrorList {
	if len(monitors) == 0 {
		return field.ErrorList{field.Required(at.Child("monitors"), "")}
	}
	return nil
}

// ValidateRBD returns what is wrong with a Ceph block device.
func ValidateRBD(at *field.Path, monitors []string, image string) field.ErrorList {
	return append(ValidateMonitors(at, monitors), needed(at, need{"image", image})...)
}

// ValidateQuobyte returns what is wrong with a Quobyte volume.
func ValidateQuobyte(at *field.Path, s *corev1.QuobyteVolumeSource) field.ErrorList {
	if s.Registry == "" {
		return field.ErrorList{field.Required(at.Child("registry"), "must be a host:port pair or multiple pairs separated by commas")}
	}
	if len(s.Tenant) >= 65 {
		return field.ErrorList{field.Required(at.Child("tenant"), "must be a UUID and may not exceed a length of 64 characters")}
	}
	return needed(at, need{"volume", s.Volume})
}

// ValidateFC wants either target names with a LUN, or world-wide identifiers.
func ValidateFC(at *field.Path, s *corev1.FCVolumeSource) field.ErrorList {
	var errs field.ErrorList
	targets, ids := at.Child("targetWWNs"), at.Child("wwids")
	if len(s.TargetWWNs) == 0 && len(s.WWIDs) == 0 {
		errs = append(errs, field.Required(targets, "must specify either targetWWNs or wwids, but not both"))
	}
	if len(s.TargetWWNs) > 0 && len(s.WWIDs) > 0 {
		errs = append(errs, field.Invalid(targets, s.TargetWWNs, "targetWWNs and wwids can not be specified simultaneously"),
			field.Invalid(ids, s.WWIDs, "targetWWNs and wwids can not be specified simultaneously"))
	}
	if len(s.TargetWWNs) > 0 {
		if s.Lun == nil {
			errs = append(errs, field.Required(at.Child("lun"), "lun is required if targetWWNs is specified"))
		} else {
			errs = append(errs, rule.Between(at.Child("lun"), *s.Lun, 0, 255)...)
		}
	}
	return errs
}

// ValidateAzureDisk returns what is wrong with an Azure disk.
func ValidateAzureDisk(at *field.Path, s *corev1.AzureDiskVolumeSource) field.ErrorList {
	errs := needed(at, need{"diskName", s.DiskName}, need{"diskURI", s.DataDiskURI})
	errs = append(errs, rule.OptionalOneOf(at.Child("cachingMode"), s.CachingMode,
		corev1.AzureDataDiskCachingNone, corev1.AzureDataDiskCachingReadOnly, corev1.AzureDataDiskCachingReadWrite)...)
	errs = append(errs, rule.OptionalOneOf(at.Child("kind"), s.Kind,
		corev1.AzureSharedBlobDisk, corev1.AzureDedicatedBlobDisk, corev1.AzureManagedDisk)...)
	if s.Kind == nil || s.DataDiskURI == "" {
		return errs
	}
	if *s.Kind == corev1.AzureManagedDisk && !strings.HasPrefix(s.DataDiskURI, "/subscriptions/") {
		errs = append(errs, field.NotSupported(at.Child("diskURI"), s.DataDiskURI, []string{"/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"}))
	}
	if *s.Kind != corev1.AzureManagedDisk && !strings.HasPrefix(s.DataDiskURI, "https://") {
		errs = append(errs, field.NotSupported(at.Child("diskURI"), s.DataDiskURI, []string{"https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"}))
	}
	return errs
}
