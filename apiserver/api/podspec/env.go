package podspec

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/rule"
)

// What of a pod its containers may see, in variables and in files.
var (
	envFields = sets.New("metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName",
		"spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs")
	fileFields       = sets.New("metadata.name", "metadata.namespace", "metadata.uid", "metadata.labels", "metadata.annotations")
	visibleResources = sets.New("limits.cpu", "limits.memory", "limits.ephemeral-storage",
		"requests.cpu", "requests.memory", "requests.ephemeral-storage")
)

func (sc *scope) env(path *field.Path, env []corev1.EnvVar) field.ErrorList {
	var errs field.ErrorList
	for i := range env {
		p := path.Index(i)
		if env[i].Name == "" {
			errs = append(errs, field.Required(p.Child("name"), ""))
		} else {
			errs = append(errs, rule.Invalid(p.Child("name"), env[i].Name, validation.IsRelaxedEnvVarName(env[i].Name))...)
		}
		errs = append(errs, sc.envSource(p.Child("valueFrom"), &env[i])...)
	}
	return errs
}

func (sc *scope) envSource(path *field.Path, e *corev1.EnvVar) field.ErrorList {
	from := e.ValueFrom
	if from == nil {
		return nil
	}
	var errs field.ErrorList
	given := 0
	add := func(found field.ErrorList) {
		given++
		errs = append(errs, found...)
	}
	if from.FieldRef != nil {
		add(validateFieldRef(path.Child("fieldRef"), from.FieldRef, envFields))
	}
	if from.ResourceFieldRef != nil {
		add(validateResourceRef(path.Child("resourceFieldRef"), from.ResourceFieldRef, false))
	}
	if from.ConfigMapKeyRef != nil {
		add(validateKeyRef(path.Child("configMapKeyRef"), from.ConfigMapKeyRef.Name, from.ConfigMapKeyRef.Key))
	}
	if from.SecretKeyRef != nil {
		add(validateKeyRef(path.Child("secretKeyRef"), from.SecretKeyRef.Name, from.SecretKeyRef.Key))
	}
	if from.FileKeyRef != nil {
		add(sc.fileKeyRef(path.Child("fileKeyRef"), from.FileKeyRef))
	}
	switch {
	case given == 0:
		errs = append(errs, field.Invalid(path, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"))
	case e.Value != "":
		errs = append(errs, field.Invalid(path, "", "may not be specified when `value` is not empty"))
	case given > 1:
		errs = append(errs, field.Invalid(path, "", "may not have more than one field specified at a time"))
	}
	return errs
}

func (sc *scope) fileKeyRef(path *field.Path, r *corev1.FileKeySelector) field.ErrorList {
	errs := rule.Required(path.Child("key"), r.Key)
	if r.Key != "" {
		errs = append(errs, rule.Invalid(path.Child("key"), r.Key, validation.IsRelaxedEnvVarName(r.Key))...)
	}
	if r.VolumeName == "" {
		errs = append(errs, field.Required(path.Child("volumeName"), ""))
	} else if v, ok := sc.volumes[r.VolumeName]; !ok {
		errs = append(errs, field.NotFound(path.Child("volumeName"), r.VolumeName))
	} else if v.EmptyDir == nil {
		errs = append(errs, field.Invalid(path.Child("volumeName"), r.VolumeName, "referenced volume must be of type emptyDir"))
	}
	if r.Path == "" {
		return append(errs, field.Required(path.Child("path"), ""))
	}
	return append(errs, validateLocalPath(path.Child("path"), r.Path)...)
}

func validateKeyRef(path *field.Path, name, key string) field.ErrorList {
	errs := rule.Required(path.Child("name"), name)
	if key == "" {
		return append(errs, field.Required(path.Child("key"), ""))
	}
	return append(errs, rule.Invalid(path.Child("key"), key, validation.IsConfigMapKey(key))...)
}

// validateFieldRef checks a reference to a field of the pod. Labels and
// annotations can be referred to one by one.
func validateFieldRef(path *field.Path, r *corev1.ObjectFieldSelector, allowed sets.Set[string]) field.ErrorList {
	if r.APIVersion == "" {
		return field.ErrorList{field.Required(path.Child("apiVersion"), "")}
	}
	if r.FieldPath == "" {
		return field.ErrorList{field.Required(path.Child("fieldPath"), "")}
	}
	at := path.Child("fieldPath")
	parent, key, subscripted := splitSubscript(r.FieldPath)
	switch {
	case subscripted && parent == "metadata.annotations":
		return rule.QualifiedName(at, strings.ToLower(key))
	case subscripted && parent == "metadata.labels":
		return rule.QualifiedName(at, key)
	case subscripted:
		return field.ErrorList{field.Invalid(at, r.FieldPath, "does not support subscript")}
	case r.APIVersion != "v1" || !knownField(r.FieldPath):
		return field.ErrorList{field.Invalid(at, r.FieldPath,
			fmt.Sprintf("error converting fieldPath: field label not supported: %s", r.FieldPath))}
	case !allowed.Has(r.FieldPath):
		return field.ErrorList{field.NotSupported(at, r.FieldPath, sets.List(allowed))}
	}
	return nil
}

func knownField(path string) bool {
	return envFields.Has(path) || fileFields.Has(path) ||
		path == "spec.restartPolicy" || path == "spec.schedulerName" || path == "status.phase"
}

// splitSubscript takes metadata.labels['app'] apart.
func splitSubscript(path string) (parent, key string, ok bool) {
	parent, rest, found := strings.Cut(path, "['")
	if !found || !strings.HasSuffix(rest, "']") {
		return path, "", false
	}
	return parent, strings.TrimSuffix(rest, "']"), true
}

func validateResourceRef(path *field.Path, r *corev1.ResourceFieldSelector, file bool) field.ErrorList {
	if file && r.ContainerName == "" {
		return field.ErrorList{field.Required(path.Child("containerName"), "")}
	}
	if r.Resource == "" {
		return field.ErrorList{field.Required(path.Child("resource"), "")}
	}
	if !visibleResources.Has(r.Resource) && !strings.HasPrefix(r.Resource, "limits.hugepages-") && !strings.HasPrefix(r.Resource, "requests.hugepages-") {
		return field.ErrorList{field.NotSupported(path.Child("resource"), r.Resource, sets.List(visibleResources))}
	}
	return validateDivisor(path.Child("divisor"), r.Resource, r.Divisor)
}

var (
	cpuDivisors  = sets.New("1m", "1")
	byteDivisors = sets.New("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")
)

func validateDivisor(path *field.Path, name string, divisor resource.Quantity) field.ErrorList {
	if divisor.IsZero() {
		return nil
	}
	_, kind, _ := strings.Cut(name, ".")
	allowed, text := byteDivisors, "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the %s resource"
	if kind == "cpu" {
		allowed, text = cpuDivisors, "only divisor's values 1m and 1 are supported with the %s resource"
	}
	if allowed.Has(divisor.String()) {
		return nil
	}
	return field.ErrorList{field.Invalid(path, name, fmt.Sprintf(text, kind))}
}

func validateEnvFrom(path *field.Path, sources []corev1.EnvFromSource) field.ErrorList {
	var errs field.ErrorList
	for i, s := range sources {
		p := path.Index(i)
		if s.Prefix != "" {
			errs = append(errs, rule.Invalid(p.Child("prefix"), s.Prefix, validation.IsRelaxedEnvVarName(s.Prefix))...)
		}
		if s.ConfigMapRef != nil {
			errs = append(errs, rule.Required(p.Child("configMapRef", "name"), s.ConfigMapRef.Name)...)
		}
		if s.SecretRef != nil {
			errs = append(errs, rule.Required(p.Child("secretRef", "name"), s.SecretRef.Name)...)
		}
		switch {
		case s.ConfigMapRef == nil && s.SecretRef == nil:
			errs = append(errs, field.Invalid(p, "", "must specify one of: `configMapRef` or `secretRef`"))
		case s.ConfigMapRef != nil && s.SecretRef != nil:
			errs = append(errs, field.Invalid(p, "", "may not have more than one field specified at a time"))
		}
	}
	return errs
}
