package resource

import (
	"time"

	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/yare-io/yare/apiserver/api/row"
)

func defaultClaim(s *resourcev1.ResourceClaimSpec) {
	for i := range s.Devices.Requests {
		r := &s.Devices.Requests[i]
		if e := r.Exactly; e != nil {
			defaultRequest(&e.AllocationMode, &e.Count, e.Tolerations)
		}
		for j := range r.FirstAvailable {
			sub := &r.FirstAvailable[j]
			defaultRequest(&sub.AllocationMode, &sub.Count, sub.Tolerations)
		}
	}
}

func defaultRequest(mode *resourcev1.DeviceAllocationMode, count *int64, tolerations []resourcev1.DeviceToleration) {
	if *mode == "" {
		*mode = resourcev1.DeviceAllocationModeExactCount
	}
	if *mode == resourcev1.DeviceAllocationModeExactCount && *count == 0 {
		*count = 1
	}
	for i := range tolerations {
		if tolerations[i].Operator == "" {
			tolerations[i].Operator = resourcev1.DeviceTolerationOpEqual
		}
	}
}

// dateTaint gives a taint without a time the present one, in whole seconds as
// the wire has it.
func (d Deps) dateTaint(t *resourcev1.DeviceTaint) {
	if t.TimeAdded == nil {
		now := metav1.NewTime(d.Clock.Now().Truncate(time.Second))
		t.TimeAdded = &now
	}
}

func taintAge(r *resourcev1.DeviceTaintRule, now time.Time) any {
	if r.Spec.Taint.TimeAdded == nil {
		return row.Unknown
	}
	return row.Age(*r.Spec.Taint.TimeAdded, now)
}

// dropDeallocated: what is said of allocated devices goes with the allocation.
func dropDeallocated(s *resourcev1.ResourceClaimStatus) {
	if s.Allocation == nil {
		s.Devices = nil
	}
}
