package apiserver

import (
	"strconv"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
)

// Share is a cache.TransformFunc for informers in this process: in place of an
// object that was decoded off the transport it returns the watch cache's own,
// if that is still the same version of it. Such informers keep no second copy
// of the cluster, and whoever reads them must change nothing, as with any
// informer.
func (s *Server) Share(object any) (any, error) {
	obj, ok := object.(runtime.Object)
	if !ok {
		return object, nil
	}
	kinds, _, err := scheme.Scheme.ObjectKinds(obj)
	if err != nil {
		return object, nil // not of a Go type that the server has
	}
	res := s.set().byKind[kinds[0]]
	if res == nil || res.prefix == "" || res.row.StoredAs != nil {
		return object, nil
	}
	decoded, err := meta.Accessor(obj)
	if err != nil {
		return object, nil
	}
	own, ok := res.objects().Current(res.key(decoded.GetNamespace(), decoded.GetName()))
	if !ok {
		return object, nil
	}
	if strconv.FormatInt(own.Revision, 10) != decoded.GetResourceVersion() {
		return object, nil
	}
	res.objects().KeepDecoded()
	kept, err := own.Decoded()
	if err != nil {
		return object, nil
	}
	cached, err := meta.Accessor(kept)
	if err != nil || cached.GetUID() != decoded.GetUID() {
		return object, nil
	}
	return kept, nil
}
