package hollow

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/apimachinery/pkg/api/resource"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Annotations of a pod that say what each of its containers pretends to use, as
// quantities; nothing when they are not there.
const (
	// CPUAnnotation is a number of cores ("250m").
	CPUAnnotation = "hollow.yare.io/cpu"
	// MemoryAnnotation is a number of bytes ("64Mi").
	MemoryAnnotation = "hollow.yare.io/memory"
)

// usage is what one container uses, or several.
type usage struct {
	nanoCores, coreNanoSeconds, bytes uint64
}

// usageOf reads a pod's annotations.
func usageOf(annotations map[string]string) (usage, error) {
	var u usage
	for name, into := range map[string]struct {
		value *uint64
		scale resource.Scale
	}{CPUAnnotation: {&u.nanoCores, resource.Nano}, MemoryAnnotation: {&u.bytes, 0}} {
		text, there := annotations[name]
		if !there {
			continue
		}
		quantity, err := resource.ParseQuantity(text)
		if err != nil || quantity.Sign() < 0 {
			return usage{}, status.Errorf(codes.InvalidArgument, "annotation %s: %q is no amount", name, text)
		}
		*into.value = uint64(quantity.ScaledValue(into.scale))
	}
	return u, nil
}

// after is what has been used since a container started, in nanoseconds.
func (u usage) after(started, now int64) usage {
	u.coreNanoSeconds = uint64(float64(u.nanoCores) * float64(max(now-started, 0)) / 1e9)
	return u
}

func (u usage) plus(v usage) usage {
	return usage{u.nanoCores + v.nanoCores, u.coreNanoSeconds + v.coreNanoSeconds, u.bytes + v.bytes}
}

func (u usage) cpu(at int64) *runtimeapi.CpuUsage {
	return &runtimeapi.CpuUsage{
		Timestamp: at, UsageCoreNanoSeconds: &runtimeapi.UInt64Value{Value: u.coreNanoSeconds}, UsageNanoCores: &runtimeapi.UInt64Value{Value: u.nanoCores},
	}
}

func (u usage) memory(at int64) *runtimeapi.MemoryUsage {
	used := &runtimeapi.UInt64Value{Value: u.bytes}
	return &runtimeapi.MemoryUsage{Timestamp: at, WorkingSetBytes: used, UsageBytes: used, RssBytes: used}
}
