package customresource

import (
	"fmt"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

// scaleSubresource shows an object as a Scale, by the paths of its definition.
func scaleSubresource(paths *apiextensionsv1.CustomResourceSubresourceScale) registry.Subresource {
	return row.Scale(row.Scalable[*unstructured.Unstructured]{
		Path: steps(paths.SpecReplicasPath),
		Read: func(obj *unstructured.Unstructured) (wished, observed int32, selector string, err error) {
			replicas, found, err := unstructured.NestedInt64(obj.Object, steps(paths.SpecReplicasPath)...)
			if err != nil {
				return 0, 0, "", err
			}
			if !found {
				return 0, 0, "", apierrors.NewInternalError(fmt.Errorf("the spec replicas field %q does not exist", paths.SpecReplicasPath))
			}
			current, _, err := unstructured.NestedInt64(obj.Object, steps(paths.StatusReplicasPath)...)
			if err != nil {
				return 0, 0, "", err
			}
			if paths.LabelSelectorPath != nil {
				selector, _, err = unstructured.NestedString(obj.Object, steps(*paths.LabelSelectorPath)...)
			}
			return int32(replicas), int32(current), selector, err //nolint:gosec // validation keeps them in range
		},
		Set: func(obj *unstructured.Unstructured, replicas int32) {
			// The path leads through objects: Read has gone it.
			_ = unstructured.SetNestedField(obj.Object, int64(replicas), steps(paths.SpecReplicasPath)...)
		},
	})
}
