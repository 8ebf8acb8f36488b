// Package queue decides which pod is tried next and when a rejected pod is
// tried again: an active heap in priority order, pods backing off, pods that
// wait for a change in the cluster, and pods that a gate keeps out.
//
// It never looks at nodes and never calls the API. Time comes from an injected clock.
package queue
