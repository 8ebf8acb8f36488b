package podspec

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/rule"
)

// containers checks the pod's main containers.
func (sc *scope) containers(path *field.Path) field.ErrorList {
	if len(sc.spec.Containers) == 0 {
		return field.ErrorList{field.Required(path, "")}
	}
	var errs field.ErrorList
	names := sets.New[string]()
	for i := range sc.spec.Containers {
		c, p := &sc.spec.Containers[i], path.Index(i)
		errs = append(errs, sc.container(p, c)...)
		errs = append(errs, uniqueName(p, c.Name, names)...)
		errs = append(errs, sc.lifecycle(p.Child("lifecycle"), c.Lifecycle)...)
		errs = append(errs, sc.probes(p, c)...)
		errs = append(errs, restartRules(p, c)...)
	}
	return errs
}

// initContainers checks the containers that run before the main ones.
func (sc *scope) initContainers(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	names := containerNames(sc.spec.Containers)
	for i := range sc.spec.InitContainers {
		c, p := &sc.spec.InitContainers[i], path.Index(i)
		errs = append(errs, sc.container(p, c)...)
		errs = append(errs, uniqueName(p, c.Name, names)...)
		errs = append(errs, restartRules(p, c)...)
		if isSidecar(c) {
			errs = append(errs, sc.lifecycle(p.Child("lifecycle"), c.Lifecycle)...)
			errs = append(errs, sc.probes(p, c)...)
			continue
		}
		errs = append(errs, forbidSidecarFields(p, c)...)
	}
	return errs
}

func isSidecar(c *corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// forbidSidecarFields refuses what makes no sense for a container that ends
// before the pod is ready.
func forbidSidecarFields(path *field.Path, c *corev1.Container) field.ErrorList {
	const why = "may not be set for init containers without restartPolicy=Always"
	var errs field.ErrorList
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"lifecycle", c.Lifecycle != nil},
		{"livenessProbe", c.LivenessProbe != nil},
		{"readinessProbe", c.ReadinessProbe != nil},
		{"startupProbe", c.StartupProbe != nil},
	} {
		if f.set {
			errs = append(errs, field.Forbidden(path.Child(f.name), why))
		}
	}
	return errs
}

// container checks what init and main containers have in common.
func (sc *scope) container(path *field.Path, c *corev1.Container) field.ErrorList {
	errs := rule.Required(path.Child("name"), c.Name)
	if c.Name != "" {
		errs = append(errs, rule.DNSLabel(path.Child("name"), c.Name)...)
	}
	errs = append(errs, validateImage(path.Child("image"), c.Image)...)
	errs = append(errs, rule.OneOf(path.Child("terminationMessagePolicy"), c.TerminationMessagePolicy,
		corev1.TerminationMessageReadFile, corev1.TerminationMessageFallbackToLogsOnError)...)
	errs = append(errs, rule.OneOf(path.Child("imagePullPolicy"), c.ImagePullPolicy,
		corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)...)
	errs = append(errs, validatePorts(path.Child("ports"), c.Ports)...)
	errs = append(errs, sc.env(path.Child("env"), c.Env)...)
	errs = append(errs, validateEnvFrom(path.Child("envFrom"), c.EnvFrom)...)
	errs = append(errs, sc.mounts(path.Child("volumeMounts"), c)...)
	errs = append(errs, sc.devices(path.Child("volumeDevices"), c)...)
	errs = append(errs, sc.resources(path.Child("resources"), &c.Resources)...)
	errs = append(errs, sc.resizePolicy(path.Child("resizePolicy"), c)...)
	return append(errs, sc.containerSecurity(path.Child("securityContext"), c.SecurityContext)...)
}

func validateImage(path *field.Path, image string) field.ErrorList {
	if image == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	if strings.TrimSpace(image) != image {
		return field.ErrorList{field.Invalid(path, image, "must not have leading or trailing whitespace")}
	}
	return nil
}

func uniqueName(path *field.Path, name string, seen sets.Set[string]) field.ErrorList {
	if name == "" {
		return nil
	}
	if seen.Has(name) {
		return field.ErrorList{field.Duplicate(path.Child("name"), name)}
	}
	seen.Insert(name)
	return nil
}

func containerNames(containers []corev1.Container) sets.Set[string] {
	names := sets.New[string]()
	for i := range containers {
		names.Insert(containers[i].Name)
	}
	return names
}

const (
	maxRestartRules     = 20
	maxRestartExitCodes = 255
)

// restartRules checks a container's own restart policy, which overrides the
// pod's.
func restartRules(path *field.Path, c *corev1.Container) field.ErrorList {
	var errs field.ErrorList
	if c.RestartPolicy == nil {
		if len(c.RestartPolicyRules) > 0 {
			errs = append(errs, field.Required(path.Child("restartPolicy"), "must specify restartPolicy when restart rules are used"))
		}
	} else {
		errs = append(errs, rule.Supported(path.Child("restartPolicy"), *c.RestartPolicy,
			corev1.ContainerRestartPolicyAlways, corev1.ContainerRestartPolicyNever, corev1.ContainerRestartPolicyOnFailure)...)
	}
	rules := path.Child("restartPolicyRules")
	errs = append(errs, rule.MaxItems(rules, len(c.RestartPolicyRules), maxRestartRules)...)
	for i := range c.RestartPolicyRules {
		errs = append(errs, restartRule(rules.Index(i), &c.RestartPolicyRules[i])...)
	}
	return errs
}

func restartRule(path *field.Path, r *corev1.ContainerRestartRule) field.ErrorList {
	errs := rule.OneOf(path.Child("action"), r.Action,
		corev1.ContainerRestartRuleActionRestart, corev1.ContainerRestartRuleActionRestartAllContainers)
	codes := path.Child("exitCodes")
	if r.ExitCodes == nil {
		return append(errs, field.Required(codes, "must be specified"))
	}
	errs = append(errs, rule.OneOf(codes.Child("operator"), r.ExitCodes.Operator,
		corev1.ContainerRestartRuleOnExitCodesOpIn, corev1.ContainerRestartRuleOnExitCodesOpNotIn)...)
	return append(errs, rule.MaxItems(codes.Child("values"), len(r.ExitCodes.Values), maxRestartExitCodes)...)
}
