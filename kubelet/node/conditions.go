package node

import (
	"errors"
	"fmt"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Pressure says which resources of the node run short.
type Pressure struct{ Memory, Disk, PID bool }

// Conditions returns the node's conditions; notReady is why it is not ready, or nil.
func Conditions(p Pressure, notReady error) []v1.NodeCondition {
	ready := v1.NodeCondition{
		Type: v1.NodeReady, Status: v1.ConditionTrue, Reason: "KubeletReady", Message: "kubelet is posting ready status",
	}
	if notReady != nil {
		ready.Status, ready.Reason, ready.Message = v1.ConditionFalse, "KubeletNotReady", notReady.Error()
	}
	return []v1.NodeCondition{
		pressure(v1.NodeMemoryPressure, p.Memory, "KubeletHasInsufficientMemory", "kubelet has insufficient memory available",
			"KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
		pressure(v1.NodeDiskPressure, p.Disk, "KubeletHasDiskPressure", "kubelet has disk pressure",
			"KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
		pressure(v1.NodePIDPressure, p.PID, "KubeletHasInsufficientPID", "kubelet has insufficient PID available",
			"KubeletHasSufficientPID", "kubelet has sufficient PID available"),
		ready,
	}
}

func pressure(kind v1.NodeConditionType, short bool, badReason, bad, goodReason, good string) v1.NodeCondition {
	if short {
		return v1.NodeCondition{Type: kind, Status: v1.ConditionTrue, Reason: badReason, Message: bad}
	}
	return v1.NodeCondition{Type: kind, Status: v1.ConditionFalse, Reason: goodReason, Message: good}
}

// RuntimeErrors reads from the runtime's conditions why it, or its network, is not ready.
func RuntimeErrors(status *runtimeapi.StatusResponse, err error) (runtimeErr, networkErr error) {
	if err != nil {
		down := fmt.Errorf("container runtime is down: %w", err)
		return down, down
	}
	runtimeErr, networkErr = errors.New("container runtime status check may not have completed yet"), errors.New("network state unknown")
	for _, c := range status.GetStatus().GetConditions() {
		switch c.Type {
		case runtimeapi.RuntimeReady:
			runtimeErr = unless(c, "container runtime not ready")
		case runtimeapi.NetworkReady:
			networkErr = unless(c, "container runtime network not ready")
		}
	}
	return runtimeErr, networkErr
}

func unless(c *runtimeapi.RuntimeCondition, what string) error {
	if c.Status {
		return nil
	}
	return fmt.Errorf("%s: %s=false reason:%s message:%s", what, c.Type, c.Reason, c.Message)
}
