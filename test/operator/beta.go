package operator

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/conversion"
)

// BetaVersion is the version that the operator's API had before.
var BetaVersion = schema.GroupVersion{Group: GroupVersion.Group, Version: "v1beta1"}

// BetaBackup is a Backup in that version.
type BetaBackup struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   BetaBackupSpec `json:"spec"`
	Status BackupStatus   `json:"status,omitempty"`
}

// BetaBackupSpec names the same things differently.
type BetaBackupSpec struct {
	Database string `json:"database"`
	KeepDays int64  `json:"keepDays,omitempty"`
	Schedule string `json:"schedule,omitempty"`
}

// DeepCopyObject implements runtime.Object.
func (b *BetaBackup) DeepCopyObject() runtime.Object {
	out := *b
	out.ObjectMeta = *b.ObjectMeta.DeepCopy()
	return &out
}

// Hub implements conversion.Hub: versions are converted by way of this one.
func (*Backup) Hub() {}

// ConvertTo implements conversion.Convertible.
func (b *BetaBackup) ConvertTo(hub conversion.Hub) error {
	to := hub.(*Backup)
	to.ObjectMeta, to.Status = b.ObjectMeta, b.Status
	to.Spec = BackupSpec{Source: b.Spec.Database, Retention: b.Spec.KeepDays, Schedule: b.Spec.Schedule}
	return nil
}

// ConvertFrom implements conversion.Convertible.
func (b *BetaBackup) ConvertFrom(hub conversion.Hub) error {
	from := hub.(*Backup)
	b.ObjectMeta, b.Status = from.ObjectMeta, from.Status
	b.Spec = BetaBackupSpec{Database: from.Spec.Source, KeepDays: from.Spec.Retention, Schedule: from.Spec.Schedule}
	return nil
}
