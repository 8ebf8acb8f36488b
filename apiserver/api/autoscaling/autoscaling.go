// Package autoscaling holds the rows of the autoscaling group: the horizontal
// pod autoscaler in its two versions, of which v2 is the one that is stored.
package autoscaling

import "github.com/yare-io/yare/apiserver/registry"

// Resources returns the rows of the group.
func Resources() []*registry.Resource {
	return []*registry.Resource{horizontalV1(), horizontalV2()}
}
