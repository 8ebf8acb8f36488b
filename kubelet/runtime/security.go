package runtime

import (
	"fmt"
	"path/filepath"
	"strings"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

var maskedPaths = []string{
	"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
	"/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
}

var readOnlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}

// security merges the pod's and the container's security contexts; the container's wins.
func (r *Runtime) security(pod Pod, c *v1.Container, image *runtimeapi.Image) (*runtimeapi.LinuxContainerSecurityContext, error) {
	sc := effective(pod.Spec.SecurityContext, c.SecurityContext)
	if err := verifyNonRoot(pod.Pod, c, sc, image); err != nil {
		return nil, err
	}
	out := &runtimeapi.LinuxContainerSecurityContext{
		NamespaceOptions:   namespaceOptions(pod.Pod),
		Privileged:         isTrue(sc.Privileged),
		ReadonlyRootfs:     isTrue(sc.ReadOnlyRootFilesystem),
		NoNewPrivs:         sc.AllowPrivilegeEscalation != nil && !*sc.AllowPrivilegeEscalation,
		RunAsUser:          int64Value(sc.RunAsUser),
		RunAsGroup:         int64Value(sc.RunAsGroup),
		SupplementalGroups: podGroups(pod),
		SelinuxOptions:     selinux(sc.SELinuxOptions),
		Capabilities:       capabilities(sc.Capabilities),
	}
	if policy := pod.Spec.SecurityContext; policy != nil && policy.SupplementalGroupsPolicy != nil &&
		*policy.SupplementalGroupsPolicy == v1.SupplementalGroupsPolicyStrict {
		out.SupplementalGroupsPolicy = runtimeapi.SupplementalGroupsPolicy_Strict
	}
	if out.RunAsUser == nil && image.Uid != nil {
		out.RunAsUser = image.Uid
	} else if out.RunAsUser == nil {
		out.RunAsUsername = image.Username
	}
	if sc.ProcMount == nil || *sc.ProcMount == v1.DefaultProcMount {
		out.MaskedPaths, out.ReadonlyPaths = maskedPaths, readOnlyPaths
	}
	var err error
	if out.Seccomp, err = r.seccomp(sc); err != nil {
		return nil, err
	}
	out.Apparmor = apparmor(pod.Pod, c, sc)
	return out, nil
}

func effective(pod *v1.PodSecurityContext, container *v1.SecurityContext) *v1.SecurityContext {
	sc := &v1.SecurityContext{}
	if container != nil {
		sc = container.DeepCopy()
	}
	if pod == nil {
		return sc
	}
	if sc.RunAsUser == nil {
		sc.RunAsUser = pod.RunAsUser
	}
	if sc.RunAsGroup == nil {
		sc.RunAsGroup = pod.RunAsGroup
	}
	if sc.RunAsNonRoot == nil {
		sc.RunAsNonRoot = pod.RunAsNonRoot
	}
	if sc.SELinuxOptions == nil {
		sc.SELinuxOptions = pod.SELinuxOptions
	}
	if sc.SeccompProfile == nil {
		sc.SeccompProfile = pod.SeccompProfile
	}
	if sc.AppArmorProfile == nil {
		sc.AppArmorProfile = pod.AppArmorProfile
	}
	return sc
}

func isTrue(b *bool) bool { return b != nil && *b }

// verifyNonRoot refuses a container that promises not to run as root and would.
func verifyNonRoot(pod *v1.Pod, c *v1.Container, sc *v1.SecurityContext, image *runtimeapi.Image) error {
	if !isTrue(sc.RunAsNonRoot) {
		return nil
	}
	who := fmt.Sprintf("(pod: %q, container: %s)", pod.Name+"_"+pod.Namespace+"("+string(pod.UID)+")", c.Name)
	if sc.RunAsUser != nil {
		if *sc.RunAsUser == 0 {
			return fmt.Errorf("container's runAsUser breaks non-root policy %s", who)
		}
		return nil
	}
	switch {
	case image.Uid != nil && image.Uid.Value == 0:
		return fmt.Errorf("container has runAsNonRoot and image will run as root %s", who)
	case image.Uid == nil && image.Username != "":
		return fmt.Errorf("container has runAsNonRoot and image has non-numeric user (%s), cannot verify user is non-root %s", image.Username, who)
	case image.Uid == nil:
		return fmt.Errorf("container has runAsNonRoot and image will run as root %s", who)
	}
	return nil
}

func capabilities(c *v1.Capabilities) *runtimeapi.Capability {
	if c == nil {
		return nil
	}
	out := &runtimeapi.Capability{}
	for _, name := range c.Add {
		out.AddCapabilities = append(out.AddCapabilities, string(name))
	}
	for _, name := range c.Drop {
		out.DropCapabilities = append(out.DropCapabilities, string(name))
	}
	return out
}

func (r *Runtime) seccomp(sc *v1.SecurityContext) (*runtimeapi.SecurityProfile, error) {
	unconfined := &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined}
	if isTrue(sc.Privileged) {
		return unconfined, nil
	}
	runtimeDefault := &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}
	if sc.SeccompProfile == nil {
		if r.SeccompDefault {
			return runtimeDefault, nil
		}
		return unconfined, nil
	}
	switch sc.SeccompProfile.Type {
	case v1.SeccompProfileTypeRuntimeDefault:
		return runtimeDefault, nil
	case v1.SeccompProfileTypeLocalhost:
		name := sc.SeccompProfile.LocalhostProfile
		if name == nil || *name == "" {
			return nil, fmt.Errorf("localhostProfile must be set if seccompProfile type is Localhost.")
		}
		if !filepath.IsLocal(*name) {
			return nil, fmt.Errorf("localhostProfile %q leaves the profile directory", *name)
		}
		return &runtimeapi.SecurityProfile{
			ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: filepath.Join(r.SeccompDir, *name),
		}, nil
	}
	return unconfined, nil
}

// apparmor reads the profile from the security context, or from the annotation that came before it.
func apparmor(pod *v1.Pod, c *v1.Container, sc *v1.SecurityContext) *runtimeapi.SecurityProfile {
	if p := sc.AppArmorProfile; p != nil {
		switch p.Type {
		case v1.AppArmorProfileTypeRuntimeDefault:
			return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}
		case v1.AppArmorProfileTypeLocalhost:
			if p.LocalhostProfile != nil {
				return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: *p.LocalhostProfile}
			}
		}
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined}
	}
	value := pod.Annotations[v1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix+c.Name]
	switch {
	case value == v1.DeprecatedAppArmorBetaProfileNameUnconfined:
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined}
	case value == v1.DeprecatedAppArmorBetaProfileRuntimeDefault:
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}
	case strings.HasPrefix(value, v1.DeprecatedAppArmorBetaProfileNamePrefix):
		return &runtimeapi.SecurityProfile{
			ProfileType:  runtimeapi.SecurityProfile_Localhost,
			LocalhostRef: strings.TrimPrefix(value, v1.DeprecatedAppArmorBetaProfileNamePrefix),
		}
	}
	return nil
}
