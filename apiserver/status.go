package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/apiserver/codec"
	"github.com/yare-io/yare/apiserver/patch"
	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/cache"
)

var statusKind = schema.GroupVersionKind{Version: "v1", Kind: "Status"}

// errNoResource answers requests for paths and resources that do not exist.
func errNoResource() error {
	return plainStatus(http.StatusNotFound, metav1.StatusReasonNotFound, "the server could not find the requested resource")
}

// errMethod answers requests for what exists but cannot be done so.
func errMethod() error {
	return plainStatus(http.StatusMethodNotAllowed, metav1.StatusReasonMethodNotAllowed, "the server does not allow this method on the requested resource")
}

func plainStatus(code int32, reason metav1.StatusReason, message string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: code, Reason: reason, Message: message, Details: &metav1.StatusDetails{},
	}}
}

// apiError is the one place that turns errors of the layers below into what
// clients know.
func apiError(err error, resource schema.GroupResource, name string) error {
	if status := apierrors.APIStatus(nil); errors.As(err, &status) {
		return err
	}
	if known := storageError(err, resource, name); known != nil {
		return known
	}
	var wrongKind *codec.MismatchError
	switch {
	case errors.Is(err, codec.ErrNotAcceptable):
		return plainStatus(http.StatusNotAcceptable, metav1.StatusReasonNotAcceptable, err.Error())
	case errors.Is(err, codec.ErrUnsupported):
		return plainStatus(http.StatusUnsupportedMediaType, metav1.StatusReasonUnsupportedMediaType, err.Error())
	case errors.As(err, &wrongKind), errors.Is(err, patch.ErrMalformed):
		return apierrors.NewBadRequest(err.Error())
	case errors.Is(err, patch.ErrUnprocessable):
		return plainStatus(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid, err.Error())
	case errors.Is(err, patch.ErrTooLarge):
		return apierrors.NewRequestEntityTooLargeError(err.Error())
	case errors.Is(err, context.DeadlineExceeded):
		return apierrors.NewTimeoutError("request did not complete within the allotted timeout", 0)
	}
	return apierrors.NewInternalError(err)
}

// storageError knows the errors of the store and the cache; nil for others.
func storageError(err error, resource schema.GroupResource, name string) error {
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return apierrors.NewNotFound(resource, name)
	case errors.Is(err, storage.ErrExists):
		return apierrors.NewAlreadyExists(resource, name)
	case errors.Is(err, storage.ErrConflict):
		return errModified(resource, name)
	case errors.Is(err, storage.ErrCompacted), errors.Is(err, cache.ErrExpired):
		return apierrors.NewResourceExpired("The resourceVersion for the provided watch is too old.")
	case errors.Is(err, storage.ErrFutureRevision):
		return tooLargeVersion(err)
	case errors.Is(err, storage.ErrTooLarge):
		return apierrors.NewRequestEntityTooLargeError("the object is larger than the store accepts")
	case errors.Is(err, storage.ErrNoSpace):
		return plainStatus(http.StatusInsufficientStorage, metav1.StatusReasonInternalError,
			"the store is full: deletes still work, so remove what is not needed, or have its operator make room")
	case errors.Is(err, context.DeadlineExceeded) && errors.Is(err, storage.ErrUnavailable):
		return apierrors.NewTimeoutError("the store did not answer within the allotted timeout", storeRetrySeconds)
	case errors.Is(err, context.DeadlineExceeded):
		return apierrors.NewTimeoutError("request did not complete within the allotted timeout", 0)
	case errors.Is(err, storage.ErrUnavailable):
		unavailable := apierrors.NewServiceUnavailable(err.Error())
		unavailable.ErrStatus.Details = &metav1.StatusDetails{RetryAfterSeconds: storeRetrySeconds}
		return unavailable
	}
	return nil
}

// storeRetrySeconds is when a client may ask again after the store was away.
const storeRetrySeconds = 1

func errModified(resource schema.GroupResource, name string) error {
	return apierrors.NewConflict(resource, name, errors.New("the object has been modified; please apply your changes to the latest version and try again"))
}

// tooLargeVersion answers a read at a resourceVersion that is not reached yet;
// clients recognise the cause and ask again.
func tooLargeVersion(err error) error {
	timeout := apierrors.NewTimeoutError(fmt.Sprintf("Too large resource version: %v", err), 1)
	timeout.ErrStatus.Details.Causes = []metav1.StatusCause{{
		Type: metav1.CauseTypeResourceVersionTooLarge, Message: "Too large resource version",
	}}
	return timeout
}

// statusOf returns the Status that a client sees for an error.
func statusOf(err error) *metav1.Status {
	var known apierrors.APIStatus
	if !errors.As(err, &known) {
		known = apierrors.NewInternalError(err)
	}
	status := known.Status()
	if status.Status == "" {
		status.Status = metav1.StatusFailure
	}
	if status.Code == 0 {
		status.Code = http.StatusInternalServerError
	}
	status.TypeMeta = metav1.TypeMeta{}
	return &status
}

// fail answers a request with an error.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	status := statusOf(apiError(err, schema.GroupResource{}, ""))
	if status.Code >= http.StatusInternalServerError && r.Context().Err() == nil {
		s.logger.Error("request failed", "method", r.Method, "path", r.URL.Path, "audit", w.Header().Get(auditHeader), "error", err)
	}
	if status.Details != nil && status.Details.RetryAfterSeconds > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(status.Details.RetryAfterSeconds)))
	}
	auditReply(r.Context(), statusKind, fresh{status})
	out, err := codec.Negotiate(r, nil, statusOffer)
	if err != nil {
		out = codec.Output{}
	}
	body, err := renderStatus(out, status)
	if err != nil {
		s.logger.Error("cannot encode a status", "error", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	s.send(w, r, int(status.Code), out.Format.MediaType(), body)
}

var statusOffer = codec.Offer{Formats: []codec.Format{codec.JSON, codec.YAML, codec.Protobuf, codec.CBOR}}

func renderStatus(out codec.Output, status *metav1.Status) ([]byte, error) {
	bare, err := codec.Encode(out.Format, status)
	if err != nil {
		return nil, err
	}
	body, err := codec.Wrap(out.Format, statusKind, bare)
	if err != nil {
		return nil, err
	}
	return prettify(out, body), nil
}
