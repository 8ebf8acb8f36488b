package podspec

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	resourcehelper "k8s.io/component-helpers/resource"

	"github.com/yare-io/yare/apiserver/api/rule"
)

const notInteger = "must be an integer"

// resources checks what a container asks for and what it may use at most.
func (sc *scope) resources(path *field.Path, r *corev1.ResourceRequirements) field.ErrorList {
	errs := validateRequirements(path, r, validateContainerResource)
	seen := sets.New[string]()
	for i, claim := range r.Claims {
		p := path.Child("claims").Index(i)
		if claim.Name == "" {
			errs = append(errs, field.Required(p.Child("name"), ""))
			continue
		}
		key := claim.Name + "/" + claim.Request
		if seen.Has(key) || claim.Request != "" && seen.Has(claim.Name+"/") {
			errs = append(errs, field.Duplicate(p, claim.Name))
		}
		seen.Insert(key)
		if !sc.claims.Has(claim.Name) {
			errs = append(errs, field.NotFound(p, claim.Name))
		}
	}
	return errs
}

// podResources checks the requirements of the pod as a whole.
func (sc *scope) podResources(path *field.Path) field.ErrorList {
	r := sc.spec.Resources
	if r == nil {
		return nil
	}
	errs := validateRequirements(path, r, validatePodResource)
	if len(r.Claims) > 0 {
		errs = append(errs, field.Forbidden(path.Child("claims"), "claims may not be set for Resources at pod-level"))
	}
	pod := &corev1.Pod{Spec: *sc.spec}
	asked := resourcehelper.AggregateContainerRequests(pod, resourcehelper.PodResourcesOptions{})
	for _, name := range sortedNames(asked) {
		if !resourcehelper.IsSupportedPodLevelResource(name) {
			continue
		}
		total := asked[name]
		if request, ok := r.Requests[name]; ok && request.Cmp(total) < 0 {
			errs = append(errs, field.Invalid(path.Child("requests").Key(string(name)), request.String(),
				fmt.Sprintf("must be greater than or equal to aggregate container requests of %s", total.String())))
		}
	}
	return errs
}

func validatePodResource(path *field.Path, name corev1.ResourceName) field.ErrorList {
	if resourcehelper.IsSupportedPodLevelResource(name) {
		return nil
	}
	return field.ErrorList{field.NotSupported(path, name, slices.Sorted(slices.Values(resourcehelper.SupportedPodLevelResources().UnsortedList())))}
}

// ValidateRequirements checks limits and requests of a container on their own.
func ValidateRequirements(path *field.Path, r *corev1.ResourceRequirements) field.ErrorList {
	return validateRequirements(path, r, validateContainerResource)
}

func validateRequirements(path *field.Path, r *corev1.ResourceRequirements, validName func(*field.Path, corev1.ResourceName) field.ErrorList) field.ErrorList {
	var errs field.ErrorList
	check := func(path *field.Path, list corev1.ResourceList) {
		for _, name := range sortedNames(list) {
			p := path.Key(string(name))
			errs = append(errs, validName(p, name)...)
			errs = append(errs, ValidateAmount(p, name, list[name])...)
		}
	}
	check(path.Child("limits"), r.Limits)
	check(path.Child("requests"), r.Requests)
	for _, name := range sortedNames(r.Requests) {
		errs = append(errs, withinLimit(path, name, r)...)
	}
	return append(errs, hugePages(path, r)...)
}

// withinLimit wants a request not to be above its limit, and to be exactly the
// limit for what cannot be overcommitted.
func withinLimit(path *field.Path, name corev1.ResourceName, r *corev1.ResourceRequirements) field.ErrorList {
	request := r.Requests[name]
	limit, limited := r.Limits[name]
	rigid := !overcommits(name)
	switch {
	case !limited && rigid:
		return field.ErrorList{field.Required(path.Child("limits"), "Limit must be set for non overcommitable resources")}
	case limited && rigid && request.Cmp(limit) != 0:
		return field.ErrorList{field.Invalid(path.Child("requests"), request.String(), fmt.Sprintf("must be equal to %s limit of %s", name, limit.String()))}
	case limited && request.Cmp(limit) > 0:
		return field.ErrorList{field.Invalid(path.Child("requests"), request.String(), fmt.Sprintf("must be less than or equal to %s limit of %s", name, limit.String()))}
	}
	return nil
}

// hugePages wants memory or processor to be asked for beside huge pages.
func hugePages(path *field.Path, r *corev1.ResourceRequirements) field.ErrorList {
	pages, others := false, false
	for _, list := range []corev1.ResourceList{r.Limits, r.Requests} {
		for name := range list {
			pages = pages || isHugePages(name)
			others = others || name == corev1.ResourceCPU || name == corev1.ResourceMemory
		}
	}
	if pages && !others {
		return field.ErrorList{field.Forbidden(path, "HugePages require cpu or memory")}
	}
	return nil
}

