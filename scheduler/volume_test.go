package scheduler

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"github.com/yare-io/yare/scheduler/plugins"
)

// sourcesWith has listers that list these objects.
func sourcesWith(t *testing.T, objects map[string][]any) plugins.Sources {
	t.Helper()
	return plugins.NewSources(nil, func(resource schema.GroupVersionResource) cache.Indexer {
		indexer := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
		for _, object := range objects[resource.Resource] {
			if err := indexer.Add(object); err != nil {
				t.Fatal(err)
			}
		}
		return indexer
	})
}

func newClaim(options ...func(*v1.PersistentVolumeClaim)) *v1.PersistentVolumeClaim {
	claim := &v1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "data"}}
	for _, option := range options {
		option(claim)
	}
	return claim
}

func boundTo(pv string) func(*v1.PersistentVolumeClaim) {
	return func(c *v1.PersistentVolumeClaim) { c.Spec.VolumeName, c.Status.Phase = pv, v1.ClaimBound }
}

func inClass(name string) func(*v1.PersistentVolumeClaim) {
	return func(c *v1.PersistentVolumeClaim) { c.Spec.StorageClassName = &name }
}

func newStorageClass(name, provisioner string, mode storagev1.VolumeBindingMode) *storagev1.StorageClass {
	return &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: provisioner, VolumeBindingMode: &mode}
}

func TestPlacesPodsWhereTheirVolumesAre(t *testing.T) {
	inEast := &v1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv"}, Spec: v1.PersistentVolumeSpec{NodeAffinity: &v1.VolumeNodeAffinity{Required: &v1.NodeSelector{
		NodeSelectorTerms: []v1.NodeSelectorTerm{{MatchExpressions: []v1.NodeSelectorRequirement{{Key: v1.LabelTopologyZone, Operator: v1.NodeSelectorOpIn, Values: []string{"east"}}}}}}}}}
	classes := []any{newStorageClass("wait", "example.com/p", storagev1.VolumeBindingWaitForFirstConsumer), newStorageClass("now", "example.com/p", storagev1.VolumeBindingImmediate),
		newStorageClass("local", "kubernetes.io/no-provisioner", storagev1.VolumeBindingWaitForFirstConsumer)}
	for name, tc := range map[string]struct {
		claim *v1.PersistentVolumeClaim
		want  string
	}{
		"bound":              {newClaim(boundTo("pv")), "b"},
		"bound to nothing":   {newClaim(boundTo("gone")), "0/2 nodes are available: 2 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)."},
		"not bound":          {newClaim(), "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims."},
		"not bound yet":      {newClaim(inClass("now")), "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims."},
		"waits for consumer": {newClaim(inClass("wait")), "b"},
		"cannot be made":     {newClaim(inClass("local")), "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind."},
		"lost": {newClaim(boundTo("pv"), func(c *v1.PersistentVolumeClaim) { c.Status.Phase = v1.ClaimLost }),
			`0/2 nodes are available: persistentvolumeclaim "data" bound to non-existent persistentvolume "pv".`},
		"going": {newClaim(boundTo("pv"), func(c *v1.PersistentVolumeClaim) { c.DeletionTimestamp = &metav1.Time{} }),
			`0/2 nodes are available: persistentvolumeclaim "data" is being deleted.`},
	} {
		t.Run(name, func(t *testing.T) {
			sources := sourcesWith(t, map[string][]any{"persistentvolumeclaims": {tc.claim}, "persistentvolumes": {inEast}, "storageclasses": classes})
			b := newBenchWith(sources, []*v1.Node{newNode("a", zone("west")), newNode("b", zone("east"))}, newPod("old", on("a"), requests("1", "")))
			if got := b.decide(newPod("p", mounts("data"))); got != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
}

func TestClaimForOnePodIsNotShared(t *testing.T) {
	claim := newClaim(boundTo("pv"), func(c *v1.PersistentVolumeClaim) {
		c.Spec.AccessModes = []v1.PersistentVolumeAccessMode{v1.ReadWriteOncePod}
	})
	sources := sourcesWith(t, map[string][]any{"persistentvolumeclaims": {claim}, "persistentvolumes": {&v1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv"}}}})
	b := newBenchWith(sources, []*v1.Node{newNode("a"), newNode("b")})
	b.place(newPod("first", mounts("data")))
	const want = "0/2 nodes are available: 2 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode."
	if got := b.decide(newPod("second", mounts("data"))); got != want {
		t.Errorf("got %q", got)
	}
}

// Pods of a ReplicaSet without constraints of their own end up on different hosts.
func TestReplicaSetIsSpreadByDefault(t *testing.T) {
	yes := true
	set := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "rs"},
		Spec: appsv1.ReplicaSetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}}}
	// Node a has much more room, and its attraction must not win.
	nodes := []*v1.Node{newNode("a", capacity("64", "128Gi", 100)), newNode("b"), newNode("c")}
	b := newBenchWith(sourcesWith(t, map[string][]any{"replicasets": {set}}), nodes)
	seen := map[string]bool{}
	for _, name := range []string{"1", "2", "3"} {
		seen[b.place(newPod(name, app("web"), requests("100m", "100Mi"), func(p *v1.Pod) {
			p.OwnerReferences = []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "rs", Controller: &yes}}
		}))] = true
	}
	if len(seen) != 3 {
		t.Errorf("three pods are on %v", seen)
	}
}
