package builtin

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/yare-io/yare/admission"
)

// TolerationSeconds is how long pods stay on a node that fails, in seconds; nil
// means 300.
type TolerationSeconds struct {
	NotReady, Unreachable *int64
}

// defaultTolerationSeconds lets pods stay on a failing node for a while, unless
// they say for how long themselves.
type defaultTolerationSeconds struct {
	plugin
	seconds map[string]int64 // by the taint's key
}

func newDefaultTolerationSeconds(deps Deps) (admission.Plugin, error) {
	config := deps.Config.TolerationSeconds
	return &defaultTolerationSeconds{
		plugin: on("DefaultTolerationSeconds", admission.Create, admission.Update),
		seconds: map[string]int64{
			corev1.TaintNodeNotReady:    ptr.Deref(config.NotReady, 300),
			corev1.TaintNodeUnreachable: ptr.Deref(config.Unreachable, 300),
		},
	}, nil
}

// Admit adds the tolerations.
func (p *defaultTolerationSeconds) Admit(_ context.Context, a *admission.Attributes) error {
	pod, ok := changedPod(a)
	if !ok {
		return nil
	}
	for _, key := range []string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable} {
		if tolerates(pod, key) {
			continue
		}
		pod.Spec.Tolerations = append(pod.Spec.Tolerations, corev1.Toleration{
			Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute,
			TolerationSeconds: ptr.To(p.seconds[key]),
		})
	}
	return nil
}

func tolerates(pod *corev1.Pod, key string) bool {
	for _, t := range pod.Spec.Tolerations {
		if (t.Key == key || t.Key == "") && (t.Effect == corev1.TaintEffectNoExecute || t.Effect == "") {
			return true
		}
	}
	return false
}
