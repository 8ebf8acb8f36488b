package podspec

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const notEphemeral = "cannot be set for an Ephemeral Container"

// ephemeralContainers checks the containers that were added to a running pod.
func (sc *scope) ephemeralContainers(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	targets := containerNames(sc.spec.Containers).Union(containerNames(sc.spec.InitContainers))
	names := targets.Clone()
	for i := range sc.spec.EphemeralContainers {
		e, p := &sc.spec.EphemeralContainers[i], path.Index(i)
		c := corev1.Container(e.EphemeralContainerCommon)
		errs = append(errs, sc.container(p, &c)...)
		errs = append(errs, uniqueName(p, c.Name, names)...)
		errs = append(errs, forbidEphemeralFields(p, &c)...)
		errs = append(errs, validateTarget(p.Child("targetContainerName"), e.TargetContainerName, targets)...)
	}
	return errs
}

func validateTarget(path *field.Path, target string, containers sets.Set[string]) field.ErrorList {
	if target == "" || containers.Has(target) {
		return nil
	}
	return field.ErrorList{field.NotFound(path, target)}
}

func forbidEphemeralFields(path *field.Path, c *corev1.Container) field.ErrorList {
	var errs field.ErrorList
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"ports", len(c.Ports) > 0},
		{"livenessProbe", c.LivenessProbe != nil},
		{"readinessProbe", c.ReadinessProbe != nil},
		{"startupProbe", c.StartupProbe != nil},
		{"lifecycle", c.Lifecycle != nil},
		{"resizePolicy", len(c.ResizePolicy) > 0},
		{"restartPolicy", c.RestartPolicy != nil},
		{"restartPolicyRules", len(c.RestartPolicyRules) > 0},
		{"resources", len(c.Resources.Limits)+len(c.Resources.Requests)+len(c.Resources.Claims) > 0},
	} {
		if f.set {
			errs = append(errs, field.Forbidden(path.Child(f.name), notEphemeral))
		}
	}
	for i, m := range c.VolumeMounts {
		mount := path.Child("volumeMounts").Index(i)
		if m.SubPath != "" {
			errs = append(errs, field.Forbidden(mount.Child("subPath"), notEphemeral))
		}
		if m.SubPathExpr != "" {
			errs = append(errs, field.Forbidden(mount.Child("subPathExpr"), notEphemeral))
		}
	}
	return errs
}
