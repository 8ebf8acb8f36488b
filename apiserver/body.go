package apiserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/warning"

	"github.com/yare-io/yare/apiserver/codec"
)

// readBody reads a request's body up to the limit.
func (s *Server) readBody(r *http.Request) ([]byte, error) {
	limit := s.config.MaxBodyBytes
	if r.ContentLength > limit {
		return nil, tooLarge(r.Body, limit)
	}
	body, err := readAll(io.LimitReader(r.Body, limit+1), r.ContentLength)
	if err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("unable to read the request body: %v", err))
	}
	if int64(len(body)) > limit {
		return nil, tooLarge(r.Body, limit)
	}
	return body, nil
}

// tooLarge reads on for a while, as most clients read no answer before they
// have sent all: they would only see that the connection broke.
func tooLarge(body io.Reader, limit int64) error {
	_, _ = io.CopyN(io.Discard, body, 2*limit)
	return apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("limit is %d", limit))
}

// readAll is io.ReadAll with room made beforehand for what was announced.
func readAll(r io.Reader, announced int64) ([]byte, error) {
	body := make([]byte, 0, max(512, announced+1))
	for {
		n, err := r.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if err == io.EOF {
			return body, nil
		}
		if err != nil {
			return nil, err
		}
		if len(body) == cap(body) {
			body = append(body, 0)[:len(body)]
		}
	}
}

// decode reads an object out of a body of a call. What validation says that
// the client may know about becomes warnings or the error.
func (c *call) decode(ctx context.Context, f codec.Format, body []byte, into runtime.Object, fieldValidation string) error {
	got, problems, err := c.parse(f, body, into, fieldValidation != metav1.FieldValidationIgnore)
	if err != nil {
		return undecodable(err)
	}
	auditBody(ctx, got, into)
	return strictness(ctx, got, c.kind(), problems, fieldValidation)
}

// undecodable is the answer to a body that is not what it should be.
func undecodable(err error) error {
	if errors.Is(err, codec.ErrTooManyItems) {
		return apierrors.NewRequestEntityTooLargeError(err.Error())
	}
	return apierrors.NewBadRequest(err.Error())
}

// parse decodes a body. Kinds without a Go type are brought into the form of
// their schema, as others are by being decoded into their type.
func (c *call) parse(f codec.Format, body []byte, into runtime.Object, strict bool) (schema.GroupVersionKind, []error, error) {
	kind := c.kind()
	got, problems, err := codec.Decode(f, body, kind, into, strict)
	if err != nil || c.res.row.Schema == nil || kind != c.res.row.Kind {
		return got, problems, err
	}
	unknown, err := c.res.row.Schema.Coerce(into, strict)
	for _, path := range unknown {
		problems = append(problems, fmt.Errorf("unknown field %q", path))
	}
	return got, problems, err
}

// strictness does with unknown and duplicate fields what the client asked for.
func strictness(ctx context.Context, got, want schema.GroupVersionKind, problems []error, fieldValidation string) error {
	if len(problems) == 0 {
		return nil
	}
	if fieldValidation == metav1.FieldValidationStrict {
		err := runtime.NewStrictDecodingError(problems)
		return apierrors.NewBadRequest(fmt.Sprintf("%s in version %q cannot be handled as a %s: %v", got.Kind, got.Version, want.Kind, err))
	}
	for _, problem := range problems {
		warning.AddWarning(ctx, "", problem.Error())
	}
	return nil
}
