package trial

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
)

// maxFile bounds one file, in bytes.
const maxFile = 64 << 20

// Document is one object of a file.
type Document struct {
	*unstructured.Unstructured
	// Source is the file, and the position in it where there are several.
	Source string
}

// Read returns the objects in files, in the YAML and JSON files below
// directories, and, for "-", in the standard input. Lists are taken apart.
func Read(paths ...string) ([]Document, error) {
	var all []Document
	for _, root := range paths {
		if root == "-" {
			found, err := decode(io.LimitReader(os.Stdin, maxFile), "standard input")
			if err != nil {
				return nil, err
			}
			all = append(all, found...)
			continue
		}
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || path != root && !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)) {
				return err
			}
			found, err := readFile(path)
			all = append(all, found...)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

func readFile(path string) ([]Document, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	return decode(file, path)
}

func decode(from io.Reader, source string) ([]Document, error) {
	raw, err := io.ReadAll(from)
	if err != nil {
		return nil, err
	}
	var all []Document
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(raw), 4096)
	for position := 1; ; position++ {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", source, err)
		}
		if len(object.Object) == 0 {
			continue
		}
		if object.GetKind() == "" {
			return nil, fmt.Errorf("%s: document %d has no kind", source, position)
		}
		all = append(all, flatten(object, fmt.Sprintf("%s#%d", source, position))...)
	}
}

// flatten takes lists apart.
func flatten(object *unstructured.Unstructured, source string) []Document {
	if !object.IsList() {
		return []Document{{object, source}}
	}
	var all []Document
	items, _, _ := unstructured.NestedSlice(object.Object, "items")
	for _, item := range items {
		if fields, ok := item.(map[string]any); ok {
			all = append(all, flatten(&unstructured.Unstructured{Object: fields}, source)...)
		}
	}
	return all
}
