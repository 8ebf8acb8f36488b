package customresource

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensionsv1beta1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1beta1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/lru"
	kjson "sigs.k8s.io/json"
)

const (
	// callTimeout is how long a webhook may take for one review.
	callTimeout = 30 * time.Second
	// reviewObjects and reviewBytes are how much one review carries at most,
	// but for its last object.
	reviewObjects = 500
	reviewBytes   = 8 << 20
	// keptConversions is how many converted objects are kept for each
	// definition, so that reading twice asks once.
	keptConversions = 1024
)

// Caller posts a body to a webhook and returns the body of its answer, which
// had status 200. It bounds the size of what it reads.
type Caller interface {
	Call(ctx context.Context, config *apiextensionsv1.WebhookClientConfig, body []byte) ([]byte, error)
}

// webhook is the conversion strategy Webhook.
type webhook struct {
	config  *apiextensionsv1.WebhookClientConfig
	reviews []string
	caller  Caller
	// prune brings what comes back into the form of its version's schema.
	prune func(*unstructured.Unstructured) error
	kept  *lru.Cache
	// asking are the questions under way: of many watches that see the same
	// change, one asks.
	asking singleflight.Group
}

func newWebhook(conversion *apiextensionsv1.WebhookConversion, caller Caller, prune func(*unstructured.Unstructured) error) *webhook {
	return &webhook{
		config: conversion.ClientConfig, reviews: conversion.ConversionReviewVersions, caller: caller,
		prune: prune, kept: lru.New(keptConversions),
	}
}

// keptKey names one state of one object in one version.
type keptKey struct{ uid, revision, version string }

func keyOf(obj *unstructured.Unstructured, to schema.GroupVersion) keptKey {
	return keptKey{string(obj.GetUID()), obj.GetResourceVersion(), to.Version}
}

func (w *webhook) convert(ctx context.Context, objs []*unstructured.Unstructured, to schema.GroupVersion) ([]*unstructured.Unstructured, error) {
	out := slices.Clone(objs)
	var missing []int
	for i, obj := range objs {
		if obj.GetAPIVersion() == to.String() {
			continue
		}
		if kept, ok := w.kept.Get(keyOf(obj, to)); ok && obj.GetResourceVersion() != "" {
			out[i] = kept.(*unstructured.Unstructured)
			continue
		}
		missing = append(missing, i)
	}
	for len(missing) > 0 {
		batch := missing[:min(len(missing), reviewObjects)]
		converted, err := w.askOnce(ctx, pick(objs, batch), to)
		if err != nil {
			return nil, fmt.Errorf("conversion webhook for %s failed: %w", objs[missing[0]].GroupVersionKind(), err)
		}
		for i, obj := range converted {
			out[missing[i]] = obj
		}
		missing = missing[len(converted):]
	}
	return out, nil
}

func pick(objs []*unstructured.Unstructured, places []int) []*unstructured.Unstructured {
	picked := make([]*unstructured.Unstructured, len(places))
	for i, place := range places {
		picked[i] = objs[place]
	}
	return picked
}

// askOnce asks, or waits for the answer if the same is being asked. It converts
// the first of the objects, as many as a review carries.
func (w *webhook) askOnce(ctx context.Context, objs []*unstructured.Unstructured, to schema.GroupVersion) ([]*unstructured.Unstructured, error) {
	var question strings.Builder
	for _, obj := range objs {
		if obj.GetResourceVersion() == "" {
			return w.ask(ctx, objs, to)
		}
		key := keyOf(obj, to)
		fmt.Fprintln(&question, key.uid, key.revision, key.version)
	}
	answer, err, shared := w.asking.Do(question.String(), func() (any, error) { return w.ask(ctx, objs, to) })
	if err == nil {
		return answer.([]*unstructured.Unstructured), nil
	}
	if shared && ctx.Err() == nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		// Who asked may have gone.
		return w.ask(ctx, objs, to)
	}
	return nil, err
}

// ask sends a review of as many objects as it carries, and takes what comes
// back.
func (w *webhook) ask(ctx context.Context, objs []*unstructured.Unstructured, to schema.GroupVersion) ([]*unstructured.Unstructured, error) {
	var raw []runtime.RawExtension
	for size := 0; len(raw) < len(objs) && size < reviewBytes; {
		body, err := json.Marshal(objs[len(raw)].Object)
		if err != nil {
			return nil, err
		}
		raw = append(raw, runtime.RawExtension{Raw: body})
		size += len(body)
	}
	answer, err := w.review(ctx, raw, to.String())
	if err != nil {
		return nil, err
	}
	if len(answer) != len(raw) {
		return nil, fmt.Errorf("returned %d objects, expected %d", len(answer), len(raw))
	}
	out := make([]*unstructured.Unstructured, len(answer))
	for i := range answer {
		if out[i], err = w.take(objs[i], answer[i].Raw, to); err != nil {
			return nil, fmt.Errorf("returned invalid converted object at index %d: %w", i, err)
		}
	}
	return out, nil
}

