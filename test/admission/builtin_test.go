package admission_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	nodev1 "k8s.io/api/node/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/yare-io/yare/admission/builtin"
)

// make creates a pod of no name in the namespace default.
func (h *harness) make(changes ...func(*corev1.Pod)) (*corev1.Pod, error) {
	p := pod("", nil, nil)
	p.GenerateName = "p-"
	for _, change := range changes {
		change(p)
	}
	return h.client.CoreV1().Pods("default").Create(h.t.Context(), p, metav1.CreateOptions{})
}

// becomes waits until pods are made as wanted: what plugins know of other
// objects comes a moment later.
func (h *harness) becomes(what string, holds func(*corev1.Pod) bool, changes ...func(*corev1.Pod)) {
	h.t.Helper()
	h.eventually(what, func() bool {
		p, err := h.make(changes...)
		return err == nil && holds(p)
	})
}

// annotate changes the namespace default.
func (h *harness) annotate(key, value string) {
	h.t.Helper()
	namespace := must(h.client.CoreV1().Namespaces().Get(h.t.Context(), "default", metav1.GetOptions{}))
	namespace.Annotations = map[string]string{key: value}
	must(h.client.CoreV1().Namespaces().Update(h.t.Context(), namespace, metav1.UpdateOptions{}))
}

func TestNamespaceLifecycle(t *testing.T) {
	h := start(t, only("NamespaceLifecycle"))
	_, err := h.configMapIn("nowhere", "a", nil)
	refused(t, err, http.StatusNotFound, `namespaces "nowhere" not found`)
	refused(t, h.client.CoreV1().Namespaces().Delete(t.Context(), "default", metav1.DeleteOptions{}), http.StatusForbidden, "this namespace may not be deleted")
}

func TestLimitRanger(t *testing.T) {
	h := start(t, only("LimitRanger"))
	must(h.client.CoreV1().LimitRanges("default").Create(t.Context(), &corev1.LimitRange{
		ObjectMeta: metav1.ObjectMeta{Name: "l"},
		Spec:       corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{Type: corev1.LimitTypeContainer, Default: list("cpu", "500m"), Max: list("cpu", "1")}}},
	}, metav1.CreateOptions{}))
	h.becomes("the default is filled in", func(p *corev1.Pod) bool { return p.Spec.Containers[0].Resources.Limits.Cpu().String() == "500m" })
	_, err := h.make(func(p *corev1.Pod) { p.Spec.Containers[0].Resources.Limits = list("cpu", "2") })
	refused(t, err, http.StatusForbidden, "maximum cpu usage per Container is 1, but limit is 2")
}

func TestServiceAccount(t *testing.T) {
	h := start(t, only("ServiceAccount"))
	_, err := h.make()
	refused(t, err, http.StatusForbidden, `error looking up service account default/default`)
	must(h.client.CoreV1().ServiceAccounts("default").Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{}))
	h.becomes("the token is mounted", func(p *corev1.Pod) bool {
		return p.Spec.ServiceAccountName == "default" && len(p.Spec.Volumes) == 1 && p.Spec.Containers[0].VolumeMounts[0].MountPath == "/var/run/secrets/kubernetes.io/serviceaccount"
	})
}

func TestTaintNodesByCondition(t *testing.T) {
	h := start(t, only("TaintNodesByCondition"))
	node := must(h.client.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}}, metav1.CreateOptions{}))
	if len(node.Spec.Taints) != 1 || node.Spec.Taints[0].Key != corev1.TaintNodeNotReady {
		t.Errorf("taints %v", node.Spec.Taints)
	}
}

func TestAlwaysPullImages(t *testing.T) {
	h := start(t, only("AlwaysPullImages"))
	p := must(h.make(func(p *corev1.Pod) { p.Spec.Containers[0].ImagePullPolicy = corev1.PullNever }))
	if p.Spec.Containers[0].ImagePullPolicy != corev1.PullAlways {
		t.Error(p.Spec.Containers[0].ImagePullPolicy)
	}
}

func TestPodSecurity(t *testing.T) {
	h := start(t, only("PodSecurity"))
	h.namespace("strict", map[string]string{"pod-security.kubernetes.io/enforce": "baseline"})
	bad := pod("a", nil, nil)
	bad.Spec.HostNetwork = true
	_, err := h.client.CoreV1().Pods("strict").Create(t.Context(), bad, metav1.CreateOptions{})
	refused(t, err, http.StatusForbidden, `violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)`)
	must(h.client.CoreV1().Pods("strict").Create(t.Context(), pod("b", nil, nil), metav1.CreateOptions{}))
}

