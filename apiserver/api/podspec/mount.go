package podspec

import (
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/rule"
)

// mounts checks where a container's volumes go.
func (sc *scope) mounts(at *field.Path, c *corev1.Container) field.ErrorList {
	var errs field.ErrorList
	paths := sets.New[string]()
	for i := range c.VolumeMounts {
		m, p := &c.VolumeMounts[i], at.Index(i)
		errs = append(errs, sc.mount(p, m)...)
		if paths.Has(m.MountPath) {
			errs = append(errs, field.Invalid(p.Child("mountPath"), m.MountPath, "must be unique"))
		}
		paths.Insert(m.MountPath)
		errs = append(errs, validatePropagation(p.Child("mountPropagation"), m, c.SecurityContext)...)
		errs = append(errs, validateRecursiveReadOnly(p.Child("recursiveReadOnly"), m)...)
	}
	return errs
}

func (sc *scope) mount(at *field.Path, m *corev1.VolumeMount) field.ErrorList {
	errs := rule.Required(at.Child("name"), m.Name)
	if v, ok := sc.volumes[m.Name]; m.Name != "" && !ok {
		errs = append(errs, field.NotFound(at.Child("name"), m.Name))
	} else if ok && sc.blockOnly(v) {
		errs = append(errs, field.Invalid(at.Child("name"), m.Name, "block volumes cannot be mounted as file systems"))
	}
	errs = append(errs, rule.Required(at.Child("mountPath"), m.MountPath)...)
	if m.SubPath != "" {
		errs = append(errs, validateLocalPath(at.Child("subPath"), m.SubPath)...)
	}
	if m.SubPathExpr != "" {
		if m.SubPath != "" {
			errs = append(errs, field.Invalid(at.Child("subPathExpr"), m.SubPathExpr, "subPathExpr and subPath are mutually exclusive"))
		}
		errs = append(errs, validateLocalPath(at.Child("subPathExpr"), m.SubPathExpr)...)
	}
	return errs
}

// blockOnly reports whether a volume is known to be a raw device.
func (sc *scope) blockOnly(v *corev1.Volume) bool {
	if v.Ephemeral == nil || v.Ephemeral.VolumeClaimTemplate == nil {
		return false
	}
	mode := v.Ephemeral.VolumeClaimTemplate.Spec.VolumeMode
	return mode != nil && *mode == corev1.PersistentVolumeBlock
}

func validatePropagation(at *field.Path, m *corev1.VolumeMount, sc *corev1.SecurityContext) field.ErrorList {
	if m.MountPropagation == nil {
		return nil
	}
	errs := rule.Supported(at, *m.MountPropagation, corev1.MountPropagationBidirectional, corev1.MountPropagationHostToContainer, corev1.MountPropagationNone)
	privileged := sc != nil && sc.Privileged != nil && *sc.Privileged
	if *m.MountPropagation == corev1.MountPropagationBidirectional && !privileged {
		errs = append(errs, field.Forbidden(at, "Bidirectional mount propagation is available only to privileged containers"))
	}
	return errs
}

func validateRecursiveReadOnly(at *field.Path, m *corev1.VolumeMount) field.ErrorList {
	if m.RecursiveReadOnly == nil {
		return nil
	}
	var errs field.ErrorList
	switch *m.RecursiveReadOnly {
	case corev1.RecursiveReadOnlyDisabled:
		return nil
	case corev1.RecursiveReadOnlyEnabled, corev1.RecursiveReadOnlyIfPossible:
		if !m.ReadOnly {
			errs = append(errs, field.Forbidden(at, "may only be specified when readOnly is true"))
		}
		if p := m.MountPropagation; p != nil && *p != corev1.MountPropagationNone {
			errs = append(errs, field.Forbidden(at, "may only be specified when mountPropagation is None or not specified"))
		}
	default:
		errs = append(errs, field.NotSupported(at, *m.RecursiveReadOnly, []corev1.RecursiveReadOnlyMode{
			corev1.RecursiveReadOnlyDisabled, corev1.RecursiveReadOnlyEnabled, corev1.RecursiveReadOnlyIfPossible,
		}))
	}
	return errs
}

// devices checks a container's raw block devices.
func (sc *scope) devices(at *field.Path, c *corev1.Container) field.ErrorList {
	var errs field.ErrorList
	mounted, names, paths := sets.New[string](), sets.New[string](), sets.New[string]()
	for _, m := range c.VolumeMounts {
		mounted.Insert(m.Name)
	}
	for i, d := range c.VolumeDevices {
		p := at.Index(i)
		errs = append(errs, rule.Required(p.Child("name"), d.Name)...)
		if v, ok := sc.volumes[d.Name]; d.Name != "" && !ok {
			errs = append(errs, field.NotFound(p.Child("name"), d.Name))
		} else if ok && v.PersistentVolumeClaim == nil && v.Ephemeral == nil {
			errs = append(errs, field.Invalid(p.Child("name"), d.Name, "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"))
		}
		if names.Has(d.Name) {
			errs = append(errs, field.Invalid(p.Child("name"), d.Name, "must be unique"))
		}
		errs = append(errs, devicePath(p.Child("devicePath"), d.DevicePath, paths)...)
		if mounted.Has(d.Name) {
			errs = append(errs, field.Invalid(p.Child("name"), d.Name, "must not already exist in volumeMounts"))
		}
		names.Insert(d.Name)
	}
	return errs
}

func devicePath(at *field.Path, device string, seen sets.Set[string]) field.ErrorList {
	if device == "" {
		return field.ErrorList{field.Required(at, "")}
	}
	if seen.Has(device) {
		return field.ErrorList{field.Invalid(at, device, "must be unique")}
	}
	seen.Insert(device)
	if hasDotDot(device) {
		return field.ErrorList{field.Invalid(at, device, "can not contain backsteps ('..')")}
	}
	return nil
}

// validateLocalPath wants a path that stays below where it starts.
func validateLocalPath(at *field.Path, p string) field.ErrorList {
	var errs field.ErrorList
	if path.IsAbs(p) {
		errs = append(errs, field.Invalid(at, p, "must be a relative path"))
	}
	return append(errs, noBacksteps(at, p)...)
}

// validateLocalFile wants what validateLocalPath wants, and a name that does
// not begin as the internals of a projected volume do.
func validateLocalFile(at *field.Path, p string) field.ErrorList {
	errs := validateLocalPath(at, p)
	if strings.HasPrefix(p, "..") && !strings.HasPrefix(p, "../") {
		errs = append(errs, field.Invalid(at, p, "must not start with '..'"))
	}
	return errs
}

func noBacksteps(at *field.Path, p string) field.ErrorList {
	if hasDotDot(p) {
		return field.ErrorList{field.Invalid(at, p, "must not contain '..'")}
	}
	return nil
}

func hasDotDot(p string) bool {
	for part := range strings.SplitSeq(p, "/") {
		if part == ".." {
			return true
		}
	}
	return false
}
