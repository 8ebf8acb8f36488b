package node

import (
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// Follow keeps the graph equal to what the factory's informers for pods,
// volumes and attachments see. The factory's owner starts and stops it. The
// returned function reports whether all that was there at the start has
// arrived.
func (a *Authorizer) Follow(factory informers.SharedInformerFactory) (cache.InformerSynced, error) {
	follow := []struct {
		informer    cache.SharedIndexInformer
		set, remove func(object any)
	}{
		{
			factory.Core().V1().Pods().Informer(),
			func(object any) { a.graph.setPod(object.(*corev1.Pod)) },
			func(object any) { a.graph.removePod(object.(*corev1.Pod)) },
		},
		{
			factory.Core().V1().PersistentVolumes().Informer(),
			func(object any) { a.graph.setVolume(object.(*corev1.PersistentVolume)) },
			func(object any) { a.graph.removeVolume(object.(*corev1.PersistentVolume).Name) },
		},
		{
			factory.Storage().V1().VolumeAttachments().Informer(),
			func(object any) { a.graph.setAttachment(object.(*storagev1.VolumeAttachment)) },
			func(object any) { a.graph.removeAttachment(object.(*storagev1.VolumeAttachment).Name) },
		},
	}
	var arrived []cache.InformerSynced
	for _, f := range follow {
		registration, err := f.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    f.set,
			UpdateFunc: func(_, object any) { f.set(object) },
			DeleteFunc: func(object any) {
				if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
					object = gone.Obj
				}
				f.remove(object)
			},
		})
		if err != nil {
			return nil, err
		}
		arrived = append(arrived, registration.HasSynced)
	}
	return func() bool {
		for _, has := range arrived {
			if !has() {
				return false
			}
		}
		return true
	}, nil
}