func TestPodNodeSelector(t *testing.T) {
	h := start(t, only("PodNodeSelector"))
	h.annotate("scheduler.alpha.kubernetes.io/node-selector", "team=a")
	h.becomes("the selector is added", func(p *corev1.Pod) bool { return p.Spec.NodeSelector["team"] == "a" })
	_, err := h.make(func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"team": "b"} })
	refused(t, err, http.StatusForbidden, "pod node label selector conflicts with its namespace node label selector")
}

func TestPodTolerationRestriction(t *testing.T) {
	h := start(t, only("PodTolerationRestriction"))
	h.annotate("scheduler.alpha.kubernetes.io/defaultTolerations", `[{"key":"team","operator":"Exists"}]`)
	h.becomes("the toleration is added", func(p *corev1.Pod) bool {
		return slices.ContainsFunc(p.Spec.Tolerations, func(t corev1.Toleration) bool { return t.Key == "team" })
	})
}

func TestPriority(t *testing.T) {
	h := start(t, only("Priority"))
	high := func(p *corev1.Pod) { p.Spec.PriorityClassName = "high" }
	_, err := h.make(high)
	refused(t, err, http.StatusForbidden, "no PriorityClass with name high was found")
	must(h.client.SchedulingV1().PriorityClasses().Create(t.Context(), &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "high"}, Value: 7}, metav1.CreateOptions{}))
	h.becomes("the priority is filled in", func(p *corev1.Pod) bool { return *p.Spec.Priority == 7 }, high)
}

func TestDefaultTolerationSeconds(t *testing.T) {
	h := start(t, only("DefaultTolerationSeconds"))
	p := must(h.make())
	if len(p.Spec.Tolerations) != 2 || *p.Spec.Tolerations[0].TolerationSeconds != 300 {
		t.Errorf("tolerations %v", p.Spec.Tolerations)
	}
}

func TestEventRateLimit(t *testing.T) {
	h := start(t, only("EventRateLimit"), func(h *harness) {
		h.builtin.EventRateLimits = []builtin.EventRateLimit{{Type: "Server", QPS: 1, Burst: 1}}
	})
	event := func() error {
		_, err := h.client.CoreV1().Events("default").Create(t.Context(), &corev1.Event{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "e-"}, InvolvedObject: corev1.ObjectReference{Namespace: "default"},
		}, metav1.CreateOptions{})
		return err
	}
	if err := event(); err != nil {
		t.Fatal(err)
	}
	h.eventually("one event too many", func() bool { return errorCode(event()) == http.StatusTooManyRequests })
}

func TestExtendedResourceToleration(t *testing.T) {
	h := start(t, only("ExtendedResourceToleration"))
	gpus := list("example.com/gpu", "1")
	p := must(h.make(func(p *corev1.Pod) {
		p.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: gpus, Limits: gpus}
	}))
	if len(p.Spec.Tolerations) != 1 || p.Spec.Tolerations[0].Key != "example.com/gpu" {
		t.Errorf("tolerations %v", p.Spec.Tolerations)
	}
}

func claim(class *string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "c-"},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: class, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{Requests: list("storage", "1Gi")},
		},
	}
}

func TestDefaultStorageClass(t *testing.T) {
	h := start(t, only("DefaultStorageClass"))
	must(h.client.StorageV1().StorageClasses().Create(t.Context(), &storagev1.StorageClass{
		ObjectMeta:  metav1.ObjectMeta{Name: "fast", Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}},
		Provisioner: "example.com/disk",
	}, metav1.CreateOptions{}))
	h.eventually("claims get the class", func() bool {
		made := must(h.client.CoreV1().PersistentVolumeClaims("default").Create(t.Context(), claim(nil), metav1.CreateOptions{}))
		return ptr.Deref(made.Spec.StorageClassName, "") == "fast"
	})
}

func TestStorageObjectInUseProtection(t *testing.T) {
	h := start(t, only("StorageObjectInUseProtection"))
	made := must(h.client.CoreV1().PersistentVolumeClaims("default").Create(t.Context(), claim(nil), metav1.CreateOptions{}))
	if !slices.Equal(made.Finalizers, []string{"kubernetes.io/pvc-protection"}) {
		t.Errorf("finalizers %v", made.Finalizers)
	}
}

func TestPersistentVolumeClaimResize(t *testing.T) {
	h := start(t, only("PersistentVolumeClaimResize"))
	for name, may := range map[string]bool{"rigid": false, "elastic": true} {
		must(h.client.StorageV1().StorageClasses().Create(t.Context(), &storagev1.StorageClass{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: "example.com/disk", AllowVolumeExpansion: &may,
		}, metav1.CreateOptions{}))
		claims := h.client.CoreV1().PersistentVolumeClaims("default")
		made := must(claims.Create(t.Context(), claim(&name), metav1.CreateOptions{}))
		made.Status.Phase = corev1.ClaimBound
		made.Spec.VolumeName = "v"
		made = must(claims.Update(t.Context(), made, metav1.UpdateOptions{}))
		made.Status.Phase = corev1.ClaimBound
		made = must(claims.UpdateStatus(t.Context(), made, metav1.UpdateOptions{}))
		made.Spec.Resources.Requests = list("storage", "2Gi")
		grow := func() error {
			_, err := claims.Update(t.Context(), made, metav1.UpdateOptions{})
			return err
		}
		if may {
			h.eventually("the claim grows", func() bool { return grow() == nil })
			continue
		}
		refused(t, grow(), http.StatusForbidden, "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize")
	}
}

