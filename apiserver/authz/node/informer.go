package node

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/yare-io/yare/apiserver/authz/follow"
)

// Follow keeps the graph equal to the pods that pods lists and watches, and to
// what the factory's informers for volumes and attachments see. The factory's owner
// starts and stops all. The returned function reports whether all that was
// there at the start has arrived.
func (a *Authorizer) Follow(factory informers.SharedInformerFactory, pods *cache.ListWatch) (cache.InformerSynced, error) {
	uses := factory.InformerFor(&podUse{}, func(_ kubernetes.Interface, resync time.Duration) cache.SharedIndexInformer {
		return cache.NewSharedIndexInformer(usesOf(pods), &podUse{}, resync, cache.Indexers{})
	})
	return follow.All(
		follow.Of(uses, a.graph.setPod, a.graph.removePod),
		follow.Of(factory.Core().V1().PersistentVolumes().Informer(), a.graph.setVolume,
			func(v *corev1.PersistentVolume) { a.graph.removeVolume(v.Name) }),
		follow.Of(factory.Storage().V1().VolumeAttachments().Informer(), a.graph.setAttachment,
			func(v *storagev1.VolumeAttachment) { a.graph.removeAttachment(v.Name) }),
	)
}
