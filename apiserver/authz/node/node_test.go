package node

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"

	"github.com/yare-io/yare/apiserver/authz/rbac/bootstrap"
)

func authorizerOf(t testing.TB) *Authorizer {
	t.Helper()
	policy, err := bootstrap.Load(bootstrap.DefaultGates)
	if err != nil {
		t.Fatal(err)
	}
	return New(policy.NodeRules())
}

func web(node string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "web"},
		Spec: corev1.PodSpec{
			NodeName: node, ServiceAccountName: "robot",
			ImagePullSecrets: []corev1.LocalObjectReference{{Name: "pull"}},
			InitContainers:   []corev1.Container{{EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "env"}}}}}},
			Volumes: []corev1.Volume{
				{Name: "a", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "vol"}}},
				{Name: "b", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}},
				{Name: "scratch", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}},
				{Name: "c", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
					{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"}}},
				}}}},
			},
		},
	}
}

func disk() *corev1.PersistentVolume {
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "disk"},
		Spec: corev1.PersistentVolumeSpec{
			ClaimRef: &corev1.ObjectReference{Namespace: "team", Name: "data"},
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
				NodeStageSecretRef:         &corev1.SecretReference{Namespace: "storage", Name: "stage"},
				ControllerPublishSecretRef: &corev1.SecretReference{Namespace: "storage", Name: "controller"},
			}},
		},
	}
}

type ask struct{ verb, group, resource, sub, namespace, name, selector string }

func (q ask) attributes(t testing.TB, node string) authorizer.AttributesRecord {
	t.Helper()
	a := authorizer.AttributesRecord{
		User: &user.DefaultInfo{Name: "system:node:" + node, Groups: []string{"system:nodes", "system:authenticated"}},
		Verb: q.verb, APIGroup: q.group, Resource: q.resource, Subresource: q.sub, Namespace: q.namespace, Name: q.name, ResourceRequest: true,
	}
	if q.selector != "" {
		selector, err := fields.ParseSelector(q.selector)
		if err != nil {
			t.Fatal(err)
		}
		a.FieldSelectorRequirements = selector.Requirements()
	}
	return a
}

func TestANodeReachesWhatItsPodsUseAndNothingElse(t *testing.T) {
	a := authorizerOf(t)
	a.graph.setPod(useOf(web("n1")))
	a.graph.setVolume(disk())
	a.graph.setAttachment(&storagev1.VolumeAttachment{ObjectMeta: metav1.ObjectMeta{Name: "va"}, Spec: storagev1.VolumeAttachmentSpec{NodeName: "n1"}})
	const coordination, storage, resource = "coordination.k8s.io", "storage.k8s.io", "resource.k8s.io"
	own := []ask{ // n1 may, n2 may not
		{"get", "", "secrets", "", "team", "pull", ""},
		{"get", "", "secrets", "", "team", "env", ""},
		{"watch", "", "secrets", "", "team", "vol", ""},
		{"list", "", "secrets", "", "team", "", "metadata.name=vol"},
		{"get", "", "secrets", "", "storage", "stage", ""},
		{"get", "", "configmaps", "", "team", "kube-root-ca.crt", ""},
		{"get", "", "persistentvolumeclaims", "", "team", "data", ""},
		{"get", "", "persistentvolumeclaims", "", "team", "web-scratch", ""},
		{"patch", "", "persistentvolumeclaims", "status", "team", "data", ""},
		{"get", "", "persistentvolumes", "", "", "disk", ""},
		{"get", storage, "volumeattachments", "", "", "va", ""},
		{"create", "", "serviceaccounts", "token", "team", "robot", ""},
		{"get", "", "serviceaccounts", "", "team", "robot", ""},
		{"get", "", "pods", "", "team", "web", ""},
		{"list", "", "pods", "", "", "", "spec.nodeName=n1"},
		{"watch", "", "pods", "", "", "", "spec.nodeName=n1"},
		{"get", "", "nodes", "", "", "n1", ""},
		{"watch", "", "nodes", "", "", "", "metadata.name=n1"},
		{"get", coordination, "leases", "", "kube-node-lease", "n1", ""},
		{"update", storage, "csinodes", "", "", "n1", ""},
		{"deletecollection", resource, "resourceslices", "", "", "", "spec.nodeName=n1"},
	}
	all := []ask{ // both may; admission narrows writes further
		{"create", coordination, "leases", "", "kube-node-lease", "", ""},
		{"create", "", "nodes", "", "", "", ""},
		{"patch", "", "nodes", "status", "", "n1", ""},
		{"create", "", "pods", "", "team", "", ""},
		{"create", "", "pods", "eviction", "team", "web", ""},
		{"patch", "", "pods", "status", "team", "web", ""},
		{"list", "", "services", "", "", "", ""},
		{"create", "", "events", "", "team", "", ""},
		{"create", "authentication.k8s.io", "tokenreviews", "", "", "", ""},
		{"list", "node.k8s.io", "runtimeclasses", "", "", "", ""},
	}
	none := []ask{
		{"get", "", "secrets", "", "team", "other", ""},
		{"get", "", "secrets", "", "other", "pull", ""},
		{"list", "", "secrets", "", "team", "", ""},
		{"list", "", "secrets", "", "", "", "metadata.name=vol"},
		{"update", "", "secrets", "", "team", "vol", ""},
		{"get", "", "secrets", "", "storage", "controller", ""},
		{"create", "", "serviceaccounts", "token", "team", "admin", ""},
		{"create", "", "serviceaccounts", "", "team", "robot", ""},
		{"list", "", "pods", "", "", "", ""},
		{"list", "", "pods", "", "", "", "spec.nodeName!=n1"},
		{"list", "", "nodes", "", "", "", ""},
		{"get", coordination, "leases", "", "kube-system", "n1", ""},
		{"list", coordination, "leases", "", "kube-node-lease", "", ""},
		{"create", "rbac.authorization.k8s.io", "clusterrolebindings", "", "", "", ""},
		{"create", "", "pods", "exec", "team", "web", ""},
		{"create", "", "pods", "binding", "team", "web", ""},
		{"delete", "", "nodes", "", "", "n1", ""},
	}
	check := func(node string, asks []ask, want bool) {
		for _, q := range asks {
			decision, reason, err := a.Authorize(t.Context(), q.attributes(t, node))
			if (decision == authorizer.DecisionAllow) != want || decision == authorizer.DecisionDeny || err != nil {
				t.Errorf("%s %+v: %v %q %v", node, q, decision, reason, err)
			}
		}
	}
	check("n1", own, true)
	check("n2", own, false)
	check("n1", all, true)
	check("n2", all, true)
	check("n1", none, false)
	check("n2", none, false)
	check("", append(own, all...), false)

	a.graph.setPod(useOf(web("n2")))
	if decision, _, _ := a.Authorize(t.Context(), own[0].attributes(t, "n1")); decision == authorizer.DecisionAllow {
		t.Error("n1 kept what moved away")
	}
	a.graph.removePod(useOf(web("n2")))
	a.graph.removeVolume("disk")
	a.graph.removeAttachment("va")
	if len(a.graph.pods)+len(a.graph.used)+len(a.graph.volumes)+len(a.graph.bySecret)+len(a.graph.attachments) != 0 {
		t.Errorf("left in the graph: %+v", a.graph)
	}
}

