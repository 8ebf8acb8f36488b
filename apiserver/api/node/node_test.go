package node

import (
	"testing"

	"github.com/yare-io/yare/apiserver/api/rowtest"
)

func TestRuntimeClass(t *testing.T) {
	r := rowtest.Row(t, Resources(), "runtimeclasses")
	base := "{metadata: {name: a}, handler: runc}"
	rowtest.Creates(t, r, base, rowtest.Cases{
		{"no handler", "handler: ''", []string{"Required handler"}},
		{"bad handler", "handler: run c", []string{"Invalid handler"}},
		{"negative overhead", "overhead: {podFixed: {cpu: -1}}", []string{"Invalid overhead.podFixed.limits[cpu]"}},
		{"bad toleration", "scheduling: {tolerations: [{operator: Equal}]}", []string{"Invalid scheduling.tolerations[0].operator"}},
	})
	rowtest.Updates(t, r, &r.Strategy, base, rowtest.Cases{{"another handler", "handler: crun", []string{"Invalid handler"}}})
}
