package cache

import (
	"bytes"
	"hash/maphash"
	"runtime"
	"sync"
	"weak"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// records are the sets of owned fields in the metadata of objects. They are
// large and mostly alike, as objects are made from templates, so that objects
// share them.
type records struct {
	mu     sync.Mutex
	seed   maphash.Seed
	byHash map[uint64]weak.Pointer[metav1.FieldsV1]
}

func newRecords() *records {
	return &records{seed: maphash.MakeSeed(), byHash: map[uint64]weak.Pointer[metav1.FieldsV1]{}}
}

// share replaces the sets in entries by equal ones that are there already.
func (r *records) share(entries []metav1.ManagedFieldsEntry) {
	for i := range entries {
		// What is shared already others may be reading.
		if set := entries[i].FieldsV1; set != nil {
			if one := r.one(set); one != set {
				entries[i].FieldsV1 = one
			}
		}
	}
}

func (r *records) one(set *metav1.FieldsV1) *metav1.FieldsV1 {
	raw := set.GetRawBytes()
	hash := maphash.Bytes(r.seed, raw)
	r.mu.Lock()
	defer r.mu.Unlock()
	if there := r.byHash[hash].Value(); there != nil {
		if bytes.Equal(there.GetRawBytes(), raw) {
			return there
		}
		return set
	}
	r.byHash[hash] = weak.Make(set)
	runtime.AddCleanup(set, r.forget, hash)
	return set
}

// forget drops what nobody has any more.
func (r *records) forget(hash uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byHash[hash].Value() == nil {
		delete(r.byHash, hash)
	}
}
