package discovery

import (
	"fmt"
	"testing"
	"time"

	"github.com/yare-io/yare/apiserver/api/rowtest"
)

const slice = "{metadata: {name: a, namespace: b}, addressType: IPv4, endpoints: [{addresses: [10.0.0.1]}], ports: [{port: 80}]}"

func TestEndpointSlice(t *testing.T) {
	r := rowtest.Row(t, Resources(), "endpointslices")
	rowtest.Creates(t, r, slice, rowtest.Cases{
		{"no type", "addressType: ''", []string{"Required addressType"}},
		{"unknown type", "addressType: IPX", []string{"NotSupported addressType"}},
		{"nobody", "endpoints: [{addresses: []}]", []string{"Required endpoints[0].addresses"}},
		{"of another family", "endpoints: [{addresses: ['fd00::1']}]", []string{"Invalid endpoints[0].addresses[0]"}},
		{"loopback", "endpoints: [{addresses: [127.0.0.1]}]", []string{"Invalid endpoints[0].addresses[0]"}},
		{"bad host name", "endpoints: [{addresses: [10.0.0.1], hostname: a.b}]", []string{"Invalid endpoints[0].hostname"}},
		{"hint twice", "endpoints: [{addresses: [10.0.0.1], hints: {forZones: [{name: a}, {name: a}]}}]", []string{"Duplicate endpoints[0].hints.forZones[1].name"}},
		{"port name twice", "ports: [{port: 80}, {port: 81}]", []string{"Duplicate ports[1].name"}},
		{"bad port", "ports: [{port: 0}]", []string{"Invalid ports[0].port"}},
		{"names", "{addressType: FQDN, endpoints: [{addresses: [a.example.com]}]}", nil},
	})
	rowtest.Updates(t, r, &r.Strategy, slice, rowtest.Cases{
		{"another type", "{addressType: IPv6, endpoints: [{addresses: ['fd00::1']}]}", []string{"Invalid addressType"}},
		{"another endpoint", "endpoints: [{addresses: [10.0.0.2]}]", nil},
	})
}

func TestLines(t *testing.T) {
	r := rowtest.Row(t, Resources(), "endpointslices")
	for change, want := range map[string][2]string{
		"": {"80", "10.0.0.1"},
		"{endpoints: [{addresses: [1.1.1.1, 1.1.1.2]}, {addresses: [1.1.1.3, 1.1.1.4]}], ports: null}": {"<unset>", "1.1.1.1,1.1.1.2,1.1.1.3 + 1 more..."},
	} {
		o := rowtest.Object(t, r, slice, change)
		got := [2]string{fmt.Sprint(r.Columns[2].Cell(o, time.Time{})), fmt.Sprint(r.Columns[3].Cell(o, time.Time{}))}
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
