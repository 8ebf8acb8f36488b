package builtin_test

import (
	"crypto/x509/pkix"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/yare-io/yare/admission"
)

func restricted(t *testing.T) *world {
	t.Helper()
	return setup{plugin: "NodeRestriction", objects: objects(
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", UID: "node-1"}},
		pod(func(p *corev1.Pod) {
			p.Spec.NodeName, p.Spec.ServiceAccountName = "n1", "robot"
			p.Spec.Volumes = []corev1.Volume{
				{Name: "t", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
					{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{}}, {ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: "vault"}},
				}}}},
				{Name: "d", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "csi.example.com"}}},
			}
		}),
		&storagev1.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: "csi.example.com"}, Spec: storagev1.CSIDriverSpec{TokenRequests: []storagev1.TokenRequest{{Audience: "storage"}}}},
	), allowed: allowing{"system:node:n1 request-serviceaccounts-token-audience registry robot"}}.build(t)
}

func by(name string, a *admission.Attributes) *admission.Attributes {
	a.User = node(name)
	return a
}

func mirror(change ...func(*corev1.Pod)) *admission.Attributes {
	return by("n1", newPod(append([]func(*corev1.Pod){func(p *corev1.Pod) {
		p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"}
		p.Spec.NodeName = "n1"
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "n1", UID: "node-1", Controller: ptr.To(true)}}
	}}, change...)...))
}

func volume(source corev1.VolumeSource) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: source}} }
}

func TestNodesCreateMirrorPodsOfTheirOwnOnly(t *testing.T) {
	w := restricted(t)
	w.pass(mirror())
	w.pass(newPod()) // alice is no node
	for name, test := range map[string]struct {
		change func(*corev1.Pod)
		words  string
	}{
		"no mirror":                      {func(p *corev1.Pod) { p.Annotations = nil }, `node "n1" can only create mirror pods`},
		"other node":                     {func(p *corev1.Pod) { p.Spec.NodeName = "n2" }, "with spec.nodeName set to itself"},
		"no owner":                       {func(p *corev1.Pod) { p.OwnerReferences = nil }, "with a single owner reference set to itself"},
		"other owner":                    {func(p *corev1.Pod) { p.OwnerReferences[0].Name = "n2" }, "with an owner reference set to itself"},
		"no controller":                  {func(p *corev1.Pod) { p.OwnerReferences[0].Controller = nil }, "with a controller owner reference"},
		"blocking owner":                 {func(p *corev1.Pod) { p.OwnerReferences[0].BlockOwnerDeletion = ptr.To(true) }, "must not set blockOwnerDeletion"},
		"owner of before":                {func(p *corev1.Pod) { p.OwnerReferences[0].UID = "node-0" }, "UID mismatch: expected node-0 got node-1"},
		"account":                        {func(p *corev1.Pod) { p.Spec.ServiceAccountName = "robot" }, "reference a service account"},
		"secret":                         {volume(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s"}}), "reference secrets"},
		"configmap":                      {volume(corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "c"}}}), "reference configmaps"},
		"claim":                          {volume(corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "d"}}), "reference persistentvolumeclaims"},
		"resource claim (CVE-2025-4563)": {func(p *corev1.Pod) { p.Spec.ResourceClaims = []corev1.PodResourceClaim{{Name: "g"}} }, "reference resourceclaims"},
		"resource claim in status (CVE-2025-4563)": {func(p *corev1.Pod) {
			p.Status.ResourceClaimStatuses = []corev1.PodResourceClaimStatus{{Name: "g", ResourceClaimName: ptr.To("x")}}
		}, "reference resourceclaims"},
		"projected token": {volume(corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{}}}}}), "reference a service account"},
		"trust bundle":    {volume(corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{ClusterTrustBundle: &corev1.ClusterTrustBundleProjection{}}}}}), "reference clustertrustbundles"},
	} {
		t.Run(name, func(t *testing.T) { w.refuse(mirror(test.change), test.words) })
	}
}

func TestNodesChangeTheirOwnPodsOnly(t *testing.T) {
	w := restricted(t)
	bound := pod(func(p *corev1.Pod) { p.Spec.NodeName, p.Labels = "n1", map[string]string{"app": "web"} })
	status := func(who string, change func(*corev1.Pod)) *admission.Attributes {
		changed := bound.DeepCopy()
		change(changed)
		a := by(who, request(changed, core("pods")))
		a.Operation, a.Subresource, a.OldObject = admission.Update, "status", bound
		return a
	}
	running := func(p *corev1.Pod) { p.Status.Phase = corev1.PodRunning }
	w.pass(status("n1", running))
	w.refuse(status("n2", running), "can only update pod status for pods with spec.nodeName set to itself")
	w.refuse(status("n1", func(p *corev1.Pod) { p.Labels["app"] = "db" }), "cannot update labels through pod status")
	w.refuse(status("n1", func(p *corev1.Pod) {
		p.Status.ResourceClaimStatuses = []corev1.PodResourceClaimStatus{{Name: "x"}}
	}), "cannot update resource claim statuses")

	remove := func(who string) *admission.Attributes {
		return by(who, &admission.Attributes{Operation: admission.Delete, Resource: core("pods"), Namespace: "team", Name: "web", OldObject: bound})
	}
	w.pass(remove("n1"))
	w.refuse(remove("n2"), "can only delete pods with spec.nodeName set to itself")

	evict := func(who string) *admission.Attributes {
		a := by(who, request(&policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "web"}}, core("pods")))
		a.Subresource = "eviction"
		return a
	}
	w.pass(evict("n1"))
	w.refuse(evict("n2"), "can only evict pods with spec.nodeName set to itself")

	update := status("n1", running)
	update.Subresource = ""
	w.refuse(update, "can only create and delete mirror pods")
	update.Subresource = "ephemeralcontainers"
	w.refuse(update, `unexpected pod subresource "ephemeralcontainers"`)
}

