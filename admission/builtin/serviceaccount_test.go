package builtin_test

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	"github.com/yare-io/yare/admission"
)

func objects(list ...runtime.Object) []runtime.Object { return list }

func account(name string, change ...func(*corev1.ServiceAccount)) *corev1.ServiceAccount {
	a := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: name}}
	for _, c := range change {
		c(a)
	}
	return a
}

func TestPodsGetTheDefaultAccountAndItsToken(t *testing.T) {
	w := setup{plugin: "ServiceAccount", objects: objects(account("default", func(a *corev1.ServiceAccount) {
		a.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "pull"}}
	}))}.build(t)
	a := newPod(func(p *corev1.Pod) { p.Spec.InitContainers = []corev1.Container{{Name: "i"}} })
	w.pass(a)
	got := a.Object.(*corev1.Pod)
	if got.Spec.ServiceAccountName != "default" || got.Spec.DeprecatedServiceAccount != "default" || len(got.Spec.ImagePullSecrets) != 1 {
		t.Errorf("account %q, pull secrets %v", got.Spec.ServiceAccountName, got.Spec.ImagePullSecrets)
	}
	if len(got.Spec.Volumes) != 1 {
		t.Fatalf("volumes: %v", got.Spec.Volumes)
	}
	volume := got.Spec.Volumes[0]
	if !strings.HasPrefix(volume.Name, "kube-api-access-") || len(volume.Name) != len("kube-api-access-")+5 ||
		len(volume.Projected.Sources) != 3 || *volume.Projected.Sources[0].ServiceAccountToken.ExpirationSeconds != 3607 || *volume.Projected.DefaultMode != 0o644 {
		t.Errorf("volume %+v", volume)
	}
	want := corev1.VolumeMount{Name: volume.Name, ReadOnly: true, MountPath: "/var/run/secrets/kubernetes.io/serviceaccount"}
	for _, c := range append(got.Spec.InitContainers, got.Spec.Containers...) {
		if !slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return equality.Semantic.DeepEqual(m, want) }) {
			t.Errorf("%s mounts %v", c.Name, c.VolumeMounts)
		}
	}
	again := request(got, core("pods"))
	w.pass(again)
	if len(again.Object.(*corev1.Pod).Spec.Volumes) != 1 || len(got.Spec.Containers[0].VolumeMounts) != 1 {
		t.Error("a second pass added more")
	}
}

func TestTokensAreNotMountedWhereTheyAreNotWanted(t *testing.T) {
	noToken := func(a *corev1.ServiceAccount) { a.AutomountServiceAccountToken = ptr.To(false) }
	w := setup{plugin: "ServiceAccount", objects: objects(account("default"), account("quiet", noToken))}.build(t)
	for name, test := range map[string]struct {
		change func(*corev1.Pod)
		mounts int
	}{
		"pod says no":     {func(p *corev1.Pod) { p.Spec.AutomountServiceAccountToken = ptr.To(false) }, 0},
		"account says no": {func(p *corev1.Pod) { p.Spec.ServiceAccountName = "quiet" }, 0},
		"pod overrules": {func(p *corev1.Pod) {
			p.Spec.ServiceAccountName, p.Spec.AutomountServiceAccountToken = "quiet", ptr.To(true)
		}, 1},
		"place is taken": {func(p *corev1.Pod) {
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "own", MountPath: "/var/run/secrets/kubernetes.io/serviceaccount"}}
		}, 0},
		"nothing said by both": {func(*corev1.Pod) {}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			a := newPod(test.change)
			w.pass(a)
			if got := len(a.Object.(*corev1.Pod).Spec.Volumes); got != test.mounts {
				t.Errorf("%d volumes, want %d", got, test.mounts)
			}
		})
	}
}

func TestAMissingAccountIsRefused(t *testing.T) {
	w := setup{plugin: "ServiceAccount"}.build(t)
	w.refuse(newPod(func(p *corev1.Pod) { p.Spec.ServiceAccountName = "robot" }),
		`pods "web" is forbidden: error looking up service account team/robot: serviceaccounts "robot" not found`)
}

func TestMirrorPodsAreLeftAloneAndReferToNothing(t *testing.T) {
	w := setup{plugin: "ServiceAccount"}.build(t)
	mirror := func(change func(*corev1.Pod)) *admission.Attributes {
		return newPod(func(p *corev1.Pod) {
			p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"}
			change(p)
		})
	}
	a := mirror(func(*corev1.Pod) {})
	w.pass(a)
	if a.Object.(*corev1.Pod).Spec.ServiceAccountName != "" {
		t.Error("a mirror pod was changed")
	}
	w.refuse(mirror(func(p *corev1.Pod) { p.Spec.ServiceAccountName = "x" }), "a mirror pod may not reference service accounts")
	w.refuse(mirror(func(p *corev1.Pod) {
		p.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{}}, {SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "s"}}}}
	}), "a mirror pod may not reference secrets")
	w.refuse(mirror(func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{}}},
		}}}}
	}), "a mirror pod may not use ServiceAccountToken volume projections")
}

// CVE-2023-2728: ephemeral containers must not read other secrets either.
func TestMountableSecretsAreEnforced(t *testing.T) {
	strict := account("default", func(a *corev1.ServiceAccount) {
		a.Annotations = map[string]string{"kubernetes.io/enforce-mountable-secrets": "true"}
		a.Secrets = []corev1.ObjectReference{{Name: "mine"}}
	})
	w := setup{plugin: "ServiceAccount", objects: objects(strict)}.build(t)
	env := func(secret string) []corev1.EnvVar {
		return []corev1.EnvVar{{Name: "x", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: secret}}}}}
	}
	w.pass(newPod(func(p *corev1.Pod) { p.Spec.Containers[0].Env = env("mine") }))
	w.refuse(newPod(func(p *corev1.Pod) { p.Spec.Containers[0].Env = env("other") }), `container c with secret.secretName="other" is not allowed`)
	w.refuse(newPod(func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "other"}}}}
	}), `volume with secret.secretName="other" is not allowed`)
	w.refuse(newPod(func(p *corev1.Pod) { p.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "other"}} }), `imagePullSecrets[0].name="other" is not allowed`)
	debug := newPod(func(p *corev1.Pod) {
		p.Spec.ServiceAccountName = "default"
		p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "d", Env: env("other")}}}
	})
	debug.Operation, debug.Subresource, debug.OldObject = admission.Update, "ephemeralcontainers", pod()
	w.refuse(debug, `ephemeral container d with secret.secretName="other" is not allowed`)
}
