package part

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestPersistWaitsForTheStoreOnly(t *testing.T) {
	full := &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: http.StatusInsufficientStorage}}
	for _, c := range []struct {
		name  string
		err   error
		again bool
	}{
		{"away", apierrors.NewServiceUnavailable("no endpoint of etcd takes connections"), true},
		{"slow", apierrors.NewTimeoutError("the store did not answer", 1), true},
		{"full", full, true},
		{"forbidden", apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "x", nil), false},
		{"foreign", errors.New("the datastore is that of another cluster"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				attempts := 0
				err := Persist(t.Context(), slog.New(slog.DiscardHandler), "a step", func(context.Context) error {
					attempts++
					if attempts < 10 {
						return c.err
					}
					return nil
				})
				if c.again && (err != nil || attempts != 10) || !c.again && (!errors.Is(err, c.err) || attempts != 1) {
					t.Errorf("%v after %d attempts", err, attempts)
				}
			})
		})
	}
}

func TestPersistEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- Persist(ctx, slog.New(slog.DiscardHandler), "a step", func(context.Context) error {
				return apierrors.NewServiceUnavailable("away")
			})
		}()
		synctest.Wait()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
	})
}
