package apiserver

import (
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/yare-io/yare/apiserver/codec"
	"github.com/yare-io/yare/storage/cache"
)

// expect gives the cache the object that is about to be stored as value, if
// that is what would be decoded of it, and nil if not. Who gets the object back
// shares it then. The server's own writes belong to those who asked for them.
func (wr *write) expect(key string, value []byte, obj runtime.Object) *cache.Expected {
	row := wr.res.row
	if wr.own() || row.StoredAs != nil || row.Codec != nil {
		return nil
	}
	objects := wr.res.part.used()
	if objects == nil {
		return nil
	}
	wr.fillDefaults(obj)
	if !codec.AsDecoded(obj) {
		return nil
	}
	return objects.Expect(key, value, obj)
}
