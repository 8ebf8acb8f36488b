package metered_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/memory"
	"github.com/yare-io/yare/storage/metered"
	"github.com/yare-io/yare/storage/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) storage.Store { return metered.New(memory.New(memory.Config{})) })
}

func TestRequestsAreCountedByResource(t *testing.T) {
	store := metered.New(memory.New(memory.Config{}))
	store.Name(func(key string) (string, string) {
		if strings.HasPrefix(key, "/registry/deployments/") {
			return "apps", "deployments"
		}
		return "", ""
	})
	registry := prometheus.NewRegistry()
	if err := registry.Register(store); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	revision, err := store.Create(ctx, "/registry/deployments/a", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Delete(ctx, "/registry/deployments/a", revision+1); !errors.Is(err, storage.ErrConflict) {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Get(context.Background(), "/other"); !errors.Is(err, storage.ErrUnavailable) {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]uint64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			name := family.GetName()
			for _, label := range metric.GetLabel() {
				name += " " + label.GetValue()
			}
			got[name] = uint64(metric.GetCounter().GetValue()) + metric.GetHistogram().GetSampleCount()
		}
	}
	want := map[string]uint64{"etcd_request_errors_total  get ": 1, "apiserver_storage_size_bytes etcd-0": 0}
	for _, name := range []string{"etcd_requests_total", "etcd_request_duration_seconds"} {
		for _, labels := range []string{" apps create deployments", " apps delete deployments", "  get "} {
			want[name+labels] = 1
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
