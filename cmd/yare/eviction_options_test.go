package main

import (
	"maps"
	"testing"
)

func TestEvictionThresholdsAreRead(t *testing.T) {
	o := evictionOptions{hard: []string{"memory.available<100Mi", "nodefs.available<10%"}}
	got, err := o.thresholds()
	if err != nil || !maps.Equal(got, map[string]string{"memory.available": "100Mi", "nodefs.available": "10%"}) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := (&evictionOptions{}).thresholds(); got != nil || err != nil {
		t.Errorf("not given: %v, %v", got, err)
	}
	for _, bad := range []string{"memory.available", "<1Mi", "memory.available<"} {
		if _, err := (&evictionOptions{hard: []string{bad}}).thresholds(); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}
