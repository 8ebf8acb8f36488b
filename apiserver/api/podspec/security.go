package podspec

import (
	"fmt"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/rule"
)

// podSecurity checks what the pod may do on its node.
func (sc *scope) podSecurity(path *field.Path) field.ErrorList {
	errs := validateOS(path.Child("os"), sc.spec.OS)
	s, at := sc.spec.SecurityContext, path.Child("securityContext")
	if shares := sc.spec.ShareProcessNamespace; shares != nil && *shares && sc.spec.HostPID {
		errs = append(errs, field.Invalid(path.Child("shareProcessNamespace"), *shares, "ShareProcessNamespace and HostPID cannot both be enabled"))
	}
	errs = append(errs, sc.hostUsers(path)...)
	if s == nil {
		return errs
	}
	errs = append(errs, validateIDs(at, s.RunAsUser, s.RunAsGroup, s.FSGroup)...)
	for i, g := range s.SupplementalGroups {
		errs = append(errs, rule.Invalid(at.Child("supplementalGroups").Index(i), g, validation.IsValidGroupID(g))...)
	}
	errs = append(errs, validateSysctls(at.Child("sysctls"), s.Sysctls, sc.spec)...)
	errs = append(errs, rule.OptionalOneOf(at.Child("fsGroupChangePolicy"), s.FSGroupChangePolicy, corev1.FSGroupChangeOnRootMismatch, corev1.FSGroupChangeAlways)...)
	errs = append(errs, rule.OptionalOneOf(at.Child("supplementalGroupsPolicy"), s.SupplementalGroupsPolicy, corev1.SupplementalGroupsPolicyMerge, corev1.SupplementalGroupsPolicyStrict)...)
	errs = append(errs, rule.OptionalOneOf(at.Child("seLinuxChangePolicy"), s.SELinuxChangePolicy, corev1.SELinuxChangePolicyRecursive, corev1.SELinuxChangePolicyMountOption)...)
	errs = append(errs, validateSeccomp(at.Child("seccompProfile"), s.SeccompProfile)...)
	return append(errs, validateAppArmor(at.Child("appArmorProfile"), s.AppArmorProfile)...)
}

func validateOS(path *field.Path, os *corev1.PodOS) field.ErrorList {
	if os == nil {
		return nil
	}
	return rule.OneOf(path.Child("name"), os.Name, corev1.Linux, corev1.Windows)
}

// hostUsers: a pod in a user namespace of its own cannot share the node's
// other namespaces.
func (sc *scope) hostUsers(path *field.Path) field.ErrorList {
	if sc.spec.HostUsers == nil || *sc.spec.HostUsers {
		return nil
	}
	var errs field.ErrorList
	for _, f := range []struct {
		name string
		set  bool
	}{{"hostNetwork", sc.spec.HostNetwork}, {"hostPID", sc.spec.HostPID}, {"hostIPC", sc.spec.HostIPC}} {
		if f.set {
			errs = append(errs, field.Forbidden(path.Child(f.name), "when `hostUsers` is false"))
		}
	}
	for i := range sc.spec.Containers {
		if len(sc.spec.Containers[i].VolumeDevices) > 0 {
			errs = append(errs, field.Forbidden(path.Child("containers").Index(i).Child("volumeDevices"), "when `hostUsers` is false, raw block volumes must not be used"))
		}
	}
	return errs
}

func validateIDs(path *field.Path, user, group, fsGroup *int64) field.ErrorList {
	var errs field.ErrorList
	if user != nil {
		errs = append(errs, rule.Invalid(path.Child("runAsUser"), *user, validation.IsValidUserID(*user))...)
	}
	if group != nil {
		errs = append(errs, rule.Invalid(path.Child("runAsGroup"), *group, validation.IsValidGroupID(*group))...)
	}
	if fsGroup != nil {
		errs = append(errs, rule.Invalid(path.Child("fsGroup"), *fsGroup, validation.IsValidGroupID(*fsGroup))...)
	}
	return errs
}

// containerSecurity checks what one container may do.
func (sc *scope) containerSecurity(path *field.Path, s *corev1.SecurityContext) field.ErrorList {
	if s == nil {
		return nil
	}
	errs := validateIDs(path, s.RunAsUser, s.RunAsGroup, nil)
	if s.ProcMount != nil {
		errs = append(errs, rule.Supported(path.Child("procMount"), *s.ProcMount, corev1.DefaultProcMount, corev1.UnmaskedProcMount)...)
		hostUsers := sc.spec.HostUsers == nil || *sc.spec.HostUsers
		if hostUsers && *s.ProcMount == corev1.UnmaskedProcMount {
			errs = append(errs, field.Invalid(path.Child("procMount"), *s.ProcMount, "`hostUsers` must be false to use `Unmasked`"))
		}
	}
	errs = append(errs, validateSeccomp(path.Child("seccompProfile"), s.SeccompProfile)...)
	errs = append(errs, validateAppArmor(path.Child("appArmorProfile"), s.AppArmorProfile)...)
	return append(errs, validateEscalation(path, s)...)
}

