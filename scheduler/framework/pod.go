package framework

import (
	v1 "k8s.io/api/core/v1"
	corev1helpers "k8s.io/component-helpers/scheduling/corev1"
)

// PodInfo is a pod with what scheduling needs of it computed once. It is
// immutable: a changed pod is a new PodInfo.
type PodInfo struct {
	Pod      *v1.Pod
	Priority int32
	// Requests is what the pod needs; Scored is the same with defaults for
	// containers that ask for no CPU or memory.
	Requests Resources
	Scored   Resources
	Ports    []HostPort
	// Terms of pod (anti-)affinity.
	RequiredAffinity      []AffinityTerm
	RequiredAntiAffinity  []AffinityTerm
	PreferredAffinity     []AffinityTerm
	PreferredAntiAffinity []AffinityTerm
}

// NewPodInfo compiles the pod. The error names a selector that cannot be
// parsed; the PodInfo is then complete but for pod affinity.
func NewPodInfo(pod *v1.Pod) (*PodInfo, error) {
	info := &PodInfo{Pod: pod, Priority: corev1helpers.PodPriority(pod), Ports: PodHostPorts(pod)}
	info.Requests, info.Scored = podRequests(pod)
	return info, info.compileAffinity()
}

func (p *PodInfo) compileAffinity() error {
	affinity := p.Pod.Spec.Affinity
	if affinity == nil {
		return nil
	}
	var err error
	if a := affinity.PodAffinity; a != nil {
		if p.RequiredAffinity, err = requiredTerms(p.Pod, a.RequiredDuringSchedulingIgnoredDuringExecution); err != nil {
			return err
		}
		if p.PreferredAffinity, err = preferredTerms(p.Pod, a.PreferredDuringSchedulingIgnoredDuringExecution); err != nil {
			return err
		}
	}
	if a := affinity.PodAntiAffinity; a != nil {
		if p.RequiredAntiAffinity, err = requiredTerms(p.Pod, a.RequiredDuringSchedulingIgnoredDuringExecution); err != nil {
			return err
		}
		if p.PreferredAntiAffinity, err = preferredTerms(p.Pod, a.PreferredDuringSchedulingIgnoredDuringExecution); err != nil {
			return err
		}
	}
	return nil
}

// HasAffinity reports whether the pod has any pod (anti-)affinity term.
func (p *PodInfo) HasAffinity() bool {
	return len(p.RequiredAffinity)+len(p.RequiredAntiAffinity)+len(p.PreferredAffinity)+len(p.PreferredAntiAffinity) > 0
}

// Key returns the pod's namespace/name.
func (p *PodInfo) Key() string { return p.Pod.Namespace + "/" + p.Pod.Name }

// Terminal reports whether the pod has ended and so holds nothing.
func Terminal(pod *v1.Pod) bool {
	return pod.Status.Phase == v1.PodSucceeded || pod.Status.Phase == v1.PodFailed
}

// ClaimNames lists the persistent volume claims that the pod mounts, its
// generic ephemeral volumes included.
func ClaimNames(pod *v1.Pod) []string {
	var names []string
	for i := range pod.Spec.Volumes {
		volume := &pod.Spec.Volumes[i]
		switch {
		case volume.PersistentVolumeClaim != nil:
			names = append(names, volume.PersistentVolumeClaim.ClaimName)
		case volume.Ephemeral != nil:
			names = append(names, pod.Name+"-"+volume.Name)
		}
	}
	return names
}
