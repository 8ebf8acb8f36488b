package plugins

import (
	"errors"
	"fmt"

	config "k8s.io/kube-scheduler/config/v1"

	"github.com/yare-io/yare/scheduler/framework"
)

// maxCustomScore is the highest score in a user's shape; MaxScore stands for it.
const maxCustomScore = 10

// shape is a line through points of utilisation in percent and score.
type shape []config.UtilizationShapePoint

func newShape(param *config.RequestedToCapacityRatioParam) (shape, error) {
	if param == nil || len(param.Shape) == 0 {
		return nil, errors.New("requestedToCapacityRatio.shape needs at least one point")
	}
	for i, point := range param.Shape {
		if point.Utilization < 0 || point.Utilization > 100 || point.Score < 0 || point.Score > maxCustomScore {
			return nil, fmt.Errorf("requestedToCapacityRatio.shape[%d] is not within utilization 0..100 and score 0..%d", i, maxCustomScore)
		}
		if i > 0 && point.Utilization <= param.Shape[i-1].Utilization {
			return nil, fmt.Errorf("requestedToCapacityRatio.shape[%d]: utilization must grow from point to point", i)
		}
	}
	return shape(param.Shape), nil
}

func (s shape) rate(requested, capacity int64) int64 {
	if requested > capacity {
		return s.at(100)
	}
	return s.at(requested * 100 / capacity)
}

func (s shape) at(utilization int64) int64 {
	const scale = framework.MaxScore / maxCustomScore
	for i, point := range s {
		x, y := int64(point.Utilization), int64(point.Score)*scale
		if utilization > x {
			continue
		}
		if i == 0 {
			return y
		}
		x0, y0 := int64(s[i-1].Utilization), int64(s[i-1].Score)*scale
		return y0 + (y-y0)*(utilization-x0)/(x-x0)
	}
	return int64(s[len(s)-1].Score) * scale
}
