package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/utils/ptr"

	"github.com/yare-io/yare/admission/match"
)

// callError: a webhook could not be asked, or its answer was none. The failure
// policy decides what that means.
type callError struct{ err error }

func (e callError) Error() string { return e.err.Error() }
func (e callError) Unwrap() error { return e.err }

func failed(format string, args ...any) error { return callError{fmt.Errorf(format, args...)} }

// ask calls a webhook about a view of a request and returns a valid answer.
func (h *hook) ask(ctx context.Context, r *match.Request, v *match.View) (*admissionv1.AdmissionResponse, error) {
	if r.DryRun && !h.quiet {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("admission webhook %q does not support dry run", h.name))
	}
	review := newReview(r, v)
	document, err := json.Marshal(review)
	if err != nil {
		return nil, failed("could not create admission objects: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	data, err := h.endpoint.post(ctx, document, remaining(ctx, h.timeout))
	if err != nil {
		return nil, failed("failed to call webhook: %w", err)
	}
	answer := &admissionv1.AdmissionReview{}
	if err := json.Unmarshal(data, answer); err != nil {
		return nil, failed("received invalid webhook response: %w", err)
	}
	if err := verify(answer, review.Request.UID, h.mutating); err != nil {
		return nil, failed("received invalid webhook response: %w", err)
	}
	return answer.Response, nil
}

// remaining is the time a webhook has, in whole seconds as Kubernetes says it.
func remaining(ctx context.Context, timeout time.Duration) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(deadline))
	}
	return max(timeout.Round(time.Second), time.Second)
}

func newReview(r *match.Request, v *match.View) *admissionv1.AdmissionReview {
	return &admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID:  uuid.NewUUID(),
			Kind: metav1.GroupVersionKind(v.Kind), Resource: metav1.GroupVersionResource(v.Resource), SubResource: r.Subresource,
			RequestKind: ptr.To(metav1.GroupVersionKind(r.Kind)), RequestResource: ptr.To(metav1.GroupVersionResource(r.Resource)),
			RequestSubResource: r.Subresource,
			Name:               r.Name, Namespace: r.ObjectNamespace(), Operation: admissionv1.Operation(r.Operation),
			UserInfo: userInfo(r), Object: runtime.RawExtension{Object: v.Object}, OldObject: runtime.RawExtension{Object: v.OldObject},
			DryRun: &r.DryRun, Options: runtime.RawExtension{Object: r.NamedOptions()},
		},
	}
}

func userInfo(r *match.Request) authenticationv1.UserInfo {
	info := authenticationv1.UserInfo{Username: r.User.GetName(), UID: r.User.GetUID(), Groups: r.User.GetGroups()}
	for key, values := range r.User.GetExtra() {
		if info.Extra == nil {
			info.Extra = map[string]authenticationv1.ExtraValue{}
		}
		info.Extra[key] = values
	}
	return info
}

var reviewKind = admissionv1.SchemeGroupVersion.WithKind("AdmissionReview")

// verify holds an answer against what it must be.
func verify(answer *admissionv1.AdmissionReview, uid types.UID, mutating bool) error {
	if got := answer.GroupVersionKind(); got != reviewKind {
		return fmt.Errorf("expected webhook response of %s, got %s", reviewKind, got)
	}
	r := answer.Response
	switch {
	case r == nil:
		return errors.New("webhook response was absent")
	case r.UID != uid:
		return fmt.Errorf("expected response.uid=%q, got %q", uid, r.UID)
	case !mutating && len(r.Patch) > 0:
		return errors.New("validating webhook may not return response.patch")
	case !mutating && r.PatchType != nil:
		return errors.New("validating webhook may not return response.patchType")
	case len(r.Patch) > 0 && r.PatchType == nil:
		return errors.New("webhook returned response.patch but not response.patchType")
	case len(r.Patch) == 0 && r.PatchType != nil:
		return errors.New("webhook returned response.patchType but not response.patch")
	case r.PatchType != nil && *r.PatchType != admissionv1.PatchTypeJSONPatch:
		return fmt.Errorf("webhook returned invalid response.patchType of %q", *r.PatchType)
	}
	return nil
}

// denial is the refusal of a webhook, in its own words.
func denial(h *hook, result *metav1.Status) *apierrors.StatusError {
	if result == nil {
		result = &metav1.Status{}
	}
	result.Status = metav1.StatusFailure
	result.Code = max(result.Code, http.StatusBadRequest)
	by := fmt.Sprintf("admission webhook %q denied the request", h.name)
	switch {
	case result.Message != "":
		result.Message = by + ": " + result.Message
	case result.Reason != "":
		result.Message = fmt.Sprintf("%s: %s", by, result.Reason)
	default:
		result.Message = by + " without explanation"
	}
	return &apierrors.StatusError{ErrStatus: *result}
}

// refusal is what the client hears when a webhook could not be asked.
func refusal(h *hook, err error) error {
	return apierrors.NewInternalError(fmt.Errorf("failed calling webhook %q: %w", h.name, err))
}
