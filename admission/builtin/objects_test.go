package builtin_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/builtin"
	"github.com/yare-io/yare/admission/match"
	"github.com/yare-io/yare/apiserver/registry"
)

func TestTaintNodesByCondition(t *testing.T) {
	w := setup{plugin: "TaintNodesByCondition"}.build(t)
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}
	for range 2 {
		w.pass(request(n, core("nodes")))
	}
	if !slices.Equal(n.Spec.Taints, []corev1.Taint{{Key: "node.kubernetes.io/not-ready", Effect: corev1.TaintEffectNoSchedule}}) {
		t.Errorf("got %v", n.Spec.Taints)
	}
}

func TestStorageObjectInUseProtection(t *testing.T) {
	w := setup{plugin: "StorageObjectInUseProtection"}.build(t)
	claim, disk := &corev1.PersistentVolumeClaim{}, &corev1.PersistentVolume{}
	for range 2 {
		w.pass(request(claim, core("persistentvolumeclaims")))
		w.pass(request(disk, core("persistentvolumes")))
	}
	if !slices.Equal(claim.Finalizers, []string{"kubernetes.io/pvc-protection"}) || !slices.Equal(disk.Finalizers, []string{"kubernetes.io/pv-protection"}) {
		t.Errorf("got %v %v", claim.Finalizers, disk.Finalizers)
	}
}

func TestDenyServiceExternalIPs(t *testing.T) {
	w := setup{plugin: "DenyServiceExternalIPs"}.build(t)
	service := func(addresses ...string) *corev1.Service {
		return &corev1.Service{Spec: corev1.ServiceSpec{ExternalIPs: addresses}}
	}
	update := func(now, before *corev1.Service) *admission.Attributes {
		a := request(now, core("services"))
		a.Operation, a.OldObject = admission.Update, before
		return a
	}
	w.pass(request(service(), core("services")))
	w.refuse(request(service("1.2.3.4"), core("services")), "Use of external IPs is denied by admission control")
	w.pass(update(service("1.2.3.4"), service("1.2.3.4", "5.6.7.8")))
	w.refuse(update(service("1.2.3.4", "9.9.9.9"), service("1.2.3.4")), "Use of external IPs is denied")
}

func storageClass(name string, age time.Duration, isDefault bool) *storagev1.StorageClass {
	c := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(time.Unix(1e9, 0).Add(-age))}}
	if isDefault {
		c.Annotations = map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}
	}
	return c
}

func TestDefaultStorageClass(t *testing.T) {
	claims := core("persistentvolumeclaims")
	classes := objects(storageClass("old", time.Hour, true), storageClass("new", 0, true), storageClass("also-new", 0, true), storageClass("plain", 0, false))
	w := setup{plugin: "DefaultStorageClass", objects: classes}.build(t)
	claim := &corev1.PersistentVolumeClaim{}
	w.pass(request(claim, claims))
	if ptr.Deref(claim.Spec.StorageClassName, "") != "also-new" {
		t.Errorf("got %v", claim.Spec.StorageClassName)
	}
	none := &corev1.PersistentVolumeClaim{Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: ptr.To("")}}
	w.pass(request(none, claims))
	if *none.Spec.StorageClassName != "" {
		t.Error("a claim that wants no class got one")
	}
	empty := setup{plugin: "DefaultStorageClass"}.build(t)
	claim = &corev1.PersistentVolumeClaim{}
	empty.pass(request(claim, claims))
	if claim.Spec.StorageClassName != nil {
		t.Errorf("got %v out of nothing", *claim.Spec.StorageClassName)
	}
}

func TestDefaultIngressClass(t *testing.T) {
	ingresses := networkingv1.SchemeGroupVersion.WithResource("ingresses")
	w := setup{plugin: "DefaultIngressClass", objects: objects(&networkingv1.IngressClass{
		ObjectMeta: metav1.ObjectMeta{Name: "nginx", Annotations: map[string]string{"ingressclass.kubernetes.io/is-default-class": "true"}},
	})}.build(t)
	ingress := &networkingv1.Ingress{}
	w.pass(request(ingress, ingresses))
	if ptr.Deref(ingress.Spec.IngressClassName, "") != "nginx" {
		t.Errorf("got %v", ingress.Spec.IngressClassName)
	}
	old := &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"kubernetes.io/ingress.class": "x"}}}
	w.pass(request(old, ingresses))
	if old.Spec.IngressClassName != nil {
		t.Error("an annotated ingress got a class")
	}
}

