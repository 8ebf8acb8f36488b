package plugins

import (
	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	appslisters "k8s.io/client-go/listers/apps/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	policylisters "k8s.io/client-go/listers/policy/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/tools/cache"
)

// Sources is what plugins may read beside the snapshot. Every lister is set; one
// for a resource that the API server does not serve lists nothing.
type Sources struct {
	Client                 kubernetes.Interface
	Namespaces             corelisters.NamespaceLister
	Services               corelisters.ServiceLister
	ReplicationControllers corelisters.ReplicationControllerLister
	ReplicaSets            appslisters.ReplicaSetLister
	StatefulSets           appslisters.StatefulSetLister
	Claims                 corelisters.PersistentVolumeClaimLister
	Volumes                corelisters.PersistentVolumeLister
	StorageClasses         storagelisters.StorageClassLister
	CSINodes               storagelisters.CSINodeLister
	Budgets                policylisters.PodDisruptionBudgetLister

	watched map[schema.GroupVersionResource]bool
}

// Watches reports whether the lister of the resource is kept up to date by an
// informer.
func (s Sources) Watches(resource schema.GroupVersionResource) bool { return s.watched[resource] }

// The resources behind the listers, by what changes of them mean to pods.
var (
	Namespaces     = v1.SchemeGroupVersion.WithResource("namespaces")
	Claims         = v1.SchemeGroupVersion.WithResource("persistentvolumeclaims")
	Volumes        = v1.SchemeGroupVersion.WithResource("persistentvolumes")
	StorageClasses = storagev1.SchemeGroupVersion.WithResource("storageclasses")
	CSINodes       = storagev1.SchemeGroupVersion.WithResource("csinodes")
)

// SourceGroups lists the groups of all resources that NewSources asks for.
func SourceGroups() []schema.GroupVersion {
	return []schema.GroupVersion{v1.SchemeGroupVersion, appsv1.SchemeGroupVersion, policyv1.SchemeGroupVersion, storagev1.SchemeGroupVersion}
}

// NewSources makes the listers; informed returns the store behind each, or nil
// for a resource that is not watched.
func NewSources(client kubernetes.Interface, informed func(schema.GroupVersionResource) cache.Indexer) Sources {
	watched := map[schema.GroupVersionResource]bool{}
	indexer := func(resource schema.GroupVersionResource) cache.Indexer {
		if store := informed(resource); store != nil {
			watched[resource] = true
			return store
		}
		return cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	}
	core, apps := v1.SchemeGroupVersion, appsv1.SchemeGroupVersion
	return Sources{
		watched:                watched,
		Client:                 client,
		Namespaces:             corelisters.NewNamespaceLister(indexer(Namespaces)),
		Services:               corelisters.NewServiceLister(indexer(core.WithResource("services"))),
		ReplicationControllers: corelisters.NewReplicationControllerLister(indexer(core.WithResource("replicationcontrollers"))),
		ReplicaSets:            appslisters.NewReplicaSetLister(indexer(apps.WithResource("replicasets"))),
		StatefulSets:           appslisters.NewStatefulSetLister(indexer(apps.WithResource("statefulsets"))),
		Claims:                 corelisters.NewPersistentVolumeClaimLister(indexer(Claims)),
		Volumes:                corelisters.NewPersistentVolumeLister(indexer(Volumes)),
		StorageClasses:         storagelisters.NewStorageClassLister(indexer(StorageClasses)),
		CSINodes:               storagelisters.NewCSINodeLister(indexer(CSINodes)),
		Budgets:                policylisters.NewPodDisruptionBudgetLister(indexer(policyv1.SchemeGroupVersion.WithResource("poddisruptionbudgets"))),
	}
}
