package plugins

import "github.com/yare-io/yare/scheduler/framework"

// scaleToMax maps raw scores to 0..MaxScore in proportion to the highest one;
// with reversed set, high raw scores become low.
func scaleToMax(scores []int64, reversed bool) {
	var highest int64
	for _, score := range scores {
		highest = max(highest, score)
	}
	for i, score := range scores {
		switch {
		case highest > 0:
			score = framework.MaxScore * score / highest
		default:
			score = 0
		}
		if reversed {
			score = framework.MaxScore - score
		}
		scores[i] = score
	}
}