func TestPersistentVolumeClaimResize(t *testing.T) {
	elastic, fixed := storageClass("elastic", 0, false), storageClass("fixed", 0, false)
	elastic.AllowVolumeExpansion = ptr.To(true)
	w := setup{plugin: "PersistentVolumeClaimResize", objects: objects(elastic, fixed)}.build(t)
	claim := func(class, size string, phase corev1.PersistentVolumeClaimPhase) *corev1.PersistentVolumeClaim {
		c := &corev1.PersistentVolumeClaim{Status: corev1.PersistentVolumeClaimStatus{Phase: phase}}
		c.Spec.StorageClassName = &class
		c.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}
		return c
	}
	resize := func(from, to *corev1.PersistentVolumeClaim) *admission.Attributes {
		a := request(to, core("persistentvolumeclaims"))
		a.Operation, a.OldObject = admission.Update, from
		return a
	}
	bound, pending := corev1.ClaimBound, corev1.ClaimPending
	w.pass(resize(claim("elastic", "1Gi", bound), claim("elastic", "2Gi", bound)))
	w.pass(resize(claim("fixed", "1Gi", bound), claim("fixed", "1Gi", bound)))
	w.refuse(resize(claim("fixed", "1Gi", bound), claim("fixed", "2Gi", bound)), "only dynamically provisioned pvc can be resized")
	w.refuse(resize(claim("elastic", "1Gi", pending), claim("elastic", "2Gi", bound)), "Only bound persistent volume claims can be expanded")
}

func limitRange(items ...corev1.LimitRangeItem) *corev1.LimitRange {
	return &corev1.LimitRange{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "limits"}, Spec: corev1.LimitRangeSpec{Limits: items}}
}

