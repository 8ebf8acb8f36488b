package node_test

import (
	"errors"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/yare-io/yare/kubelet/node"
)

func TestReserve(t *testing.T) {
	capacity := v1.ResourceList{
		v1.ResourceCPU: resource.MustParse("2"), v1.ResourceMemory: resource.MustParse("1000Mi"), v1.ResourceEphemeralStorage: resource.MustParse("100Gi"),
	}
	got, err := node.Reserve(capacity, []map[string]string{{"cpu": "500m", "memory": "100Mi"}, {"cpu": "3"}},
		map[string]string{"memory.available": "100Mi", "nodefs.available": "10%"})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[v1.ResourceName]string{v1.ResourceCPU: "0", v1.ResourceMemory: "800Mi", v1.ResourceEphemeralStorage: "90Gi"} {
		if q := got[name]; q.Cmp(resource.MustParse(want)) != 0 {
			t.Errorf("%s: %s, want %s", name, q.String(), want)
		}
	}
	for _, bad := range []string{"x", "120%", "-1%", "%"} {
		if _, err := node.Reserve(capacity, nil, map[string]string{"memory.available": bad}); err == nil {
			t.Errorf("threshold %q was accepted", bad)
		}
	}
}

func TestConditionsFollowTheRuntime(t *testing.T) {
	answer := func(runtime, network bool) *runtimeapi.StatusResponse {
		return &runtimeapi.StatusResponse{Status: &runtimeapi.RuntimeStatus{Conditions: []*runtimeapi.RuntimeCondition{
			{Type: runtimeapi.RuntimeReady, Status: runtime, Reason: "R", Message: "m"}, {Type: runtimeapi.NetworkReady, Status: network, Reason: "N", Message: "m"},
		}}}
	}
	if runtimeErr, networkErr := node.RuntimeErrors(answer(true, true), nil); runtimeErr != nil || networkErr != nil {
		t.Errorf("%v, %v", runtimeErr, networkErr)
	}
	if _, err := node.RuntimeErrors(answer(true, false), nil); err == nil || err.Error() != "container runtime network not ready: NetworkReady=false reason:N message:m" {
		t.Errorf("network: %v", err)
	}
	if err, _ := node.RuntimeErrors(nil, errors.New("gone")); err == nil || err.Error() != "container runtime is down: gone" {
		t.Errorf("down: %v", err)
	}
	ready := node.Condition(node.Conditions(node.Pressure{Disk: true}, errors.New("why")), v1.NodeReady)
	if ready.Status != v1.ConditionFalse || ready.Reason != "KubeletNotReady" || ready.Message != "why" {
		t.Errorf("ready: %+v", ready)
	}
	disk := node.Condition(node.Conditions(node.Pressure{Disk: true}, nil), v1.NodeDiskPressure)
	if disk.Status != v1.ConditionTrue || disk.Reason != "KubeletHasDiskPressure" {
		t.Errorf("disk: %+v", disk)
	}
}
