package main

import (
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// readConfiguration fills into with a part's configuration file, which must be
// of kind want and have no unknown field. No file leaves it as it is.
func readConfiguration(file string, into runtime.Object, want schema.GroupVersionKind) error {
	if file == "" {
		return nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := yaml.UnmarshalStrict(data, into); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if have := into.GetObjectKind().GroupVersionKind(); have != want {
		return fmt.Errorf("%s: is a %s of %q, want a %s of %q", file, have.Kind, have.GroupVersion(), want.Kind, want.GroupVersion())
	}
	return nil
}