func amounts(pairs ...string) corev1.ResourceList {
	list := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		list[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return list
}

func TestLimitRangerFillsDefaults(t *testing.T) {
	w := setup{plugin: "LimitRanger", objects: objects(limitRange(corev1.LimitRangeItem{
		Type: corev1.LimitTypeContainer, Default: amounts("cpu", "500m", "memory", "1Gi"), DefaultRequest: amounts("cpu", "100m"),
	}))}.build(t)
	a := newPod(func(p *corev1.Pod) { p.Spec.Containers[0].Resources.Limits = amounts("cpu", "1") })
	w.pass(a)
	got := podOf(a).Spec.Containers[0].Resources
	if got.Limits.Cpu().String() != "1" || got.Limits.Memory().String() != "1Gi" || got.Requests.Cpu().String() != "100m" {
		t.Errorf("got %v", got)
	}
	if note := podOf(a).Annotations["kubernetes.io/limit-ranger"]; note != "LimitRanger plugin set: cpu request for container c; memory limit for container c" {
		t.Errorf("note %q", note)
	}
	elsewhere := newPod(func(p *corev1.Pod) { p.Namespace = "other" })
	w.pass(elsewhere)
	if len(podOf(elsewhere).Spec.Containers[0].Resources.Limits) != 0 {
		t.Error("limits of another namespace were applied")
	}
}

func TestLimitRangerRefusesWhatBreaksABound(t *testing.T) {
	w := setup{plugin: "LimitRanger", objects: objects(limitRange(
		corev1.LimitRangeItem{Type: corev1.LimitTypeContainer, Min: amounts("cpu", "100m"), Max: amounts("cpu", "1"), MaxLimitRequestRatio: amounts("cpu", "4")},
		corev1.LimitRangeItem{Type: corev1.LimitTypePod, Max: amounts("cpu", "1500m")},
		corev1.LimitRangeItem{Type: corev1.LimitTypePersistentVolumeClaim, Min: amounts("storage", "1Gi"), Max: amounts("storage", "5Gi")},
	))}.build(t)
	cpu := func(pairs ...string) *admission.Attributes {
		return newPod(func(p *corev1.Pod) {
			p.Spec.Containers = nil
			for i := 0; i < len(pairs); i += 2 {
				c := corev1.Container{Name: "c"}
				if pairs[i] != "" {
					c.Resources.Requests = amounts("cpu", pairs[i])
				}
				if pairs[i+1] != "" {
					c.Resources.Limits = amounts("cpu", pairs[i+1])
				}
				p.Spec.Containers = append(p.Spec.Containers, c)
			}
		})
	}
	w.pass(cpu("500m", "1"))
	for words, a := range map[string]*admission.Attributes{
		"minimum cpu usage per Container is 100m.  No request is specified":                         cpu("", "1"),
		"minimum cpu usage per Container is 100m, but request is 50m":                               cpu("50m", "100m"),
		"maximum cpu usage per Container is 1.  No limit is specified":                              cpu("500m", ""),
		"maximum cpu usage per Container is 1, but limit is 2":                                      cpu("1", "2"),
		"cpu max limit to request ratio per Container is 4, but provided ratio is 8.000000":         cpu("125m", "1"),
		"maximum cpu usage per Pod is 1500m, but limit is 2":                                        cpu("500m", "1", "500m", "1"),
		"[minimum cpu usage per Container is 100m.  No request is specified, maximum cpu usage per": cpu("", ""),
	} {
		w.refuse(a, words)
	}
	claim := func(size string) *admission.Attributes {
		c := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "data"}}
		c.Spec.Resources.Requests = amounts("storage", size)
		return request(c, core("persistentvolumeclaims"))
	}
	w.pass(claim("2Gi"))
	w.refuse(claim("10Gi"), "maximum storage usage per PersistentVolumeClaim is 5Gi, but request is 10Gi")
	w.refuse(claim("1Mi"), "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi")
	grown := cpu("1", "2")
	grown.Operation, grown.Subresource, grown.OldObject = admission.Update, "resize", pod()
	w.refuse(grown, "maximum cpu usage per Container is 1, but limit is 2")
	grown.Subresource = "status"
	w.pass(grown)
}

func TestEventRateLimit(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Unix(1e9, 0))
	w := setup{plugin: "EventRateLimit", change: func(d *builtin.Deps) {
		d.Clock = clock
		d.Config.EventRateLimits = []builtin.EventRateLimit{{Type: "Namespace", QPS: 1, Burst: 2, CacheSize: 10}}
	}}.build(t)
	event := func(namespace string) *admission.Attributes {
		return request(&corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: namespace}}, core("events"))
	}
	w.pass(event("a"))
	w.pass(event("a"))
	w.refuse(event("a"), "limit reached on type Namespace for key a")
	w.pass(event("b"))
	dry := event("a")
	dry.DryRun = true
	w.pass(dry)
	clock.Step(time.Second)
	w.pass(event("a"))
	w.refuse(event("a"), "limit reached")
}

func TestOwnerReferencesPermissionEnforcement(t *testing.T) {
	replicaSets := &registry.Resource{Kind: appsv1.SchemeGroupVersion.WithKind("ReplicaSet"), Name: "replicasets", Namespaced: true}
	kinds := match.NewVersions(func() []*registry.Resource { return []*registry.Resource{replicaSets} })
	w := setup{
		plugin: "OwnerReferencesPermissionEnforcement", change: func(d *builtin.Deps) { d.Kinds = kinds },
		allowed: allowing{"alice delete pods web", "alice update replicasets/finalizers mine"},
	}.build(t)
	owned := func(name, kind string, block bool) *corev1.Pod {
		return pod(func(p *corev1.Pod) {
			p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: kind, Name: name, UID: "u-" + "1", BlockOwnerDeletion: &block}}
		})
	}
	w.pass(request(owned("mine", "ReplicaSet", true), core("pods")))
	w.pass(request(owned("theirs", "ReplicaSet", false), core("pods")))
	w.refuse(request(owned("theirs", "ReplicaSet", true), core("pods")), "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: no")
	w.refuse(request(owned("x", "Magic", true), core("pods")), "cannot find RESTMapping for APIVersion apps/v1 Kind Magic")
	update := request(owned("mine", "ReplicaSet", false), core("pods"))
	update.Operation, update.OldObject = admission.Update, pod()
	w.pass(update)
	update.Name = "other"
	w.refuse(update, "cannot set an ownerRef on a resource you can't delete")
}

