package coordination

import (
	"testing"

	"github.com/yare-io/yare/apiserver/api/rowtest"
)

func TestLease(t *testing.T) {
	r := rowtest.Row(t, Resources(), "leases")
	rowtest.Creates(t, r, "{metadata: {name: a, namespace: b}, spec: {leaseDurationSeconds: 40}}", rowtest.Cases{
		{"for no time", "spec: {leaseDurationSeconds: 0}", []string{"Invalid spec.leaseDurationSeconds"}},
		{"changed hands less than never", "spec: {leaseTransitions: -1}", []string{"Invalid spec.leaseTransitions"}},
		{"wished holder without a strategy", "spec: {preferredHolder: x}", []string{"Forbidden spec.preferredHolder"}},
		{"empty strategy", "spec: {strategy: ''}", []string{"Required spec.strategy"}},
	})
	if !r.Strategy.CreateOnUpdate || !r.Strategy.RequireVersion {
		t.Error("a lease is created by PUT, and changed only by who has seen it")
	}
}
