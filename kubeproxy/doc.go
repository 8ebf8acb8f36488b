// Package kubeproxy makes services work on one node, as kube-proxy does: it
// watches Services, EndpointSlices and its Node, keeps the model of what
// packets should do (package model), and hands its changes to a backend.
//
// It owns the order of things: what is watched, when to synchronize, when to
// start over after an error, and what health says. It knows no packet filter.
package kubeproxy
