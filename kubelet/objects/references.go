package objects

import v1 "k8s.io/api/core/v1"

// References returns the objects the pod's spec refers to.
func References(pod *v1.Pod) map[Ref]bool {
	refs := references{namespace: pod.Namespace, found: map[Ref]bool{}}
	for _, ref := range pod.Spec.ImagePullSecrets {
		refs.add(secrets, ref.Name)
	}
	for _, list := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			refs.container(&list[i])
		}
	}
	for i := range pod.Spec.Volumes {
		refs.volume(&pod.Spec.Volumes[i])
	}
	return refs.found
}

type references struct {
	namespace string
	found     map[Ref]bool
}

func (r *references) add(k kind, name string) {
	if name != "" {
		r.found[Ref{k, r.namespace, name}] = true
	}
}

func (r *references) container(c *v1.Container) {
	for _, from := range c.EnvFrom {
		if from.ConfigMapRef != nil {
			r.add(configMaps, from.ConfigMapRef.Name)
		}
		if from.SecretRef != nil {
			r.add(secrets, from.SecretRef.Name)
		}
	}
	for _, variable := range c.Env {
		from := variable.ValueFrom
		if from == nil {
			continue
		}
		if from.ConfigMapKeyRef != nil {
			r.add(configMaps, from.ConfigMapKeyRef.Name)
		}
		if from.SecretKeyRef != nil {
			r.add(secrets, from.SecretKeyRef.Name)
		}
	}
}

func (r *references) volume(v *v1.Volume) {
	if v.ConfigMap != nil {
		r.add(configMaps, v.ConfigMap.Name)
	}
	if v.Secret != nil {
		r.add(secrets, v.Secret.SecretName)
	}
	if v.Projected == nil {
		return
	}
	for _, p := range v.Projected.Sources {
		if p.ConfigMap != nil {
			r.add(configMaps, p.ConfigMap.Name)
		}
		if p.Secret != nil {
			r.add(secrets, p.Secret.Name)
		}
	}
}
