package tainteviction

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

func TestTolerance(t *testing.T) {
	seconds := func(n int64) *int64 { return &n }
	taints := []corev1.Taint{
		{Key: corev1.TaintNodeUnreachable, Effect: corev1.TaintEffectNoExecute},
		{Key: "example.com/drain", Effect: corev1.TaintEffectNoExecute},
	}
	unreachable := func(s *int64) corev1.Toleration {
		return corev1.Toleration{Key: corev1.TaintNodeUnreachable, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: s}
	}
	everything := func(s *int64) corev1.Toleration {
		return corev1.Toleration{Operator: corev1.TolerationOpExists, TolerationSeconds: s}
	}
	cases := []struct {
		name        string
		taints      []corev1.Taint
		tolerations []corev1.Toleration
		stay        time.Duration
		forever     bool
	}{
		{"no taint", nil, nil, 0, true},
		{"nothing tolerated", taints, nil, 0, false},
		{"one of two tolerated", taints, []corev1.Toleration{unreachable(seconds(300))}, 0, false},
		{"all tolerated", taints, []corev1.Toleration{everything(nil)}, 0, true},
		{"tolerated for a time", taints[:1], []corev1.Toleration{unreachable(seconds(300))}, 300 * time.Second, false},
		{"the shortest time counts", taints, []corev1.Toleration{unreachable(seconds(300)), everything(seconds(20))}, 20 * time.Second, false},
		{"a negative time is none", taints[:1], []corev1.Toleration{unreachable(seconds(-1))}, 0, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if stay, forever := tolerance(c.taints, c.tolerations); stay != c.stay || forever != c.forever {
				t.Errorf("stays %s, for ever %t", stay, forever)
			}
		})
	}
}
