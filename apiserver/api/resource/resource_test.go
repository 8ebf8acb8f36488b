package resource_test

import (
	"testing"

	"k8s.io/utils/clock"

	"github.com/yare-io/yare/apiserver/api/resource"
	"github.com/yare-io/yare/apiserver/api/rowtest"
)

var rows = resource.Resources(resource.Deps{Clock: clock.RealClock{}})

const claim = `
metadata: {name: c, namespace: n}
spec: {devices: {requests: [{name: r, exactly: {deviceClassName: gpu, selectors: [{cel: {expression: 'device.driver == "d"'}}]}}]}}
`

func TestClaims(t *testing.T) {
	r := rowtest.Row(t, rows, "resourceclaims")
	requests := func(text string) string { return "spec: {devices: {requests: [" + text + "]}}" }
	exactly := func(text string) string { return requests("{name: r, exactly: {deviceClassName: gpu, " + text + "}}") }
	const at = "spec.devices.requests[0]"
	rowtest.Creates(t, r, claim, rowtest.Cases{
		{"no name", requests("{exactly: {deviceClassName: gpu}}"), []string{"Required " + at + ".name"}},
		{"twice", requests("{name: r, exactly: {deviceClassName: gpu}}, {name: r, exactly: {deviceClassName: gpu}}"), []string{"Duplicate spec.devices.requests[1].name"}},
		{"neither", requests("{name: r}"), []string{"Required " + at}},
		{"both", requests("{name: r, exactly: {deviceClassName: gpu}, firstAvailable: [{name: s, deviceClassName: gpu}]}"), []string{"Invalid " + at}},
		{"no class", requests("{name: r, exactly: {}}"), []string{"Required " + at + ".exactly.deviceClassName"}},
		{"mode", exactly("allocationMode: Some"), []string{"NotSupported " + at + ".exactly.allocationMode"}},
		{"count of all", exactly("allocationMode: All, count: 2"), []string{"Invalid " + at + ".exactly.count"}},
		{"count", exactly("count: -1"), []string{"Invalid " + at + ".exactly.count"}},
		{"no expression", exactly("selectors: [{}]"), []string{"Required " + at + ".exactly.selectors[0].cel"}},
		{"broken expression", exactly("selectors: [{cel: {expression: 'device.'}}]"), []string{"Invalid " + at + ".exactly.selectors[0].cel.expression"}},
		{"expression's type", exactly("selectors: [{cel: {expression: '1 + 1'}}]"), []string{"Invalid " + at + ".exactly.selectors[0].cel.expression"}},
		{"toleration", exactly("tolerations: [{operator: Is}]"), []string{"NotSupported " + at + ".exactly.tolerations[0].operator"}},
		{"toleration without key", exactly("tolerations: [{value: v}]"), []string{"Required " + at + ".exactly.tolerations[0].key"}},
		{"constraint", "spec: {devices: {constraints: [{requests: [x]}]}}", []string{"Invalid spec.devices.constraints[0].requests[0]", "Required spec.devices.constraints[0]"}},
		{"attribute", "spec: {devices: {constraints: [{matchAttribute: a}]}}", []string{"Invalid spec.devices.constraints[0].matchAttribute"}},
		{"configuration", "spec: {devices: {config: [{}]}}", []string{"Required spec.devices.config[0].opaque"}},
		{"parameters", "spec: {devices: {config: [{opaque: {driver: d.io}}]}}", []string{"Required spec.devices.config[0].opaque.parameters"}},
	})
	rowtest.Updates(t, r, &r.Strategy, claim, rowtest.Cases{
		{"another class", exactly("count: 2"), []string{"Invalid spec"}},
	})
	rowtest.Updates(t, r, r.Subresources[0].Part, claim, rowtest.Cases{
		{"reserved, not allocated", "status: {reservedFor: [{resource: pods, name: p, uid: u}]}", []string{"Forbidden status.reservedFor"}},
		{"allocated for nobody", "status: {allocation: {devices: {results: [{request: x, driver: d.io, pool: p, device: d}]}}}", []string{"Invalid status.allocation.devices.results[0].request"}},
		{"reserved twice", "status: {allocation: {}, reservedFor: [{resource: pods, name: p, uid: u}, {resource: pods, name: q, uid: u}]}", []string{"Duplicate status.reservedFor[1]"}},
		{"not allocated", "status: {allocation: {}, devices: [{driver: d.io, pool: p, device: d}]}", []string{"Invalid status.devices[0]"}},
	})
}

func TestSlices(t *testing.T) {
	r := rowtest.Row(t, rows, "resourceslices")
	const base = "metadata: {name: s}\nspec: {driver: d.io, nodeName: n, pool: {name: p, generation: 1, resourceSliceCount: 1}, devices: [{name: d}]}"
	device := func(text string) string { return "spec: {devices: [{name: d, " + text + "}]}" }
	rowtest.Creates(t, r, base, rowtest.Cases{
		{"driver", `spec: {driver: ""}`, []string{"Required spec.driver"}},
		{"pool", `spec: {pool: {name: A_, resourceSliceCount: 0, generation: -1}}`, []string{"Invalid spec.pool.name", "Invalid spec.pool.resourceSliceCount", "Invalid spec.pool.generation"}},
		{"nowhere", "spec: {nodeName: null}", []string{"Required spec"}},
		{"everywhere and there", "spec: {allNodes: true}", []string{"Invalid spec"}},
		{"all of none", "spec: {allNodes: false}", []string{"Invalid spec.allNodes"}},
		{"device twice", "spec: {devices: [{name: d}, {name: d}]}", []string{"Duplicate spec.devices[1].name"}},
		{"attribute without value", device("attributes: {a: {}}"), []string{"Required spec.devices[0].attributes[a]"}},
		{"attribute with two", device("attributes: {a: {int: 1, bool: true}}"), []string{"Invalid spec.devices[0].attributes[a]"}},
		{"version", device("attributes: {a: {version: v}}"), []string{"Invalid spec.devices[0].attributes[a].version"}},
		{"attribute's name", device("attributes: {a-b: {int: 1}}"), []string{"Invalid spec.devices[0].attributes[a-b]"}},
		{"taint", device("taints: [{key: k}]"), []string{"Required spec.devices[0].taints[0].effect"}},
		{"device elsewhere", device("nodeName: m"), []string{"Invalid spec.devices[0]"}},
	})
	rowtest.Updates(t, r, &r.Strategy, base, rowtest.Cases{
		{"another driver", "spec: {driver: e.io}", []string{"Invalid spec.driver"}},
		{"another node", "spec: {nodeName: m}", []string{"Invalid spec.nodeName"}},
	})
}

func TestClassesAndTaintRules(t *testing.T) {
	rowtest.Creates(t, rowtest.Row(t, rows, "deviceclasses"), "metadata: {name: c}", rowtest.Cases{
		{"extended name", "spec: {extendedResourceName: cpu}", []string{"Invalid spec.extendedResourceName"}},
		{"selector", "spec: {selectors: [{cel: {expression: ''}}]}", []string{"Required spec.selectors[0].cel.expression"}},
	})
	rowtest.Creates(t, rowtest.Row(t, rows, "devicetaintrules"), "metadata: {name: r}\nspec: {taint: {key: k, effect: NoExecute}}", rowtest.Cases{
		{"effect", "spec: {taint: {effect: Now}}", []string{"NotSupported spec.taint.effect"}},
		{"device", "spec: {deviceSelector: {device: A}}", []string{"Invalid spec.deviceSelector.device"}},
	})
}