func TestNodesChangeThemselvesWithinBounds(t *testing.T) {
	w := restricted(t)
	old := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{"node-restriction.kubernetes.io/secure": "yes"}}}
	change := func(f func(*corev1.Node)) *admission.Attributes {
		changed := old.DeepCopy()
		f(changed)
		a := by("n1", request(changed, core("nodes")))
		a.Operation, a.OldObject = admission.Update, old
		return a
	}
	label := func(key string) func(*corev1.Node) { return func(n *corev1.Node) { n.Labels[key] = "x" } }
	for _, key := range []string{"kubernetes.io/hostname", "topology.kubernetes.io/zone", "node.kubernetes.io/any", "sub.kubelet.kubernetes.io/x", "example.com/y", "plain"} {
		w.pass(change(label(key)))
	}
	for _, key := range []string{"node-role.kubernetes.io/control-plane", "kubernetes.io/other", "x.k8s.io/y", "node-restriction.kubernetes.io/secure", "sub.node-restriction.kubernetes.io/z"} {
		w.refuse(change(label(key)), "is not allowed to modify labels: "+key)
	}
	w.refuse(change(func(n *corev1.Node) { n.Labels = nil }), "is not allowed to modify labels: node-restriction.kubernetes.io/secure")
	w.refuse(change(func(n *corev1.Node) { n.Spec.Taints = []corev1.Taint{{Key: "x"}} }), `node "n1" is not allowed to modify taints`)
	w.refuse(change(func(n *corev1.Node) { n.OwnerReferences = []metav1.OwnerReference{{UID: "x"}} }), "is not allowed to modify ownerReferences") // CVE-2025-5187
	w.refuse(by("n2", change(func(*corev1.Node) {})), `node "n2" is not allowed to modify node "n1"`)
	join := by("n1", request(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}, Spec: corev1.NodeSpec{Taints: []corev1.Taint{{Key: "x"}}}}, core("nodes")))
	w.pass(join)
}

func TestNodesGetTokensForTheirPodsOnly(t *testing.T) {
	w := restricted(t)
	token := func(who string, uid types.UID, audiences ...string) *admission.Attributes {
		a := by(who, request(&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
			Audiences: audiences, BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: "web", UID: uid},
		}}, core("serviceaccounts")))
		a.Namespace, a.Name, a.Subresource = "team", "robot", "token"
		return a
	}
	w.pass(token("n1", "pod-1"))
	w.pass(token("n1", "pod-1", "vault"))
	w.pass(token("n1", "pod-1", "storage"))
	w.pass(token("n1", "pod-1", "registry"))
	w.refuse(token("n1", "pod-1", "elsewhere"), `audience "elsewhere" not found in pod spec volume`)
	w.refuse(token("n1", "pod-1", "vault", "storage"), "node may only request 0 or 1 audiences")
	w.refuse(token("n2", "pod-1"), "node requested token bound to a pod scheduled on a different node")
	w.refuse(token("n1", "pod-0"), "the UID in the bound object reference (pod-0) does not match the UID in record")
	w.refuse(token("n1", ""), "node requested token with a pod binding without a uid")
	free := token("n1", "pod-1")
	free.Object.(*authenticationv1.TokenRequest).Spec.BoundObjectRef = nil
	w.refuse(free, "node requested token not bound to a pod")
}

func TestNodesWriteOtherObjectsInTheirOwnNameOnly(t *testing.T) {
	w := restricted(t)
	for _, test := range []struct {
		object runtime.Object
		a      func(runtime.Object) *admission.Attributes
	}{
		{&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-node-lease", Name: "n1"}}, func(o runtime.Object) *admission.Attributes {
			return request(o, coordinationv1.SchemeGroupVersion.WithResource("leases"))
		}},
		{&storagev1.CSINode{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}, func(o runtime.Object) *admission.Attributes {
			return request(o, storagev1.SchemeGroupVersion.WithResource("csinodes"))
		}},
		{&resourcev1.ResourceSlice{Spec: resourcev1.ResourceSliceSpec{NodeName: ptr.To("n1")}}, func(o runtime.Object) *admission.Attributes {
			return request(o, resourcev1.SchemeGroupVersion.WithResource("resourceslices"))
		}},
		{signingRequest(t, certificatesv1.KubeAPIServerClientKubeletSignerName, pkix.Name{CommonName: "system:node:n1"}), func(o runtime.Object) *admission.Attributes {
			return request(o, csrs)
		}},
	} {
		w.pass(by("n1", test.a(test.object)))
		w.refuse(by("n2", test.a(test.object)), "can only")
	}
	lease := request(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "n1"}}, coordinationv1.SchemeGroupVersion.WithResource("leases"))
	w.refuse(by("n1", lease), `can only access leases in the "kube-node-lease" system namespace`)
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "data"}}
	a := by("n1", request(claim.DeepCopy(), core("persistentvolumeclaims")))
	a.Operation, a.Subresource, a.OldObject = admission.Update, "status", claim
	a.Object.(*corev1.PersistentVolumeClaim).Status.Capacity = amounts("storage", "1Gi")
	w.pass(a)
	a.Object.(*corev1.PersistentVolumeClaim).Status.Phase = corev1.ClaimLost
	w.refuse(a, "is not allowed to update fields other than")
	nameless := newPod()
	nameless.User = node("")
	w.refuse(nameless, "could not determine node from user")
}