// ValidateAmount checks a quantity of a resource: not negative, and whole for
// what comes in pieces.
func ValidateAmount(path *field.Path, name corev1.ResourceName, q resource.Quantity) field.ErrorList {
	errs := rule.Quantity(path, q)
	if isInteger(name) && q.MilliValue()%1000 != 0 {
		errs = append(errs, field.Invalid(path, q.String(), notInteger))
	}
	return errs
}

var standardResources = sets.New(corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage)

// validateContainerResource wants a resource that containers can have: one of
// Kubernetes' own, huge pages of some size, or an extended one.
func validateContainerResource(path *field.Path, name corev1.ResourceName) field.ErrorList {
	if errs := ValidateResourceName(path, name); len(errs) > 0 {
		return errs
	}
	s := string(name)
	switch {
	case !strings.Contains(s, "/"):
		if !standardResources.Has(name) && !isHugePages(name) {
			return field.ErrorList{field.Invalid(path, name, "must be a standard resource for containers")}
		}
	case !native(name) && !IsExtendedResource(name):
		return field.ErrorList{field.Invalid(path, name, "doesn't follow extended resource name standard")}
	}
	return nil
}

// ValidateResourceName wants a name that any resource can have.
func ValidateResourceName(path *field.Path, name corev1.ResourceName) field.ErrorList {
	return rule.QualifiedName(path, string(name))
}

// IsExtendedResource reports whether a resource is one that somebody else than
// Kubernetes defines.
func IsExtendedResource(name corev1.ResourceName) bool {
	s := string(name)
	if !strings.Contains(s, "/") || native(name) || strings.HasPrefix(s, corev1.DefaultResourceRequestsPrefix) {
		return false
	}
	return len(validation.IsQualifiedName(corev1.DefaultResourceRequestsPrefix+s)) == 0
}

func native(name corev1.ResourceName) bool {
	return !strings.Contains(string(name), "/") || strings.Contains(string(name), corev1.ResourceDefaultNamespacePrefix)
}

func isHugePages(name corev1.ResourceName) bool {
	return strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix)
}

func isInteger(name corev1.ResourceName) bool { return IsExtendedResource(name) }

func overcommits(name corev1.ResourceName) bool { return native(name) && !isHugePages(name) }

// resizePolicy checks what a change of resources does to a running container.
func (sc *scope) resizePolicy(path *field.Path, c *corev1.Container) field.ErrorList {
	var errs field.ErrorList
	seen := sets.New[corev1.ResourceName]()
	for i, p := range c.ResizePolicy {
		at := path.Index(i)
		if seen.Has(p.ResourceName) {
			errs = append(errs, field.Duplicate(at, p.ResourceName))
		}
		seen.Insert(p.ResourceName)
		errs = append(errs, rule.OneOf(at.Child("resourceName"), p.ResourceName, corev1.ResourceCPU, corev1.ResourceMemory)...)
		errs = append(errs, rule.OneOf(at.Child("restartPolicy"), p.RestartPolicy, corev1.NotRequired, corev1.RestartContainer)...)
		if sc.restarts == corev1.RestartPolicyNever && !isSidecar(c) && p.RestartPolicy != corev1.NotRequired && p.RestartPolicy != "" {
			errs = append(errs, field.Invalid(at.Child("restartPolicy"), p.RestartPolicy, "must be 'NotRequired' when `restartPolicy` is 'Never'"))
		}
	}
	return errs
}

// resourceClaims checks the claims that the pod's containers can refer to.
func (sc *scope) resourceClaims(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	sc.claims = sets.New[string]()
	for i, c := range sc.spec.ResourceClaims {
		p := path.Index(i)
		if c.Name == "" {
			errs = append(errs, field.Required(p.Child("name"), ""))
		} else if sc.claims.Has(c.Name) {
			errs = append(errs, field.Duplicate(p.Child("name"), c.Name))
		} else {
			errs = append(errs, rule.DNSLabel(p.Child("name"), c.Name)...)
			sc.claims.Insert(c.Name)
		}
		if (c.ResourceClaimName == nil) == (c.ResourceClaimTemplateName == nil) {
			errs = append(errs, field.Invalid(p, c, "must specify exactly one of: `resourceClaimName`, `resourceClaimTemplateName`"))
		}
		if c.ResourceClaimName != nil {
			errs = append(errs, rule.DNSSubdomain(p.Child("resourceClaimName"), *c.ResourceClaimName)...)
		}
		if c.ResourceClaimTemplateName != nil {
			errs = append(errs, rule.DNSSubdomain(p.Child("resourceClaimTemplateName"), *c.ResourceClaimTemplateName)...)
		}
	}
	return errs
}

func sortedNames(list corev1.ResourceList) []corev1.ResourceName {
	names := make([]corev1.ResourceName, 0, len(list))
	for name := range list {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