// take reads one converted object, and keeps it.
func (w *webhook) take(original *unstructured.Unstructured, raw []byte, to schema.GroupVersion) (*unstructured.Unstructured, error) {
	converted := &unstructured.Unstructured{}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &converted.Object); err != nil {
		return nil, err
	}
	if err := accept(original, converted, to); err != nil {
		return nil, err
	}
	if err := w.prune(converted); err != nil {
		return nil, err
	}
	if original.GetResourceVersion() != "" {
		w.kept.Add(keyOf(original, to), converted)
	}
	return converted, nil
}

// review asks the webhook in the first version of the review that both know.
func (w *webhook) review(ctx context.Context, objects []runtime.RawExtension, desired string) ([]runtime.RawExtension, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for _, known := range w.reviews {
		if known != apiextensionsv1.SchemeGroupVersion.Version && known != apiextensionsv1beta1.SchemeGroupVersion.Version {
			continue
		}
		request := apiextensionsv1.ConversionReview{
			TypeMeta: metav1.TypeMeta{Kind: "ConversionReview", APIVersion: apiextensionsv1.GroupName + "/" + known},
			Request:  &apiextensionsv1.ConversionRequest{UID: uuid.NewUUID(), DesiredAPIVersion: desired, Objects: objects},
		}
		body, err := json.Marshal(&request)
		if err != nil {
			return nil, err
		}
		raw, err := w.caller.Call(ctx, w.config, body)
		if err != nil {
			return nil, err
		}
		return readReview(raw, &request)
	}
	return nil, errors.New("no supported conversion review versions")
}

// readReview checks the answer to a review. Webhooks of v1beta1 need not say
// which request they answer.
func readReview(raw []byte, request *apiextensionsv1.ConversionReview) ([]runtime.RawExtension, error) {
	var answer apiextensionsv1.ConversionReview
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &answer); err != nil {
		return nil, fmt.Errorf("cannot read its answer: %w", err)
	}
	strict := request.APIVersion == apiextensionsv1.SchemeGroupVersion.String()
	switch {
	case strict && answer.GroupVersionKind() != request.GroupVersionKind():
		return nil, fmt.Errorf("expected webhook response of %s, got %s", request.GroupVersionKind(), answer.GroupVersionKind())
	case answer.Response == nil:
		return nil, errors.New("no response provided")
	case strict && answer.Response.UID != request.Request.UID:
		return nil, fmt.Errorf("expected response.uid=%q, got %q", request.Request.UID, answer.Response.UID)
	case answer.Response.Result.Status == metav1.StatusSuccess:
		return answer.Response.ConvertedObjects, nil
	case answer.Response.Result.Message != "":
		return nil, errors.New(answer.Response.Result.Message)
	}
	return nil, fmt.Errorf("response.result.status was '%s', not 'Success'", answer.Response.Result.Status)
}

// accept checks that a converted object is the original in the wanted version,
// and gives it the original's metadata: a webhook may change labels and
// annotations only.
func accept(original, converted *unstructured.Unstructured, to schema.GroupVersion) error {
	if got := converted.GroupVersionKind(); got != to.WithKind(original.GetKind()) {
		return fmt.Errorf("expected a %s, received a %s", to.WithKind(original.GetKind()), got)
	}
	if _, ok := converted.Object["metadata"].(map[string]any); !ok {
		return errors.New("missing metadata in converted object")
	}
	switch {
	case original.GetName() != converted.GetName():
		return fmt.Errorf("must have the same name: %v != %v", original.GetName(), converted.GetName())
	case original.GetNamespace() != converted.GetNamespace():
		return fmt.Errorf("must have the same namespace: %v != %v", original.GetNamespace(), converted.GetNamespace())
	case original.GetUID() != converted.GetUID():
		return fmt.Errorf("must have the same UID: %v != %v", original.GetUID(), converted.GetUID())
	}
	labels, annotations, err := checkedMaps(original, converted)
	if err != nil {
		return err
	}
	converted.Object["metadata"] = runtime.DeepCopyJSONValue(original.Object["metadata"])
	converted.SetLabels(labels)
	converted.SetAnnotations(annotations)
	return nil
}

// checkedMaps returns the labels and annotations of a converted object, which
// must be valid where they are new.
func checkedMaps(original, converted *unstructured.Unstructured) (labels, annotations map[string]string, err error) {
	if labels, _, err = unstructured.NestedStringMap(converted.Object, "metadata", "labels"); err != nil {
		return nil, nil, err
	}
	if annotations, _, err = unstructured.NestedStringMap(converted.Object, "metadata", "annotations"); err != nil {
		return nil, nil, err
	}
	var errs field.ErrorList
	path := field.NewPath("metadata")
	if !maps.Equal(labels, original.GetLabels()) {
		errs = append(errs, metav1validation.ValidateLabels(labels, path.Child("labels"))...)
	}
	if !maps.Equal(annotations, original.GetAnnotations()) {
		errs = append(errs, apivalidation.ValidateAnnotations(annotations, path.Child("annotations"))...)
	}
	return labels, annotations, errs.ToAggregate()
}
