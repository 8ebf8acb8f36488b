package kubeapiserver

import (
	"slices"
	"testing"

	"github.com/yare-io/yare/admission"
)

type named string

func (n named) Name() string                   { return string(n) }
func (named) Handles(admission.Operation) bool { return true }

func TestQuotasAreChargedAfterPolicies(t *testing.T) {
	for _, c := range []struct{ given, want []admission.Plugin }{
		{[]admission.Plugin{named("a"), named("ResourceQuota")}, []admission.Plugin{named("a"), named("opa"), named("ResourceQuota")}},
		{[]admission.Plugin{named("a")}, []admission.Plugin{named("a"), named("opa")}},
	} {
		if got := beforeQuotas(c.given, named("opa")); !slices.Equal(got, c.want) {
			t.Errorf("order %v, want %v", got, c.want)
		}
	}
}
