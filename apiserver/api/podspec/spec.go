package podspec

import (
	"math"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/rule"
)

// Options say where a specification stands.
type Options struct {
	// Pod: the specification is a pod's own, not a template's.
	Pod bool
	// Old is the specification before an update, nil otherwise. What was
	// wrong there may stay wrong where Kubernetes has tightened a rule over
	// the years.
	Old *corev1.PodSpec
}

// scope is what the parts of one specification need to know of each other.
type scope struct {
	spec     *corev1.PodSpec
	options  Options
	volumes  map[string]*corev1.Volume
	claims   sets.Set[string]
	grace    int64
	restarts corev1.RestartPolicy
}

// ValidateSpec returns what is wrong with a specification. It must have been
// defaulted.
func ValidateSpec(path *field.Path, s *corev1.PodSpec, options Options) field.ErrorList {
	sc := &scope{spec: s, options: options, grace: defaultGracePeriod, restarts: s.RestartPolicy}
	if s.TerminationGracePeriodSeconds != nil {
		sc.grace = *s.TerminationGracePeriodSeconds
	}
	errs := sc.volumeList(path.Child("volumes"))
	errs = append(errs, sc.resourceClaims(path.Child("resourceClaims"))...)
	errs = append(errs, sc.containers(path.Child("containers"))...)
	errs = append(errs, sc.initContainers(path.Child("initContainers"))...)
	errs = append(errs, sc.ephemeralContainers(path.Child("ephemeralContainers"))...)
	errs = append(errs, sc.hostPorts(path)...)
	errs = append(errs, sc.podResources(path.Child("resources"))...)
	errs = append(errs, validateRunning(path, s)...)
	errs = append(errs, validatePlacement(path, s)...)
	errs = append(errs, sc.podSecurity(path)...)
	errs = append(errs, validateDNS(path, s)...)
	errs = append(errs, validateNames(path, s)...)
	return errs
}

// validateRunning checks when the pod starts, restarts and ends.
func validateRunning(path *field.Path, s *corev1.PodSpec) field.ErrorList {
	errs := rule.OneOf(path.Child("restartPolicy"), s.RestartPolicy,
		corev1.RestartPolicyAlways, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever)
	if d := s.ActiveDeadlineSeconds; d != nil && (*d < 1 || *d > math.MaxInt32) {
		errs = append(errs, field.Invalid(path.Child("activeDeadlineSeconds"), *d, validation.InclusiveRangeError(1, math.MaxInt32)))
	}
	gates := sets.New[corev1.PodConditionType]()
	for i, g := range s.ReadinessGates {
		p := path.Child("readinessGates").Index(i).Child("conditionType")
		errs = append(errs, rule.QualifiedName(p, string(g.ConditionType))...)
		gates.Insert(g.ConditionType)
	}
	if s.SetHostnameAsFQDN != nil && *s.SetHostnameAsFQDN && s.HostNetwork && s.HostnameOverride != nil {
		errs = append(errs, field.Forbidden(path.Child("setHostnameAsFQDN"), "may not be set when hostnameOverride is set"))
	}
	return errs
}

// validateNames checks what the specification refers to by name.
func validateNames(path *field.Path, s *corev1.PodSpec) field.ErrorList {
	var errs field.ErrorList
	names := []struct {
		field string
		value string
		check func(string) []string
	}{
		{"serviceAccountName", s.ServiceAccountName, subdomain},
		{"nodeName", s.NodeName, subdomain},
		{"priorityClassName", s.PriorityClassName, subdomain},
		{"hostname", s.Hostname, validation.IsDNS1123Label},
		{"subdomain", s.Subdomain, validation.IsDNS1123Label},
		{"schedulerName", s.SchedulerName, validation.IsDNS1123Subdomain},
	}
	for _, n := range names {
		if n.value != "" {
			errs = append(errs, rule.Invalid(path.Child(n.field), n.value, n.check(n.value))...)
		}
	}
	if s.RuntimeClassName != nil {
		errs = append(errs, rule.Invalid(path.Child("runtimeClassName"), *s.RuntimeClassName, subdomain(*s.RuntimeClassName))...)
	}
	if s.HostnameOverride != nil {
		errs = append(errs, validateHostnameOverride(path.Child("hostnameOverride"), s)...)
	}
	if s.PreemptionPolicy != nil {
		errs = append(errs, rule.OneOf(path.Child("preemptionPolicy"), *s.PreemptionPolicy, corev1.PreemptLowerPriority, corev1.PreemptNever)...)
	}
	return errs
}

const maxHostname = 64

func validateHostnameOverride(path *field.Path, s *corev1.PodSpec) field.ErrorList {
	errs := rule.DNSSubdomain(path, *s.HostnameOverride)
	errs = append(errs, rule.MaxLength(path, *s.HostnameOverride, maxHostname)...)
	if s.HostNetwork {
		errs = append(errs, field.Forbidden(path, "may not be specified when hostNetwork is true"))
	}
	return errs
}

// validatePlacement checks where the pod may run.
func validatePlacement(path *field.Path, s *corev1.PodSpec) field.ErrorList {
	errs := metavalidation.ValidateLabels(s.NodeSelector, path.Child("nodeSelector"))
	errs = append(errs, validateAffinity(path.Child("affinity"), s.Affinity)...)
	errs = append(errs, ValidateTolerations(path.Child("tolerations"), s.Tolerations)...)
	errs = append(errs, validateSpread(path.Child("topologySpreadConstraints"), s.TopologySpreadConstraints)...)
	return append(errs, validateSchedulingGates(path.Child("schedulingGates"), s.SchedulingGates)...)
}

func validateSchedulingGates(path *field.Path, gates []corev1.PodSchedulingGate) field.ErrorList {
	var errs field.ErrorList
	seen := sets.New[string]()
	for i, g := range gates {
		errs = append(errs, rule.QualifiedName(path.Index(i), g.Name)...)
		if seen.Has(g.Name) {
			errs = append(errs, field.Duplicate(path.Index(i), g.Name))
		}
		seen.Insert(g.Name)
	}
	return errs
}

func subdomain(name string) []string { return apivalidation.NameIsDNSSubdomain(name, false) }
