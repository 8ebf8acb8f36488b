// Package aggregation tests that servers of others extend the API as they do
// Kubernetes': the project's own example of such a server, and the metrics
// server, both as their users have them.
package aggregation
