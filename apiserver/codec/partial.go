package codec

import (
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Metadata encodes the bare PartialObjectMetadata of objects.
func (f Format) Metadata() runtime.Encoder { return metadataOnly{f} }

type metadataOnly struct{ format Format }

func (e metadataOnly) Identifier() runtime.Identifier {
	return e.format.Bare().Identifier() + "/metadata"
}

func (e metadataOnly) Encode(obj runtime.Object, w io.Writer) error {
	partial, err := Partial(obj)
	if err != nil {
		return err
	}
	return e.format.Bare().Encode(partial, w)
}

// Partial returns an object's metadata alone. It shares the object's maps and
// slices.
func Partial(obj runtime.Object) (*metav1.PartialObjectMetadata, error) {
	accessor, err := meta.Accessor(obj)
	if err != nil {
		return nil, fmt.Errorf("metadata of %T: %w", obj, err)
	}
	return meta.AsPartialObjectMetadata(accessor), nil
}
