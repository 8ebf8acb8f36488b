package policy

import (
	"testing"

	"github.com/yare-io/yare/apiserver/api/rowtest"
)

func TestPodDisruptionBudget(t *testing.T) {
	r := rowtest.Row(t, Resources(), "poddisruptionbudgets")
	base := "{metadata: {name: a, namespace: b}, spec: {minAvailable: 1, selector: {matchLabels: {a: b}}}}"
	rowtest.Creates(t, r, base, rowtest.Cases{
		{"both ways", "spec: {maxUnavailable: 1}", []string{"Invalid spec"}},
		{"fewer than none", "spec: {minAvailable: -1}", []string{"Invalid spec.minAvailable"}},
		{"more than all", "spec: {minAvailable: 101%}", []string{"Invalid spec.minAvailable"}},
		{"no percentage", "spec: {minAvailable: some}", []string{"Invalid spec.minAvailable"}},
		{"bad selector", "spec: {selector: {matchExpressions: [{key: a, operator: Is}]}}", []string{"Invalid spec.selector.matchExpressions[0].operator"}},
		{"unknown policy", "spec: {unhealthyPodEvictionPolicy: Never}", []string{"NotSupported spec.unhealthyPodEvictionPolicy"}},
	})
	rowtest.Updates(t, r, &r.Strategy, base, rowtest.Cases{{"another number", "spec: {minAvailable: 2}", nil}})
	rowtest.Updates(t, r, r.Subresources[0].Part, base, rowtest.Cases{
		{"fewer than none allowed", "status: {disruptionsAllowed: -1}", []string{"Invalid status.disruptionsAllowed"}},
		{"spec is not touched", "spec: {minAvailable: -1}", nil},
	})
}
