package node

import (
	"fmt"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Reserve returns capacity without what the configuration sets aside: for the system, for the kubelet, and for eviction
// to have something left to act with. Thresholds are quantities or percentages.
func Reserve(capacity v1.ResourceList, reserved []map[string]string, evictionHard map[string]string) (v1.ResourceList, error) {
	out := capacity.DeepCopy()
	for _, set := range reserved {
		for name, text := range set {
			quantity, err := resource.ParseQuantity(text)
			if err != nil {
				return nil, fmt.Errorf("reserved %s: %w", name, err)
			}
			subtract(out, v1.ResourceName(name), quantity)
		}
	}
	for signal, name := range map[string]v1.ResourceName{
		"memory.available": v1.ResourceMemory, "nodefs.available": v1.ResourceEphemeralStorage,
	} {
		text, ok := evictionHard[signal]
		if !ok {
			continue
		}
		threshold, err := Threshold(text, capacity[name])
		if err != nil {
			return nil, fmt.Errorf("evictionHard %s: %w", signal, err)
		}
		subtract(out, name, threshold)
	}
	return out, nil
}

func subtract(list v1.ResourceList, name v1.ResourceName, by resource.Quantity) {
	q, ok := list[name]
	if !ok {
		return
	}
	q.Sub(by)
	if q.Sign() < 0 {
		q = *resource.NewQuantity(0, q.Format)
	}
	list[name] = q
}

// Threshold reads an eviction threshold, which may be a percentage of the capacity.
func Threshold(text string, capacity resource.Quantity) (resource.Quantity, error) {
	percent, ok := strings.CutSuffix(text, "%")
	if !ok {
		return resource.ParseQuantity(text)
	}
	share, err := strconv.ParseFloat(percent, 64)
	if err != nil || share < 0 || share > 100 {
		return resource.Quantity{}, fmt.Errorf("%q is not a percentage", text)
	}
	return *resource.NewQuantity(int64(float64(capacity.Value())*share/100), resource.BinarySI), nil
}
