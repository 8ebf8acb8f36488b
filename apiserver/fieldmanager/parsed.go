package fieldmanager

import (
	"hash/maphash"
	"sync/atomic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// parsedSet is a set of fields that was read before. Objects that are made from
// one template have equal records.
type parsedSet struct {
	raw string
	set node
}

// parsedSets has a place for each of some hashes, and there the set that was
// read last.
var (
	parsedSets [64]atomic.Pointer[parsedSet]
	parsedSeed = maphash.MakeSeed()
)

// parse reads a set of fields, which is shared and must not be changed.
func parse(fields *metav1.FieldsV1) (node, error) {
	raw := fields.GetRawBytes()
	place := &parsedSets[maphash.Bytes(parsedSeed, raw)%uint64(len(parsedSets))]
	if known := place.Load(); known != nil && known.raw == string(raw) {
		return known.set, nil
	}
	text := string(raw)
	set, err := parseFields(text)
	if err == nil {
		place.Store(&parsedSet{text, set})
	}
	return set, err
}
