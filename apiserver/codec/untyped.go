package codec

import (
	"encoding/json"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Objects without a Go type carry their kind and apiVersion with them; in all
// else their bare form is that of others.

// bareJSONOf is the JSON of an object without kind and apiVersion.
func bareJSONOf(obj runtime.Object) ([]byte, error) {
	if u, ok := obj.(*unstructured.Unstructured); ok {
		return marshalBare(u.Object)
	}
	return json.Marshal(obj)
}

// bareContent is what to encode of an object, without kind and apiVersion.
func bareContent(obj runtime.Object) any {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return obj
	}
	bare := make(map[string]any, len(u.Object))
	for name, value := range u.Object {
		if name != "kind" && name != "apiVersion" {
			bare[name] = value
		}
	}
	return bare
}

// decodeUntyped reads JSON into an object without a Go type.
func decodeUntyped(body []byte, want schema.GroupVersionKind, into *unstructured.Unstructured, strict bool) (schema.GroupVersionKind, []error, error) {
	var (
		content  map[string]any
		warnings []error
		err      error
	)
	if strict {
		content, warnings, err = unmarshalContentStrict(body)
	} else {
		content, err = UnmarshalContent(body)
	}
	if err == nil && content == nil {
		err = errors.New("the body must be a JSON object")
	}
	if err != nil {
		return schema.GroupVersionKind{}, nil, fmt.Errorf("couldn't get version/kind; json parse error: %w", err)
	}
	got, err := adopt(content, want, into)
	return got, warnings, err
}

// adopt makes decoded content an object's, if it is of the kind that is wanted.
func adopt(content map[string]any, want schema.GroupVersionKind, into *unstructured.Unstructured) (schema.GroupVersionKind, error) {
	apiVersion, isText := text(content, "apiVersion")
	kind, kindIsText := text(content, "kind")
	if !isText || !kindIsText {
		return schema.GroupVersionKind{}, errors.New("couldn't get version/kind; json parse error: apiVersion and kind must be strings")
	}
	got, err := complete(apiVersion, kind, want)
	if err != nil {
		return got, err
	}
	if !matches(got, want) {
		return got, &MismatchError{Got: got, Want: want}
	}
	into.Object = content
	into.SetGroupVersionKind(got)
	return got, nil
}

// text returns a string that may be missing.
func text(content map[string]any, name string) (string, bool) {
	value, there := content[name]
	if !there || value == nil {
		return "", true
	}
	s, ok := value.(string)
	return s, ok
}
