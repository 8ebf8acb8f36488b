// Package plugins holds the built-in scheduling plugins, one in each file, and
// the order, weights and arguments that Kubernetes gives them by default.
//
// A plugin sees a pod, a snapshot and, where it must, the listers in Sources;
// it knows nothing of queues, other plugins or the API.
package plugins
