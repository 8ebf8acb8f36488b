package storage

import (
	"testing"

	"github.com/yare-io/yare/apiserver/api/rowtest"
)

func TestStorageClass(t *testing.T) {
	r := rowtest.Row(t, Resources(), "storageclasses")
	base := "{metadata: {name: a}, provisioner: example.com/disk, parameters: {k: v}}"
	rowtest.Creates(t, r, base, rowtest.Cases{
		{"no provisioner", "provisioner: ''", []string{"Required provisioner"}},
		{"unknown mode", "volumeBindingMode: Later", []string{"NotSupported volumeBindingMode"}},
		{"recycling", "reclaimPolicy: Recycle", []string{"NotSupported reclaimPolicy"}},
		{"topology without values", "allowedTopologies: [{matchLabelExpressions: [{key: zone}]}]", []string{"Required allowedTopologies[0].matchLabelExpressions[0].values"}},
	})
	rowtest.Updates(t, r, &r.Strategy, base, rowtest.Cases{
		{"other parameters", "parameters: {k: w}", []string{"Forbidden parameters"}},
		{"another provisioner", "provisioner: example.com/other", []string{"Forbidden provisioner"}},
		{"another policy", "reclaimPolicy: Retain", []string{"Forbidden reclaimPolicy"}},
		{"growing allowed", "allowVolumeExpansion: true", nil},
	})
}

func TestVolumeAttributesClass(t *testing.T) {
	r := rowtest.Row(t, Resources(), "volumeattributesclasses")
	base := "{metadata: {name: a}, driverName: example.com, parameters: {k: v}}"
	rowtest.Creates(t, r, base, rowtest.Cases{
		{"no driver", "driverName: ''", []string{"Required driverName"}},
		{"no parameter", "parameters: null", []string{"Required parameters"}},
	})
	rowtest.Updates(t, r, &r.Strategy, base, rowtest.Cases{{"other parameters", "parameters: {k: w}", []string{"Invalid parameters"}}})
}

func TestCSIDriver(t *testing.T) {
	r := rowtest.Row(t, Resources(), "csidrivers")
	base := "{metadata: {name: example.com}}"
	rowtest.Creates(t, r, base, rowtest.Cases{
		{"unknown policy", "spec: {fsGroupPolicy: Some}", []string{"NotSupported spec.fsGroupPolicy"}},
		{"unknown mode", "spec: {volumeLifecycleModes: [Short]}", []string{"NotSupported spec.volumeLifecycleModes"}},
		{"token of a minute", "spec: {tokenRequests: [{audience: a, expirationSeconds: 60}]}", []string{"Invalid spec.tokenRequests[0].expirationSeconds"}},
		{"audience twice", "spec: {tokenRequests: [{audience: a}, {audience: a}]}", []string{"Duplicate spec.tokenRequests[1].audience"}},
	})
	rowtest.Updates(t, r, &r.Strategy, base, rowtest.Cases{
		{"attaching no more", "spec: {attachRequired: false}", []string{"Invalid spec.attachRequired"}},
		{"republishing", "spec: {requiresRepublish: true}", nil},
	})
}

func TestCSINode(t *testing.T) {
	r := rowtest.Row(t, Resources(), "csinodes")
	base := "{metadata: {name: n}, spec: {drivers: [{name: a.b, nodeID: x, topologyKeys: null}]}}"
	rowtest.Creates(t, r, base, rowtest.Cases{
		{"no identity", "spec: {drivers: [{name: a.b, topologyKeys: null}]}", []string{"Required spec.drivers[0].nodeID"}},
		{"driver twice", "spec: {drivers: [{name: a.b, nodeID: x}, {name: a.b, nodeID: y}]}", []string{"Duplicate spec.drivers[1].name"}},
	})
	rowtest.Updates(t, r, &r.Strategy, base, rowtest.Cases{
		{"another identity", "spec: {drivers: [{name: a.b, nodeID: y}]}", []string{"Invalid spec.drivers[0]"}},
		{"another capacity", "spec: {drivers: [{name: a.b, nodeID: x, allocatable: {count: 4}}]}", nil},
		{"another driver", "spec: {drivers: [{name: c.d, nodeID: x}]}", nil},
	})
}

func TestCSIStorageCapacity(t *testing.T) {
	r := rowtest.Row(t, Resources(), "csistoragecapacities")
	base := "{metadata: {name: a, namespace: b}, storageClassName: c}"
	rowtest.Creates(t, r, base, rowtest.Cases{
		{"no class", "storageClassName: ''", []string{"Invalid storageClassName"}},
		{"negative", "capacity: -1", []string{"Invalid capacity"}},
	})
	rowtest.Updates(t, r, &r.Strategy, base, rowtest.Cases{{"another class", "storageClassName: d", []string{"Invalid storageClassName"}}})
}

func TestVolumeAttachment(t *testing.T) {
	r := rowtest.Row(t, Resources(), "volumeattachments")
	base := "{metadata: {name: a}, spec: {attacher: a.b, nodeName: n, source: {persistentVolumeName: v}}}"
	rowtest.Creates(t, r, base, rowtest.Cases{
		{"of nothing", "spec: {source: {persistentVolumeName: null}}", []string{"Required spec.source"}},
		{"by nobody", "spec: {attacher: ''}", []string{"Required spec.attacher"}},
		{"to nowhere", "spec: {nodeName: ''}", []string{"Invalid spec.nodeName"}},
	})
	rowtest.Updates(t, r, &r.Strategy, base, rowtest.Cases{{"elsewhere", "spec: {nodeName: m}", []string{"Invalid spec"}}})
}
