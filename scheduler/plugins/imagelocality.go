package plugins

import (
	"strings"

	"github.com/yare-io/yare/scheduler/framework"
)

const (
	mebibyte = 1024 * 1024
	// Below the first size an image is quick to pull anywhere; above the
	// second, for each container, more makes no difference.
	minImageBytes          int64 = 23 * mebibyte
	maxContainerImageBytes int64 = 1000 * mebibyte
)

// ImageLocality prefers nodes that have the pod's images, by their size, less
// so for images that few nodes have, so that pods do not all heap there.
type ImageLocality struct{}

// Name returns the plugin's name in configurations.
func (ImageLocality) Name() string { return "ImageLocality" }

// Scope says that answers hold for a class of pods.
func (ImageLocality) Scope() framework.Scope { return framework.NodeScope }

// PrepareScore implements framework.ScorePlugin.
func (ImageLocality) PrepareScore(pod *framework.PodInfo, snapshot *framework.Snapshot, _ []*framework.NodeInfo) (framework.NodeScorer, *framework.Status) {
	scorer := &imageScorer{nodes: int64(len(snapshot.Nodes)), spread: map[string]int64{}}
	for i := range pod.Pod.Spec.InitContainers {
		scorer.images = append(scorer.images, fullImageName(pod.Pod.Spec.InitContainers[i].Image))
	}
	for i := range pod.Pod.Spec.Containers {
		scorer.images = append(scorer.images, fullImageName(pod.Pod.Spec.Containers[i].Image))
	}
	for _, image := range scorer.images {
		scorer.spread[image] = int64(snapshot.ImageNodes[image])
	}
	return scorer, nil
}

type imageScorer struct {
	images []string
	spread map[string]int64
	nodes  int64
}

func (s *imageScorer) Score(node *framework.NodeInfo) int64 {
	var sum int64
	for _, image := range s.images {
		if size, ok := node.Images[image]; ok {
			sum += int64(float64(size) * (float64(s.spread[image]) / float64(s.nodes)))
		}
	}
	highest := maxContainerImageBytes * int64(len(s.images))
	sum = min(max(sum, minImageBytes), highest)
	return framework.MaxScore * (sum - minImageBytes) / (highest - minImageBytes)
}

func (*imageScorer) Normalize([]int64, []*framework.NodeInfo) {}

// fullImageName adds the tag that a bare name stands for.
func fullImageName(name string) string {
	if strings.LastIndex(name, ":") <= strings.LastIndex(name, "/") {
		return name + ":latest"
	}
	return name
}
