package scheduling

import (
	"testing"

	"github.com/yare-io/yare/apiserver/api/rowtest"
)

func TestPriorityClass(t *testing.T) {
	r := rowtest.Row(t, Resources(), "priorityclasses")
	base := "{metadata: {name: a}, value: 5}"
	rowtest.Creates(t, r, base, rowtest.Cases{
		{"as high as the system", "value: 1000000001", []string{"Forbidden value"}},
		{"named like the system's", "metadata: {name: system-mine}", []string{"Forbidden metadata.name"}},
		{"the system's own", "{metadata: {name: system-node-critical}, value: 2000001000}", nil},
		{"the system's own, lowered", "{metadata: {name: system-node-critical}, value: 5}", []string{"Forbidden metadata.name"}},
		{"unknown policy", "preemptionPolicy: Always", []string{"NotSupported preemptionPolicy"}},
	})
	rowtest.Updates(t, r, &r.Strategy, base, rowtest.Cases{
		{"another value", "value: 6", []string{"Forbidden value"}},
		{"another policy", "preemptionPolicy: Never", []string{"Invalid preemptionPolicy"}},
		{"default for all", "globalDefault: true", nil},
	})
}