func TestOwnerReferencesPermissionEnforcement(t *testing.T) {
	h := start(t, only("OwnerReferencesPermissionEnforcement"), real)
	h.grant("steward", rbacv1.PolicyRule{Verbs: []string{"create"}, APIGroups: []string{""}, Resources: []string{"configmaps"}})
	owned := func(kind string, block bool) error {
		_, err := h.as("steward").CoreV1().ConfigMaps("default").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
			GenerateName: "c-", OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: kind, Name: "d", UID: "u", BlockOwnerDeletion: &block}},
		}}, metav1.CreateOptions{})
		return err
	}
	h.eventually("the role is known", func() bool { return owned("Deployment", false) == nil })
	refused(t, owned("Deployment", true), http.StatusForbidden, "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on")
	refused(t, owned("Unheard", true), http.StatusForbidden, "cannot find RESTMapping for APIVersion apps/v1 Kind Unheard")
	h.grant("steward", rbacv1.PolicyRule{Verbs: []string{"update"}, APIGroups: []string{"apps"}, Resources: []string{"deployments/finalizers"}})
	h.eventually("finalizers may be set", func() bool { return owned("Deployment", true) == nil })
}

func TestRuntimeClass(t *testing.T) {
	h := start(t, only("RuntimeClass"))
	must(h.client.NodeV1().RuntimeClasses().Create(t.Context(), &nodev1.RuntimeClass{
		ObjectMeta: metav1.ObjectMeta{Name: "box"}, Handler: "box", Overhead: &nodev1.Overhead{PodFixed: list("cpu", "10m")},
	}, metav1.CreateOptions{}))
	h.becomes("the overhead is filled in", func(p *corev1.Pod) bool { return p.Spec.Overhead.Cpu().String() == "10m" },
		func(p *corev1.Pod) { p.Spec.RuntimeClassName = ptr.To("box") })
	_, err := h.make(func(p *corev1.Pod) { p.Spec.RuntimeClassName = ptr.To("none") })
	refused(t, err, http.StatusForbidden, "RuntimeClass \"none\" not found")
}

// certificateRequest is one for a subject.
func certificateRequest(t testing.TB, name, signer string, subject pkix.Name) *certificatesv1.CertificateSigningRequest {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	der := must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: subject}, key))
	return &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			SignerName: signer, Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
			Usages: []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth},
		},
	}
}

func TestCertificates(t *testing.T) {
	h := start(t, only("CertificateApproval", "CertificateSigning", "CertificateSubjectRestriction"), real)
	requests := h.client.CertificatesV1().CertificateSigningRequests()
	_, err := requests.Create(t.Context(), certificateRequest(t, "a", certificatesv1.KubeAPIServerClientSignerName,
		pkix.Name{CommonName: "a", Organization: []string{"system:masters"}}), metav1.CreateOptions{})
	refused(t, err, http.StatusForbidden, "signer with system:masters group is not allowed")
	made := must(requests.Create(t.Context(), certificateRequest(t, "b", "example.com/a", pkix.Name{CommonName: "b"}), metav1.CreateOptions{}))

	certificates := func(verb, resource string, names ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{Verbs: []string{verb}, APIGroups: []string{"certificates.k8s.io"}, Resources: []string{resource}, ResourceNames: names}
	}
	h.grant("clerk", certificates("update", "certificatesigningrequests/approval"), certificates("update", "certificatesigningrequests/status"))
	clerk := h.as("clerk").CertificatesV1().CertificateSigningRequests()
	approve := func() error {
		approved := made.DeepCopy()
		approved.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "x"}}
		_, err := clerk.UpdateApproval(t.Context(), made.Name, approved, metav1.UpdateOptions{})
		return err
	}
	sign := func() error {
		signed := made.DeepCopy()
		signed.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateFailed, Status: corev1.ConditionTrue, Reason: "x"}}
		_, err := clerk.UpdateStatus(t.Context(), signed, metav1.UpdateOptions{})
		return err
	}
	h.eventually("the clerk has the subresources", func() bool {
		return errorHas(approve(), `user not permitted to approve requests with signerName "example.com/a"`) &&
			errorHas(sign(), `user not permitted to sign requests with signerName "example.com/a"`)
	})
	h.grant("clerk", certificates("sign", "signers", "example.com/*"))
	h.eventually("a signer signs", func() bool { return sign() == nil })
	made = must(requests.Create(t.Context(), certificateRequest(t, "c", "example.com/a", pkix.Name{CommonName: "c"}), metav1.CreateOptions{}))
	h.grant("clerk", certificates("approve", "signers", "example.com/a"))
	h.eventually("an approver approves", func() bool { return approve() == nil })
}

