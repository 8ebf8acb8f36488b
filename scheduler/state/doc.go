// Package state keeps the scheduler's picture of the cluster: nodes, the pods
// on them, pods it has placed whose binding is not confirmed yet, and pods that
// have been promised room on a node. From it come snapshots.
//
// It is told of changes and reads nothing itself; it knows no plugin and no queue.
package state