func validateEscalation(path *field.Path, s *corev1.SecurityContext) field.ErrorList {
	if s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation {
		return nil
	}
	var errs field.ErrorList
	if s.Privileged != nil && *s.Privileged {
		errs = append(errs, field.Invalid(path, s, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"))
	}
	if s.Capabilities != nil {
		for _, c := range s.Capabilities.Add {
			if string(c) == "CAP_SYS_ADMIN" {
				errs = append(errs, field.Invalid(path, s, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"))
			}
		}
	}
	return errs
}

func validateSeccomp(path *field.Path, p *corev1.SeccompProfile) field.ErrorList {
	if p == nil {
		return nil
	}
	local := path.Child("localhostProfile")
	if p.Type == corev1.SeccompProfileTypeLocalhost {
		if p.LocalhostProfile == nil {
			return field.ErrorList{field.Required(local, "must be set when seccomp type is Localhost")}
		}
		return validateLocalPath(local, *p.LocalhostProfile)
	}
	var errs field.ErrorList
	if p.LocalhostProfile != nil {
		errs = append(errs, field.Invalid(local, p, "can only be set when seccomp type is Localhost"))
	}
	return append(errs, profileType(path.Child("type"), p.Type)...)
}

func profileType[S ~string](path *field.Path, t S) field.ErrorList {
	if t == "" {
		return field.ErrorList{field.Required(path, "type is required when seccompProfile is set")}
	}
	return rule.Supported(path, t, "Localhost", "RuntimeDefault", "Unconfined")
}

const maxAppArmorProfile = 4095

func validateAppArmor(path *field.Path, p *corev1.AppArmorProfile) field.ErrorList {
	if p == nil {
		return nil
	}
	local := path.Child("localhostProfile")
	if p.Type != corev1.AppArmorProfileTypeLocalhost {
		var errs field.ErrorList
		if p.LocalhostProfile != nil {
			errs = append(errs, field.Invalid(local, *p.LocalhostProfile, "can only be set when AppArmor type is Localhost"))
		}
		return append(errs, rule.OneOf(path.Child("type"), p.Type, corev1.AppArmorProfileTypeRuntimeDefault,
			corev1.AppArmorProfileTypeUnconfined, corev1.AppArmorProfileTypeLocalhost)...)
	}
	if p.LocalhostProfile == nil {
		return field.ErrorList{field.Required(local, "must be set when AppArmor type is Localhost")}
	}
	name := strings.TrimSpace(*p.LocalhostProfile)
	if name != *p.LocalhostProfile {
		return field.ErrorList{field.Invalid(local, *p.LocalhostProfile, "must not be padded with whitespace")}
	}
	if name == "" {
		return field.ErrorList{field.Required(local, "must be set when AppArmor type is Localhost")}
	}
	return rule.MaxLength(local, name, maxAppArmorProfile)
}

const maxSysctl = 253

var sysctlName = regexp.MustCompile(`^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$`)

func validateSysctls(path *field.Path, sysctls []corev1.Sysctl, s *corev1.PodSpec) field.ErrorList {
	var errs field.ErrorList
	seen := sets.New[string]()
	for i, c := range sysctls {
		p := path.Index(i).Child("name")
		switch {
		case c.Name == "":
			errs = append(errs, field.Required(p, ""))
		case len(c.Name) > maxSysctl || !sysctlName.MatchString(c.Name):
			errs = append(errs, field.Invalid(p, c.Name, fmt.Sprintf("must have at most %d characters and match regex %s", maxSysctl, sysctlName)))
		case seen.Has(c.Name):
			errs = append(errs, field.Duplicate(p, c.Name))
		}
		seen.Insert(c.Name)
		errs = append(errs, sharedSysctl(path.Index(i).Child("name"), c.Name, s)...)
	}
	return errs
}

// sharedSysctl refuses settings that would reach the whole node.
func sharedSysctl(path *field.Path, name string, s *corev1.PodSpec) field.ErrorList {
	name = strings.ReplaceAll(name, "/", ".")
	if s.HostNetwork && strings.HasPrefix(name, "net.") {
		return field.ErrorList{field.Invalid(path, name, "may not be specified when 'hostNetwork' is true")}
	}
	ipc := strings.HasPrefix(name, "kernel.shm") || strings.HasPrefix(name, "kernel.msg") || name == "kernel.sem" || strings.HasPrefix(name, "fs.mqueue.")
	if s.HostIPC && ipc {
		return field.ErrorList{field.Invalid(path, name, "may not be specified when 'hostIPC' is true")}
	}
	return nil
}