func TestClusterTrustBundleAttest(t *testing.T) {
	h := start(t, only("ClusterTrustBundleAttest"), real)
	rule := rbacv1.PolicyRule{Verbs: []string{"create"}, APIGroups: []string{"certificates.k8s.io"}, Resources: []string{"clustertrustbundles"}}
	h.grant("writer", rule)
	bundle := func() error {
		_, err := h.as("writer").CertificatesV1().ClusterTrustBundles().Create(t.Context(), &certificatesv1.ClusterTrustBundle{
			ObjectMeta: metav1.ObjectMeta{Name: "example.com:a:b"},
			Spec:       certificatesv1.ClusterTrustBundleSpec{SignerName: "example.com/a", TrustBundle: string(otherCA)},
		}, metav1.CreateOptions{})
		return err
	}
	h.eventually("the role is known", func() bool { return errorHas(bundle(), `user not permitted to attest for signerName "example.com/a"`) })
	rule.Verbs, rule.Resources, rule.ResourceNames = []string{"attest"}, []string{"signers"}, []string{"example.com/a"}
	h.grant("writer", rule)
	h.eventually("the writer may attest", func() bool { return bundle() == nil })
}

func TestDefaultIngressClass(t *testing.T) {
	h := start(t, only("DefaultIngressClass"))
	must(h.client.NetworkingV1().IngressClasses().Create(t.Context(), &networkingv1.IngressClass{
		ObjectMeta: metav1.ObjectMeta{Name: "edge", Annotations: map[string]string{"ingressclass.kubernetes.io/is-default-class": "true"}},
		Spec:       networkingv1.IngressClassSpec{Controller: "example.com/edge"},
	}, metav1.CreateOptions{}))
	h.eventually("ingresses get the class", func() bool {
		made := must(h.client.NetworkingV1().Ingresses("default").Create(t.Context(), &networkingv1.Ingress{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "i-"},
			Spec: networkingv1.IngressSpec{DefaultBackend: &networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{
				Name: "s", Port: networkingv1.ServiceBackendPort{Number: 80},
			}}},
		}, metav1.CreateOptions{}))
		return ptr.Deref(made.Spec.IngressClassName, "") == "edge"
	})
}

func TestPodTopologyLabels(t *testing.T) {
	h := start(t, only("PodTopologyLabels"))
	must(h.client.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: "n", Labels: map[string]string{corev1.LabelTopologyZone: "z"},
	}}, metav1.CreateOptions{}))
	h.eventually("the node is known", func() bool {
		_, err := h.factory.Core().V1().Nodes().Lister().Get("n")
		return err == nil
	})
	p := must(h.make())
	err := h.client.CoreV1().Pods("default").Bind(t.Context(), &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: p.Name, UID: "of-another"}, Target: corev1.ObjectReference{Name: "n"}}, metav1.CreateOptions{})
	refused(t, err, http.StatusConflict, "Precondition failed: UID in precondition: of-another")
	if err := h.client.CoreV1().Pods("default").Bind(t.Context(), &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: p.Name}, Target: corev1.ObjectReference{Name: "n"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	p = must(h.client.CoreV1().Pods("default").Get(t.Context(), p.Name, metav1.GetOptions{}))
	if p.Labels[corev1.LabelTopologyZone] != "z" {
		t.Errorf("labels %v", p.Labels)
	}
}

// TestEveryPluginHasATestHere holds the list of plugins against this package's
// tests.
func TestEveryPluginHasATestHere(t *testing.T) {
	elsewhere := map[string]string{
		"NodeRestriction": "TestCVE20254563…", "CertificateApproval": "TestCertificates", "CertificateSigning": "TestCertificates",
		"CertificateSubjectRestriction": "TestCertificates", "DenyServiceExternalIPs": "TestCVE20208554…",
		"MutatingAdmissionPolicy": "policy_test.go", "ValidatingAdmissionPolicy": "policy_test.go",
		"MutatingAdmissionWebhook": "webhook_test.go", "ValidatingAdmissionWebhook": "webhook_test.go", "ResourceQuota": "quota_test.go",
	}
	text := string(must(os.ReadFile("builtin_test.go")))
	for _, name := range builtin.Names() {
		if elsewhere[name] == "" && !strings.Contains(text, "func Test"+name+"(") {
			t.Errorf("%s has no test through the API", name)
		}
	}
}
