package gatekeeper

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
)

// maxManifest bounds one file of manifests, in bytes.
const maxManifest = 16 << 20

// ReadManifests reads Gatekeeper's objects in files, and in the YAML
// and JSON files below directories. Other objects in them are passed over.
func ReadManifests(paths ...string) ([]*unstructured.Unstructured, error) {
	var all []*unstructured.Unstructured
	for _, root := range paths {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || path != root && !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)) {
				return err
			}
			found, err := readManifest(path)
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			all = append(all, found...)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

func readManifest(path string) ([]*unstructured.Unstructured, error) {
	all, err := ReadObjects(path)
	return slices.DeleteFunc(all, func(object *unstructured.Unstructured) bool {
		return !strings.HasSuffix(object.GroupVersionKind().Group, ".gatekeeper.sh")
	}), err
}

// ReadObjects reads all objects of a file.
func ReadObjects(path string) ([]*unstructured.Unstructured, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxManifest {
		return nil, fmt.Errorf("it is larger than %d bytes", maxManifest)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var all []*unstructured.Unstructured
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(raw), 4096)
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		if len(object.Object) > 0 {
			all = append(all, object)
		}
	}
}
