// Package scheduler assigns pods to nodes, as kube-scheduler does: it takes
// pods from a queue one at a time, filters and scores all nodes, assumes the
// pod on the best one and binds it in the background.
//
// It reaches the cluster only through client-go. What may be where is decided
// by plugins (package plugins) over immutable snapshots (packages framework and
// state); this package connects them.
package scheduler
