package downward

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Resource returns a container's request or limit in units of the divisor, rounded up. A limit that is not set reads as
// what the node can give.
func Resource(pod *v1.Pod, container *v1.Container, ref *v1.ResourceFieldSelector, allocatable v1.ResourceList) (string, error) {
	if ref.ContainerName != "" && (container == nil || ref.ContainerName != container.Name) {
		if container = findContainer(pod, ref.ContainerName); container == nil {
			return "", fmt.Errorf("container %s not found", ref.ContainerName)
		}
	}
	if container == nil {
		return "", fmt.Errorf("resource %s: no container named", ref.Resource)
	}
	kind, name, ok := strings.Cut(ref.Resource, ".")
	if !ok || (kind != "limits" && kind != "requests") {
		return "", fmt.Errorf("unsupported container resource : %v", ref.Resource)
	}
	quantity := amount(container, kind, v1.ResourceName(name), allocatable)
	divisor := ref.Divisor
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}
	if v1.ResourceName(name) == v1.ResourceCPU {
		return ceilDivide(quantity.MilliValue(), divisor.MilliValue()), nil
	}
	return ceilDivide(quantity.Value(), divisor.Value()), nil
}

func amount(c *v1.Container, kind string, name v1.ResourceName, allocatable v1.ResourceList) resource.Quantity {
	if kind == "requests" {
		return c.Resources.Requests[name]
	}
	if limit, ok := c.Resources.Limits[name]; ok && !limit.IsZero() {
		return limit
	}
	return allocatable[name]
}

func findContainer(pod *v1.Pod, name string) *v1.Container {
	for _, list := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}

func ceilDivide(value, divisor int64) string {
	if divisor <= 0 {
		divisor = 1
	}
	return strconv.FormatInt(int64(math.Ceil(float64(value)/float64(divisor))), 10)
}
