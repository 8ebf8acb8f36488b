// Package model turns Services and EndpointSlices into what a node must do
// with packets: for each service port and IP family, the addresses it answers
// on and the endpoints that traffic to them may go to.
//
// It is pure: a function from objects to rules, and a tracker that remembers
// which rules changed. It knows no packet filter and no API client.
package model
