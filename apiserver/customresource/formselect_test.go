package customresource_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
)

// selectNames lists in v1beta1, page by page, and returns names with lengths.
func selectNames(t *testing.T, w *world, options metav1.ListOptions) (found []string) {
	t.Helper()
	for {
		list, err := w.in("v1beta1", "gadgets").List(t.Context(), options)
		if err != nil {
			t.Fatal(err)
		}
		if options.Limit > 0 && len(list.Items) > int(options.Limit) {
			t.Errorf("%d on a page of %d", len(list.Items), options.Limit)
		}
		for i := range list.Items {
			item := &list.Items[i]
			if item.GetAPIVersion() != "example.com/v1beta1" {
				t.Errorf("selected: %v", item)
			}
			found = append(found, fmt.Sprint(item.GetName(), "=", field(item, "length")))
		}
		if options.Continue = list.GetContinue(); options.Continue == "" {
			return found
		}
	}
}

func TestFieldsOfAConvertedVersionSelect(t *testing.T) {
	w, hook := withWebhook(t)
	for name, size := range map[string]string{"a": "big", "b": "small", "c": "big", "d": "big"} {
		w.mustCreate("v1", "gadgets", fmt.Sprintf(gadget, "v1", name, "size: "+size))
	}
	for _, limit := range []int64{0, 1, 2, 3} {
		if got := selectNames(t, w, metav1.ListOptions{FieldSelector: "length=big", Limit: limit}); !slices.Equal(got, []string{"a=big", "c=big", "d=big"}) {
			t.Errorf("limit %d: %v", limit, got)
		}
	}
	if got := selectNames(t, w, metav1.ListOptions{FieldSelector: "length!=big,metadata.namespace=default"}); !slices.Equal(got, []string{"b=small"}) {
		t.Errorf("those that are not big: %v", got)
	}
	if _, err := w.in("v1beta1", "gadgets").List(t.Context(), metav1.ListOptions{FieldSelector: "size=big"}); !apierrors.IsBadRequest(err) {
		t.Errorf("a field of the other version: %v", err)
	}
	w.mustCreate("v1", "gadgets", fmt.Sprintf(gadget, "v1", "e", "size: big"))
	asked := hook.objects.Load()
	if got := selectNames(t, w, metav1.ListOptions{FieldSelector: "length=small,metadata.name=b"}); !slices.Equal(got, []string{"b=small"}) || hook.objects.Load() != asked {
		t.Errorf("one by its name: %v, and %d objects were converted for it", got, hook.objects.Load()-asked)
	}
	refuse := func(r *apiextensionsv1.ConversionReview) {
		r.Response.Result = metav1.Status{Status: metav1.StatusFailure, Message: "out of order"}
	}
	hook.spoil.Store(&refuse)
	if list, err := w.in("v1beta1", "gadgets").List(t.Context(), metav1.ListOptions{FieldSelector: "length=big"}); !apierrors.IsInternalError(err) {
		t.Errorf("without an answer of the webhook: %v %v", list, err)
	}
	hook.spoil.Store(nil)
	err := w.in("v1beta1", "gadgets").DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{FieldSelector: "length=big"})
	if err != nil {
		t.Fatal(err)
	}
	if got := selectNames(t, w, metav1.ListOptions{}); !slices.Equal(got, []string{"b=small"}) {
		t.Errorf("left: %v", got)
	}
}

func TestFieldsOfAConvertedVersionAreWatched(t *testing.T) {
	w, hook := withWebhook(t)
	w.mustCreate("v1", "gadgets", fmt.Sprintf(gadget, "v1", "a", "size: big"))
	w.mustCreate("v1", "gadgets", fmt.Sprintf(gadget, "v1", "b", "size: small"))
	events, err := w.in("v1beta1", "gadgets").Watch(t.Context(), metav1.ListOptions{FieldSelector: "length=big"})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	next := func(want watch.EventType, name, length string) *unstructured.Unstructured {
		t.Helper()
		event := <-events.ResultChan()
		obj, ok := event.Object.(*unstructured.Unstructured)
		if !ok || event.Type != want || obj.GetName() != name || field(obj, "length") != length || obj.GetAPIVersion() != "example.com/v1beta1" {
			t.Fatalf("%v, want %s of %s, %s", event, want, name, length)
		}
		return obj
	}
	patch := func(name, body string) *unstructured.Unstructured {
		t.Helper()
		obj, err := w.in("v1", "gadgets").Patch(t.Context(), name, types.MergePatchType, []byte(body), metav1.PatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return obj
	}
	next(watch.Added, "a", "big")
	patch("b", `{"shared":"x"}`)
	patch("b", `{"size":"big"}`)
	next(watch.Added, "b", "big")
	patch("a", `{"shared":"x"}`)
	next(watch.Modified, "a", "big")
	left := patch("a", `{"size":"small"}`)
	if gone := next(watch.Deleted, "a", "big"); gone.GetResourceVersion() != left.GetResourceVersion() {
		t.Errorf("gone at %s, want %s", gone.GetResourceVersion(), left.GetResourceVersion())
	}
	if err := w.in("v1", "gadgets").Delete(t.Context(), "b", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	next(watch.Deleted, "b", "big")
	refuse := func(r *apiextensionsv1.ConversionReview) { r.Response = nil }
	hook.spoil.Store(&refuse)
	w.mustCreate("v1", "gadgets", fmt.Sprintf(gadget, "v1", "c", "size: big"))
	if event := <-events.ResultChan(); event.Type != watch.Error {
		t.Errorf("without an answer of the webhook: %v", event)
	}
}

func TestManyWhoSeeOneChangeAskOnce(t *testing.T) {
	const watchers = 16
	w, hook := withWebhook(t)
	var done sync.WaitGroup
	for range watchers {
		events, err := w.in("v1beta1", "gadgets").Watch(t.Context(), metav1.ListOptions{FieldSelector: "length=big"})
		if err != nil {
			t.Fatal(err)
		}
		defer events.Stop()
		done.Go(func() {
			if event := <-events.ResultChan(); event.Type != watch.Added {
				t.Errorf("event: %v", event)
			}
		})
	}
	// The first question is held until the others have come, if they do.
	hold := func(*apiextensionsv1.ConversionReview) {
		everybody := func(context.Context) (bool, error) { return hook.calls.Load() == watchers, nil }
		_ = wait.PollUntilContextTimeout(context.Background(), time.Millisecond, 200*time.Millisecond, true, everybody)
	}
	hook.spoil.Store(&hold)
	w.mustCreate("v1", "gadgets", fmt.Sprintf(gadget, "v1", "a", "size: big"))
	done.Wait()
	if asked := hook.objects.Load(); asked > watchers/2 {
		t.Errorf("%d conversions of one object for %d watchers", asked, watchers)
	}
}