func TestOnlyNodesAreNodes(t *testing.T) {
	a := authorizerOf(t)
	if _, _, incomplete, err := a.RulesFor(t.Context(), &user.DefaultInfo{Name: "system:node:n1", Groups: []string{"system:nodes"}}, "team"); !incomplete || err == nil {
		t.Errorf("a node's rules are listed: %v, %v", incomplete, err)
	}
	a.graph.setPod(useOf(web("n1")))
	for _, info := range []*user.DefaultInfo{
		{Name: "system:node:n1"},
		{Name: "n1", Groups: []string{"system:nodes"}},
		{Name: "system:serviceaccount:system:node:n1", Groups: []string{"system:nodes"}},
	} {
		attributes := ask{"get", "", "secrets", "", "team", "pull", ""}.attributes(t, "n1")
		attributes.User = info
		if decision, _, _ := a.Authorize(t.Context(), attributes); decision != authorizer.DecisionNoOpinion {
			t.Errorf("%v passed for a node", info)
		}
		if _, _, incomplete, err := a.RulesFor(t.Context(), info, "team"); incomplete || err != nil {
			t.Errorf("%v: rules are missing: %v, %v", info, incomplete, err)
		}
	}
}

func TestAMirrorPodGivesItsNodeNoRights(t *testing.T) {
	a := authorizerOf(t)
	mirror := web("n1")
	mirror.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"}
	a.graph.setPod(useOf(mirror))
	for q, want := range map[ask]bool{
		{"get", "", "secrets", "", "team", "pull", ""}: false,
		{"get", "", "pods", "", "team", "web", ""}:     true,
	} {
		if decision, _, _ := a.Authorize(t.Context(), q.attributes(t, "n1")); (decision == authorizer.DecisionAllow) != want {
			t.Errorf("%+v: %v", q, decision)
		}
	}
}

func TestFollowFillsTheGraph(t *testing.T) {
	a := authorizerOf(t)
	ctx, cancel := context.WithCancel(t.Context())
	client := fake.NewClientset(web("n1"), disk())
	factory := informers.NewSharedInformerFactory(client, 0)
	pods := client.CoreV1().Pods(metav1.NamespaceAll)
	synced, err := a.Follow(factory, &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return pods.List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			if options.SendInitialEvents != nil {
				return nil, apierrors.NewBadRequest("the fake has no streaming lists")
			}
			return pods.Watch(ctx, options)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	defer cancel()
	if !cache.WaitForCacheSync(ctx.Done(), synced) {
		t.Fatal("never synced")
	}
	secret := vertex{Secret, "storage", "stage"}
	if !a.graph.uses("n1", secret) {
		t.Error("what was there did not arrive")
	}
	if err := client.CoreV1().Pods("team").Delete(ctx, "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for range 10_000 {
		if !a.graph.uses("n1", secret) {
			return
		}
		<-ticker.C
	}
	t.Error("the deleted pod stayed")
}

func BenchmarkAuthorizeNode(b *testing.B) {
	a := authorizerOf(b)
	for i := range 10_000 {
		pod := web(fmt.Sprint("n", i%100))
		pod.Name = fmt.Sprint("web", i)
		a.graph.setPod(useOf(pod))
	}
	var request authorizer.Attributes = ask{"get", "", "secrets", "", "team", "vol", ""}.attributes(b, "n42")
	b.ReportAllocs()
	for b.Loop() {
		if decision, _, _ := a.Authorize(b.Context(), request); decision != authorizer.DecisionAllow {
			b.Fatal(decision)
		}
	}
}
