// Package server is the kubelet's own HTTPS API: logs, exec, attach,
// port-forward, pods, health, metrics and statistics of one node, for the API
// server and for monitoring.
//
// It owns the paths, who may use them, and the translation of WebSocket
// streams to the SPDY that container runtimes speak. It knows neither pod
// workers nor the container runtime: what it needs of them is Backend.
package server
