// Package customresource turns custom resource definitions into rows at run
// time, so that the server serves custom resources as it serves all others:
// a schema stands in for the Go type. It owns the conditions of definitions,
// the rules of custom resources (pruning, defaults, validation, conversion
// between versions) and the removal of instances when a definition goes.
//
// Schemas and rules are compiled when the first object needs them. The package
// knows nothing of HTTP handlers; conversion webhooks it reaches through a
// Caller.
package customresource
