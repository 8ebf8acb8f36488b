package podspec

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"
)

const (
	defaultSchedulerName       = "default-scheduler"
	defaultGracePeriod   int64 = 30
)

// DefaultTemplate fills a pod template.
func DefaultTemplate(t *corev1.PodTemplateSpec) { defaultSpec(&t.Spec) }

// DefaultPod fills a pod: what a template gets, and what only running pods
// need.
func DefaultPod(p *corev1.Pod) {
	// Requests follow limits before the resize policies follow requests.
	eachContainer(&p.Spec, defaultRequests)
	defaultPodRequests(&p.Spec)
	eachContainer(&p.Spec, defaultResizePolicy)
	if p.Spec.EnableServiceLinks == nil {
		p.Spec.EnableServiceLinks = ptr.To(true)
	}
	if p.Spec.HostNetwork {
		eachContainer(&p.Spec, defaultHostPorts)
	}
	defaultSpec(&p.Spec)
}

func defaultSpec(s *corev1.PodSpec) {
	setDefault(&s.DNSPolicy, corev1.DNSClusterFirst)
	setDefault(&s.RestartPolicy, corev1.RestartPolicyAlways)
	setDefault(&s.SchedulerName, defaultSchedulerName)
	if s.SecurityContext == nil {
		s.SecurityContext = &corev1.PodSecurityContext{}
	}
	if s.TerminationGracePeriodSeconds == nil {
		s.TerminationGracePeriodSeconds = ptr.To(defaultGracePeriod)
	}
	defaultServiceAccount(s)
	for i := range s.Volumes {
		DefaultVolume(&s.Volumes[i])
	}
	for i := range s.InitContainers {
		defaultContainer(&s.InitContainers[i])
	}
	for i := range s.Containers {
		defaultContainer(&s.Containers[i])
	}
	for i := range s.EphemeralContainers {
		c := corev1.Container(s.EphemeralContainers[i].EphemeralContainerCommon)
		defaultContainer(&c)
		s.EphemeralContainers[i].EphemeralContainerCommon = corev1.EphemeralContainerCommon(c)
	}
	roundUp(s.Overhead)
	if s.Resources != nil {
		roundUp(s.Resources.Limits)
		roundUp(s.Resources.Requests)
	}
}

// defaultServiceAccount keeps the deprecated alias in step with its successor.
func defaultServiceAccount(s *corev1.PodSpec) {
	if s.ServiceAccountName == "" {
		s.ServiceAccountName = s.DeprecatedServiceAccount
	}
	s.DeprecatedServiceAccount = s.ServiceAccountName
}

func eachContainer(s *corev1.PodSpec, f func(*corev1.Container)) {
	for i := range s.InitContainers {
		f(&s.InitContainers[i])
	}
	for i := range s.Containers {
		f(&s.Containers[i])
	}
}

// defaultRequests asks for as much as a container may use where it does not
// say what it asks for.
func defaultRequests(c *corev1.Container) {
	for name, limit := range c.Resources.Limits {
		if _, ok := c.Resources.Requests[name]; ok {
			continue
		}
		if c.Resources.Requests == nil {
			c.Resources.Requests = corev1.ResourceList{}
		}
		c.Resources.Requests[name] = limit.DeepCopy()
	}
}

func defaultHostPorts(c *corev1.Container) {
	for i := range c.Ports {
		if c.Ports[i].HostPort == 0 {
			c.Ports[i].HostPort = c.Ports[i].ContainerPort
		}
	}
}

func defaultResizePolicy(c *corev1.Container) {
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		if _, ok := c.Resources.Requests[name]; !ok || hasResizePolicy(c, name) {
			continue
		}
		c.ResizePolicy = append(c.ResizePolicy, corev1.ContainerResizePolicy{
			ResourceName: name, RestartPolicy: corev1.NotRequired,
		})
	}
}

func hasResizePolicy(c *corev1.Container, name corev1.ResourceName) bool {
	for _, p := range c.ResizePolicy {
		if p.ResourceName == name {
			return true
		}
	}
	return false
}

// RoundUp brings every quantity of a resource list to milli scale, the finest
// that is kept.
func RoundUp(list corev1.ResourceList) { roundUp(list) }

func roundUp(list corev1.ResourceList) {
	for name, q := range list {
		q.RoundUp(resource.Milli)
		list[name] = q
	}
}

// setDefault gives an empty string a value.
func setDefault[S ~string](field *S, value S) {
	if *field == "" {
		*field = value
	}
}

// setDefaultPtr gives an unset pointer a value.
func setDefaultPtr[T any](field **T, value T) {
	if *field == nil {
		*field = &value
	}
}
