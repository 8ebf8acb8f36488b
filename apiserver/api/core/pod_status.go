package core

import (
	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/rule"
)

// validatePodStatus returns what is wrong with a change of a pod's status.
func validatePodStatus(p, old *corev1.Pod) field.ErrorList {
	at := field.NewPath("status")
	var errs field.ErrorList
	if name := p.Status.NominatedNodeName; name != "" {
		errs = append(errs, rule.DNSSubdomain(at.Child("nominatedNodeName"), name)...)
	}
	if old.Status.QOSClass != "" && p.Status.QOSClass != old.Status.QOSClass {
		errs = append(errs, field.Invalid(at.Child("qosClass"), p.Status.QOSClass, apivalidation.FieldImmutableErrorMsg))
	}
	if g := p.Status.ObservedGeneration; g < 0 {
		errs = append(errs, field.Invalid(at.Child("observedGeneration"), g, apivalidation.IsNegativeErrorMsg))
	}
	errs = append(errs, validateEnded(at.Child("containerStatuses"), p.Status.ContainerStatuses, old.Status.ContainerStatuses, &old.Spec, old.Spec.Containers)...)
	errs = append(errs, validateEnded(at.Child("initContainerStatuses"), p.Status.InitContainerStatuses, old.Status.InitContainerStatuses, &old.Spec, old.Spec.InitContainers)...)
	errs = append(errs, validateIPs(at.Child("podIPs"), podIPs(p), podIPs(old))...)
	return append(errs, validateIPs(at.Child("hostIPs"), hostIPs(p), hostIPs(old))...)
}

// validateEnded refuses to bring a container back that ended for good.
func validateEnded(path *field.Path, is, was []corev1.ContainerStatus, spec *corev1.PodSpec, containers []corev1.Container) field.ErrorList {
	if spec.RestartPolicy == corev1.RestartPolicyAlways {
		return nil
	}
	restarts := sets.New[string]()
	for _, c := range containers {
		if c.RestartPolicy != nil || len(c.RestartPolicyRules) > 0 {
			restarts.Insert(c.Name)
		}
	}
	var errs field.ErrorList
	for i, o := range was {
		ended := o.State.Terminated
		if ended == nil || restarts.Has(o.Name) || ended.ExitCode != 0 && spec.RestartPolicy == corev1.RestartPolicyOnFailure {
			continue
		}
		for _, n := range is {
			if n.Name == o.Name && n.State.Terminated == nil {
				errs = append(errs, field.Forbidden(path.Index(i).Child("state"), "may not be transitioned to non-terminated state"))
			}
		}
	}
	return errs
}

func podIPs(p *corev1.Pod) []string {
	ips := make([]string, len(p.Status.PodIPs))
	for i, ip := range p.Status.PodIPs {
		ips[i] = ip.IP
	}
	return ips
}

func hostIPs(p *corev1.Pod) []string {
	ips := make([]string, len(p.Status.HostIPs))
	for i, ip := range p.Status.HostIPs {
		ips[i] = ip.IP
	}
	return ips
}

// validateIPs wants one address, or one of each family.
func validateIPs(path *field.Path, ips, old []string) field.ErrorList {
	var errs field.ErrorList
	for i, ip := range ips {
		errs = append(errs, rule.IP(path.Index(i), ip, old...)...)
	}
	if len(errs) > 0 || len(ips) < 2 {
		return errs
	}
	if len(ips) > 2 || isIPv6(ips[0]) == isIPv6(ips[1]) {
		errs = append(errs, field.Invalid(path, ips, "may specify no more than one IP for each IP family"))
	}
	seen := sets.New[string]()
	for i, ip := range ips {
		if seen.Has(ip) {
			errs = append(errs, field.Duplicate(path.Index(i), ip))
		}
		seen.Insert(ip)
	}
	return errs
}
