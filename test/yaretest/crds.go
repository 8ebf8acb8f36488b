package yaretest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"
)

var (
	definitions  = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	manifestEnds = []string{".yaml", ".yml", ".json"}
)

const (
	// establishWithin is how long a definition may take to be served.
	establishWithin = 10 * time.Second
	establishPoll   = 5 * time.Millisecond
)

// InstallCRDs creates or updates the CustomResourceDefinitions in files, or in
// the YAML and JSON files right in directories, and waits until they are
// served. Objects of other kinds in these files are passed over.
func (s *Server) InstallCRDs(ctx context.Context, paths ...string) error {
	client, err := dynamic.NewForConfig(s.InProcess("yaretest", "system:masters"))
	if err != nil {
		return err
	}
	var names []string
	for _, path := range paths {
		files, err := manifests(path)
		if err != nil {
			return err
		}
		for _, file := range files {
			found, err := readDefinitions(file)
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			for _, definition := range found {
				if err := put(ctx, client, definition); err != nil {
					return fmt.Errorf("%s: %w", file, err)
				}
				names = append(names, definition.GetName())
			}
		}
	}
	if len(names) == 0 {
		return fmt.Errorf("no CustomResourceDefinition in %q", paths)
	}
	for _, name := range names {
		if err := established(ctx, client, name); err != nil {
			return fmt.Errorf("%s is not served: %w", name, err)
		}
	}
	return nil
}

// manifests are a file itself, or the files in a directory in order.
func manifests(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, entry := range entries {
		if !entry.IsDir() && slices.Contains(manifestEnds, filepath.Ext(entry.Name())) {
			files = append(files, filepath.Join(path, entry.Name()))
		}
	}
	return files, nil
}

func readDefinitions(file string) ([]*unstructured.Unstructured, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var found []*unstructured.Unstructured
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(document, &object.Object); err != nil {
			return nil, err
		}
		if object.GetKind() == "CustomResourceDefinition" && object.GroupVersionKind().GroupVersion() == definitions.GroupVersion() {
			found = append(found, object)
		}
	}
}

func put(ctx context.Context, client dynamic.Interface, definition *unstructured.Unstructured) error {
	_, err := client.Resource(definitions).Create(ctx, definition, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	there, err := client.Resource(definitions).Get(ctx, definition.GetName(), metav1.GetOptions{})
	if err != nil {
		return err
	}
	definition.SetResourceVersion(there.GetResourceVersion())
	_, err = client.Resource(definitions).Update(ctx, definition, metav1.UpdateOptions{})
	return err
}

// established waits for a definition to be served, and says why it is not.
func established(ctx context.Context, client dynamic.Interface, name string) error {
	var told error
	err := wait.PollUntilContextTimeout(ctx, establishPoll, establishWithin, true, func(ctx context.Context) (bool, error) {
		definition, err := client.Resource(definitions).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		conditions, _, _ := unstructured.NestedSlice(definition.Object, "status", "conditions")
		for _, each := range conditions {
			condition, ok := each.(map[string]any)
			if !ok {
				continue
			}
			if condition["type"] == "Established" && condition["status"] == "True" {
				return true, nil
			}
			if condition["status"] == "False" {
				told = fmt.Errorf("%v: %v", condition["type"], condition["message"])
			}
		}
		return false, nil
	})
	if err != nil {
		return errors.Join(err, told)
	}
	return nil
}
