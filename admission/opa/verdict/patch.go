package verdict

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	sigsjson "sigs.k8s.io/json"
)

// maxCopied bounds what the copy operations of one patch may add.
const maxCopied = 3 << 20

// Apply returns a changed copy of an object. A patch must not change what the
// object is called, nor bring in unknown fields.
func Apply(operations []Operation, object runtime.Object) (runtime.Object, error) {
	raw, err := json.Marshal(operations)
	if err != nil {
		return nil, err
	}
	patch, err := jsonpatch.DecodePatch(raw)
	if err != nil {
		return nil, fmt.Errorf("patch: %w", err)
	}
	before, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	options := jsonpatch.NewApplyOptions()
	options.SupportNegativeIndices = false
	options.AccumulatedCopySizeLimit = maxCopied
	after, err := patch.ApplyWithOptions(before, options)
	if err != nil {
		return nil, fmt.Errorf("patch: %w", err)
	}
	return become(after, object)
}

// Replace returns an object of the same type with other content. It must be
// called the same, and must have no unknown fields.
func Replace(object runtime.Object, content map[string]any) (runtime.Object, error) {
	after, err := json.Marshal(content)
	if err != nil {
		return nil, err
	}
	return become(after, object)
}

func become(after []byte, object runtime.Object) (runtime.Object, error) {
	changed, err := decode(after, object)
	if err != nil {
		return nil, fmt.Errorf("the changed object: %w", err)
	}
	changed.GetObjectKind().SetGroupVersionKind(object.GetObjectKind().GroupVersionKind())
	return changed, sameIdentity(object, changed)
}

// decode makes an object of the same type as like.
func decode(raw []byte, like runtime.Object) (runtime.Object, error) {
	if _, ok := like.(*unstructured.Unstructured); ok {
		changed := &unstructured.Unstructured{}
		return changed, changed.UnmarshalJSON(raw)
	}
	changed := reflect.New(reflect.TypeOf(like).Elem()).Interface().(runtime.Object)
	strict, err := sigsjson.UnmarshalStrict(raw, changed)
	if err != nil {
		return nil, err
	}
	return changed, errors.Join(strict...)
}

// sameIdentity: what was authorized must be what is stored.
func sameIdentity(before, after runtime.Object) error {
	old, err := meta.Accessor(before)
	if err != nil {
		return nil // options of a connection have no name
	}
	changed, err := meta.Accessor(after)
	if err != nil {
		return err
	}
	if identity(old) != identity(changed) {
		return errors.New("a patch must not change the name, generateName, namespace, uid or resourceVersion of an object")
	}
	return nil
}

func identity(m metav1.Object) [5]string {
	return [5]string{m.GetName(), m.GetGenerateName(), m.GetNamespace(), string(m.GetUID()), m.GetResourceVersion()}
}