func signingRequest(t *testing.T, signer string, subject pkix.Name) *certificatesv1.CertificateSigningRequest {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: subject}, key)
	if err != nil {
		t.Fatal(err)
	}
	return &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: "csr"},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			SignerName: signer, Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
		},
	}
}

var csrs = certificatesv1.SchemeGroupVersion.WithResource("certificatesigningrequests")

func TestCertificateApprovalAndSigning(t *testing.T) {
	for plugin, test := range map[string]struct{ verb, sub, words string }{
		"CertificateApproval": {"approve", "approval", `user not permitted to approve requests with signerName "example.com/b"`},
		"CertificateSigning":  {"sign", "status", `user not permitted to sign requests with signerName "example.com/b"`},
	} {
		t.Run(plugin, func(t *testing.T) {
			change := func(signer string) *admission.Attributes {
				old := signingRequest(t, signer, pkix.Name{CommonName: "x"})
				changed := old.DeepCopy()
				changed.Status.Certificate = []byte("certificate")
				a := request(changed, csrs)
				a.Operation, a.Subresource, a.OldObject = admission.Update, test.sub, old
				return a
			}
			exact := setup{plugin: plugin, allowed: allowing{"alice " + test.verb + " signers example.com/a"}}.build(t)
			exact.pass(change("example.com/a"))
			exact.refuse(change("example.com/b"), test.words)
			domain := setup{plugin: plugin, allowed: allowing{"alice " + test.verb + " signers example.com/*"}}.build(t)
			domain.pass(change("example.com/b"))
			domain.refuse(change("example.org/b"), "user not permitted")
		})
	}
}

func TestSigningGuardsOnlyWhatSignersWrite(t *testing.T) {
	w := setup{plugin: "CertificateSigning"}.build(t)
	old := signingRequest(t, "example.com/a", pkix.Name{CommonName: "x"})
	a := request(old.DeepCopy(), csrs)
	a.Operation, a.Subresource, a.OldObject = admission.Update, "status", old
	w.pass(a)
	a.Object.(*certificatesv1.CertificateSigningRequest).Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateFailed}}
	w.refuse(a, "user not permitted to sign")
}

func TestCertificateSubjectRestriction(t *testing.T) {
	w := setup{plugin: "CertificateSubjectRestriction"}.build(t)
	masters := pkix.Name{CommonName: "x", Organization: []string{"dev", "system:masters"}}
	w.refuse(request(signingRequest(t, "kubernetes.io/kube-apiserver-client", masters), csrs),
		"use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed")
	w.pass(request(signingRequest(t, "example.com/a", masters), csrs))
	w.pass(request(signingRequest(t, "kubernetes.io/kube-apiserver-client", pkix.Name{CommonName: "x"}), csrs))
	broken := signingRequest(t, "kubernetes.io/kube-apiserver-client", pkix.Name{})
	broken.Spec.Request = []byte("x")
	w.refuse(request(broken, csrs), "PEM block type must be CERTIFICATE REQUEST")
}

func TestClusterTrustBundleAttest(t *testing.T) {
	w := setup{plugin: "ClusterTrustBundleAttest", allowed: allowing{"alice attest signers example.com/a"}}.build(t)
	bundle := func(signer string) *admission.Attributes {
		return request(&certificatesv1.ClusterTrustBundle{Spec: certificatesv1.ClusterTrustBundleSpec{SignerName: signer}},
			schema.GroupVersionResource{Group: "certificates.k8s.io", Version: "v1", Resource: "clustertrustbundles"})
	}
	w.pass(bundle(""))
	w.pass(bundle("example.com/a"))
	w.refuse(bundle("example.com/b"), `user not permitted to attest for signerName "example.com/b"`)
}
