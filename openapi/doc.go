// Package openapi describes the API to clients: the OpenAPI 2 document and the
// OpenAPI 3 documents, one for each group and version.
//
// It owns the models of the Kubernetes types (generated from the Go types, kept
// compressed in the binary and opened only while a document is being made) and
// derives all paths from the rows. It knows neither how resources are served
// nor how clients are told apart.
package openapi

//go:generate go run ./gen -output models.gz
