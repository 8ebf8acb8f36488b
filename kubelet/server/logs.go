package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/yare-io/yare/kubelet/server/logs"
)

// containerLogs sends what a container has written, and with follow what it
// writes until it ends or the client leaves.
func (s *Server) containerLogs(w http.ResponseWriter, r *http.Request) {
	pod, container, err := s.containerOf(r)
	if err != nil {
		s.fail(w, err)
		return
	}
	options, err := logOptions(r.URL.Query(), time.Now())
	if err != nil {
		s.fail(w, apierrors.NewBadRequest(err.Error()))
		return
	}
	previous, err := boolean(r.URL.Query(), "previous")
	if err != nil {
		s.fail(w, apierrors.NewBadRequest(err.Error()))
		return
	}
	id, state, err := s.logOf(r.Context(), pod, container.Name, previous)
	if err != nil {
		s.fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	out := &flusher{w: w, controller: http.NewResponseController(w)}
	err = logs.Read(r.Context(), out, state.LogPath, options, s.running(id))
	switch {
	case err == nil || r.Context().Err() != nil:
	case !out.written:
		s.fail(w, err)
	default:
		s.logger.Error("log cut short", "pod", pod.Namespace+"/"+pod.Name, "container", container.Name, "err", err)
		panic(http.ErrAbortHandler) // the client must see that there is more
	}
}

// logOf returns a container that has a log. One that has not started yet is
// the client's mistake, as for Kubernetes.
func (s *Server) logOf(ctx context.Context, pod *corev1.Pod, name string, previous bool) (string, ContainerState, error) {
	id, err := s.config.Backend.ContainerID(ctx, pod.UID, name, previous)
	if errors.Is(err, ErrNotFound) {
		return "", ContainerState{}, apierrors.NewBadRequest(noLog(pod, name, previous))
	}
	if err != nil {
		return "", ContainerState{}, err
	}
	state, err := s.config.Backend.Container(ctx, id)
	if err != nil {
		return "", ContainerState{}, err
	}
	if state.LogPath == "" {
		return "", ContainerState{}, apierrors.NewBadRequest(fmt.Sprintf("container %q in pod %q keeps no log", name, pod.Name))
	}
	return id, state, nil
}

func noLog(pod *corev1.Pod, name string, previous bool) string {
	if previous {
		return fmt.Sprintf("previous terminated container %q in pod %q not found", name, pod.Name)
	}
	reason := "ContainerCreating"
	if status := statusOf(&pod.Status, name); status != nil && status.State.Waiting != nil && status.State.Waiting.Reason != "" {
		reason = status.State.Waiting.Reason
	}
	return fmt.Sprintf("container %q in pod %q is waiting to start: %s", name, pod.Name, reason)
}

// running tells the reader of a log whether more may come. A container that is
// gone writes no more.
func (s *Server) running(id string) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		state, err := s.config.Backend.Container(ctx, id)
		if errors.Is(err, ErrNotFound) {
			return false, nil
		}
		return state.Running, err
	}
}

// logOptions reads the query of a log request; now is what sinceSeconds counts
// from.
func logOptions(query url.Values, now time.Time) (logs.Options, error) {
	var o logs.Options
	var errs []error
	collect := func(err error) { errs = append(errs, err) }
	var err error
	o.Follow, err = boolean(query, "follow")
	collect(err)
	o.Timestamps, err = boolean(query, "timestamps")
	collect(err)
	o.Tail, err = number(query, "tailLines", 0)
	collect(err)
	o.LimitBytes, err = number(query, "limitBytes", 1)
	collect(err)
	o.Since, err = since(query, now)
	collect(err)
	o.Stream, err = stream(query)
	collect(err)
	return o, errors.Join(errs...)
}

func since(query url.Values, now time.Time) (time.Time, error) {
	seconds, err := number(query, "sinceSeconds", 1)
	stamp := query.Get("sinceTime")
	switch {
	case err != nil:
		return time.Time{}, err
	case seconds != nil && stamp != "":
		return time.Time{}, errors.New("at most one of sinceTime and sinceSeconds may be given")
	case seconds != nil:
		return now.Add(-time.Duration(min(*seconds, int64(1<<32))) * time.Second), nil
	case stamp == "":
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, stamp)
	if err != nil {
		return time.Time{}, fmt.Errorf("sinceTime %q is no RFC 3339 time", stamp)
	}
	return at, nil
}

func stream(query url.Values) (logs.Stream, error) {
	switch name := query.Get("stream"); name {
	case "", corev1.LogStreamAll:
		return "", nil
	case corev1.LogStreamStdout:
		return logs.Stdout, nil
	case corev1.LogStreamStderr:
		return logs.Stderr, nil
	default:
		return "", fmt.Errorf("stream %q is none of All, Stdout, Stderr", name)
	}
}

func boolean(query url.Values, name string) (bool, error) {
	text := query.Get(name)
	if text == "" {
		return false, nil
	}
	value, err := strconv.ParseBool(text)
	if err != nil {
		return false, fmt.Errorf("%s %q is neither true nor false", name, text)
	}
	return value, nil
}

func number(query url.Values, name string, least int64) (*int64, error) {
	text := query.Get(name)
	if text == "" {
		return nil, nil
	}
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil || value < least {
		return nil, fmt.Errorf("%s %q is no number from %d", name, text, least)
	}
	return &value, nil
}

// flusher sends each piece at once: a follower waits for it.
type flusher struct {
	w          http.ResponseWriter
	controller *http.ResponseController
	written    bool
}

// Write implements io.Writer.
func (f *flusher) Write(p []byte) (int, error) {
	f.written = true
	n, err := f.w.Write(p)
	if err == nil {
		err = f.controller.Flush()
	}
	return n, err
}
