// Package patch changes objects as JSON patches, merge patches and strategic
// merge patches say. It is pure: bytes and objects in, objects out.
package patch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/mergepatch"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// ErrMalformed: the patch itself is wrong (HTTP 400).
var ErrMalformed = errors.New("malformed patch")

// ErrUnprocessable: the patch does not fit the object (HTTP 422).
var ErrUnprocessable = errors.New("patch does not apply")

// ErrTooLarge: the patch has more operations than the server will apply
// (HTTP 413).
var ErrTooLarge = errors.New("patch too large")

// maxOperations bounds what one JSON patch may do, and thereby how much it
// can copy.
const maxOperations = 10000

// copyLimit is how many bytes the copy operations of one JSON patch may add.
const copyLimit = 3 << 20

// Apply returns the JSON of the patched object; original is the JSON of the
// object, example an empty one, by whose type strategic patches merge.
// Warnings name duplicate fields of the patch, and unknown ones of a JSON patch.
func Apply(kind types.PatchType, original, patch []byte, example runtime.Object) (patched []byte, warnings []error, err error) {
	switch kind {
	case types.JSONPatchType:
		patched, warnings, err = applyJSON(original, patch)
	case types.MergePatchType:
		warnings, err = checkObject(patch)
		if err == nil {
			patched, err = applyMerge(original, patch)
		}
	case types.StrategicMergePatchType:
		warnings, err = checkObject(patch)
		if err == nil {
			patched, err = applyStrategic(original, patch, example)
		}
	default:
		err = fmt.Errorf("%w: unknown patch type %q", ErrMalformed, kind)
	}
	return patched, warnings, err
}

// checkObject refuses what is not a JSON object and finds duplicate fields.
func checkObject(patch []byte) ([]error, error) {
	trimmed := bytes.TrimLeft(patch, " \t\r\n")
	if len(trimmed) == 0 || trimmed[0] != '{' {
		return nil, fmt.Errorf("%w: the patch must be a JSON object", ErrMalformed)
	}
	var value map[string]any
	strict, err := kjson.UnmarshalStrict(patch, &value)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return strict, nil
}

// operation is what a JSON patch may say; its values are jsonpatch's to read.
type operation struct {
	Op    string          `json:"op"`
	Path  string          `json:"path"`
	From  string          `json:"from"`
	Value json.RawMessage `json:"value"`
}

func applyJSON(original, patch []byte) (patched []byte, warnings []error, err error) {
	var read []operation
	if warnings, err = kjson.UnmarshalStrict(patch, &read); err != nil {
		return nil, nil, fmt.Errorf("%w: error decoding JSON patch: %w", ErrMalformed, err)
	}
	for i, problem := range warnings {
		warnings[i] = fmt.Errorf("json patch %w", problem)
	}
	if len(read) > maxOperations {
		return nil, nil, fmt.Errorf("%w: The allowed maximum operations in a JSON patch is %d, got %d", ErrTooLarge, maxOperations, len(read))
	}
	operations, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	options := jsonpatch.NewApplyOptions()
	options.AccumulatedCopySizeLimit = copyLimit
	patched, err = operations.ApplyWithOptions(original, options)
	var tooLarge *jsonpatch.AccumulatedCopySizeError
	switch {
	case errors.As(err, &tooLarge):
		return nil, nil, fmt.Errorf("%w: %w", ErrTooLarge, err)
	case err != nil:
		return nil, nil, fmt.Errorf("%w: %w", ErrUnprocessable, err)
	}
	return patched, warnings, nil
}

func applyMerge(original, patch []byte) ([]byte, error) {
	patched, err := jsonpatch.MergePatch(original, patch)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return patched, nil
}

func applyStrategic(original, patch []byte, example runtime.Object) ([]byte, error) {
	patched, err := strategicpatch.StrategicMergePatch(original, patch, example)
	switch {
	case err == nil:
		return patched, nil
	case errors.Is(err, mergepatch.ErrBadJSONDoc), errors.Is(err, mergepatch.ErrBadPatchFormatForPrimitiveList),
		errors.Is(err, mergepatch.ErrBadPatchFormatForRetainKeys), errors.Is(err, mergepatch.ErrBadPatchFormatForSetElementOrderList),
		errors.Is(err, mergepatch.ErrUnsupportedStrategicMergePatchFormat):
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	default:
		return nil, fmt.Errorf("%w: %w", ErrUnprocessable, err)
	}
}

// FromYAML turns a patch in YAML into JSON.
func FromYAML(patch []byte) ([]byte, error) {
	raw, err := yaml.YAMLToJSON(patch)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return raw, nil
}
