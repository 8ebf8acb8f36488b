package proxy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/request"
)

type podLog struct{ *Proxy }

// Options implements request.Connector: reading a log is no connection that
// admission decides on.
func (podLog) Options(request.Target) runtime.Object { return nil }

// Connect implements request.Connector.
func (l podLog) Connect(w http.ResponseWriter, r *http.Request, t request.Target) error {
	pod, err := podOf(r.Context(), t)
	if err != nil {
		return err
	}
	query, err := logQuery(t.Query, pod.Name)
	if err != nil {
		return err
	}
	container, err := containerOf(pod, t.Query.Get("container"))
	if err != nil {
		return err
	}
	if pod.Spec.NodeName == "" {
		// A pod that runs nowhere has said nothing.
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(http.StatusOK)
		return nil
	}
	location, err := onKubelet(r.Context(), t, pod, query, "containerLogs", pod.Namespace, pod.Name, container)
	if err != nil {
		return err
	}
	transport := l.kubelet
	if flag(t.Query, "insecureSkipTLSVerifyBackend") {
		transport = l.unchecked
	}
	return relay(w, r, location, transport, pod.Name)
}

// logQuery checks the options of a log request and writes them as kubelets
// read them.
func logQuery(query url.Values, pod string) (url.Values, error) {
	out := url.Values{}
	for _, name := range []string{"follow", "previous", "timestamps"} {
		if flag(query, name) {
			out.Set(name, "true")
		}
	}
	var errs field.ErrorList
	number := func(name string, least int64) {
		value := query.Get(name)
		if value == "" {
			return
		}
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < least {
			errs = append(errs, field.Invalid(field.NewPath(name), value, fmt.Sprintf("must be greater than or equal to %d", least)))
			return
		}
		out.Set(name, value)
	}
	number("tailLines", 0)
	number("limitBytes", 1)
	number("sinceSeconds", 1)
	errs = append(errs, sinceTime(query, out)...)
	errs = append(errs, logStream(query, out)...)
	if len(errs) > 0 {
		return nil, apierrors.NewInvalid(schema.GroupKind{Kind: "PodLogOptions"}, pod, errs)
	}
	return out, nil
}

func sinceTime(query, out url.Values) field.ErrorList {
	value := query.Get("sinceTime")
	if value == "" {
		return nil
	}
	path := field.NewPath("sinceTime")
	if query.Get("sinceSeconds") != "" {
		return field.ErrorList{field.Forbidden(path, "at most one of `sinceTime` or `sinceSeconds` may be specified")}
	}
	if _, err := time.Parse(time.RFC3339, value); err != nil {
		return field.ErrorList{field.Invalid(path, value, "must be a time as in RFC 3339")}
	}
	out.Set("sinceTime", value)
	return nil
}

func logStream(query, out url.Values) field.ErrorList {
	value := query.Get("stream")
	switch value {
	case "", corev1.LogStreamAll:
		return nil
	case corev1.LogStreamStdout, corev1.LogStreamStderr:
		if query.Get("tailLines") != "" {
			return field.ErrorList{field.Forbidden(field.NewPath("tailLines"), "`tailLines` is forbidden when `stream` is not \"All\"")}
		}
		out.Set("stream", value)
		return nil
	}
	known := []string{corev1.LogStreamAll, corev1.LogStreamStdout, corev1.LogStreamStderr}
	return field.ErrorList{field.NotSupported(field.NewPath("stream"), value, known)}
}

// relay copies what a kubelet answers to the client as it comes.
func relay(w http.ResponseWriter, r *http.Request, location *url.URL, transport http.RoundTripper, pod string) error {
	inner, err := http.NewRequestWithContext(r.Context(), http.MethodGet, location.String(), nil)
	if err != nil {
		return err
	}
	answer, err := transport.RoundTrip(inner)
	if err != nil {
		return apierrors.NewInternalError(fmt.Errorf("get logs of pod %s: %w", pod, err))
	}
	defer func() { _ = answer.Body.Close() }()
	if err := refusal(answer, pod); err != nil {
		return err
	}
	contentType := answer.Header.Get("Content-Type")
	if contentType == "" {
		contentType = "text/plain"
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	return pump(w, answer.Body)
}

// maxRefusal bounds how much of an error's text is read.
const maxRefusal = 50_000

// refusal turns an error of the kubelet into one of the API.
func refusal(answer *http.Response, pod string) error {
	if answer.StatusCode >= 200 && answer.StatusCode < 300 {
		return nil
	}
	raw, err := io.ReadAll(io.LimitReader(answer.Body, maxRefusal))
	if err != nil {
		return apierrors.NewInternalError(fmt.Errorf("read the kubelet's answer: %w", err))
	}
	text := strings.TrimSpace(string(raw))
	switch {
	case answer.StatusCode >= 300 && answer.StatusCode < 400:
		return apierrors.NewInternalError(errors.New("the kubelet attempted to redirect this request, which is not permitted"))
	case answer.StatusCode == http.StatusInternalServerError:
		return apierrors.NewInternalError(errors.New(text))
	case answer.StatusCode == http.StatusBadRequest:
		return apierrors.NewBadRequest(text)
	}
	return apierrors.NewGenericServerResponse(answer.StatusCode, http.MethodGet, podResource, pod, text, 0, false)
}

// pump copies a stream, flushing whatever has come. That either side goes away
// is how streams end.
func pump(w http.ResponseWriter, body io.Reader) error {
	control := http.NewResponseController(w)
	_ = control.Flush()
	buffer := make([]byte, 32<<10)
	for {
		n, err := body.Read(buffer)
		if n > 0 {
			if _, err := w.Write(buffer[:n]); err != nil {
				return nil
			}
			_ = control.Flush()
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			// The client must see that the log was cut off.
			panic(http.ErrAbortHandler)
		}
	}
}
