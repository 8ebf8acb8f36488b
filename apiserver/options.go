package apiserver

import (
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func createOptions(query url.Values) (*metav1.CreateOptions, error) {
	options := &metav1.CreateOptions{}
	if err := metav1.Convert_url_Values_To_v1_CreateOptions(&query, options, nil); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return options, invalidOptions("CreateOptions", validation.ValidateCreateOptions(options))
}

func updateOptions(query url.Values) (*metav1.UpdateOptions, error) {
	options := &metav1.UpdateOptions{}
	if err := metav1.Convert_url_Values_To_v1_UpdateOptions(&query, options, nil); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return options, invalidOptions("UpdateOptions", validation.ValidateUpdateOptions(options))
}

func patchOptions(query url.Values, kind types.PatchType) (*metav1.PatchOptions, error) {
	options := &metav1.PatchOptions{}
	if err := metav1.Convert_url_Values_To_v1_PatchOptions(&query, options, nil); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return options, invalidOptions("PatchOptions", validation.ValidatePatchOptions(options, kind))
}

// invalidOptions words what is wrong with a request's parameters.
func invalidOptions(kind string, errs field.ErrorList) error {
	if len(errs) == 0 {
		return nil
	}
	return apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: kind}, "", errs)
}
