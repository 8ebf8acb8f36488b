package openapi_test

import (
	"testing"

	"github.com/yare-io/yare/apiserver/registry"
)

// The cost of each document when nothing is cached.
func BenchmarkDocument(b *testing.B) {
	rows := kubernetesRows(b)
	for name, request := range map[string][2]string{
		"index":       {"/openapi/v3", "application/json"},
		"v3 core":     {"/openapi/v3/api/v1", "application/json"},
		"v3 protobuf": {"/openapi/v3/api/v1", "application/com.github.proto-openapi.spec.v3@v1.0+protobuf"},
		"v2":          {"/openapi/v2", "application/json"},
		"v2 protobuf": {"/openapi/v2", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				server := serve(b, func() []*registry.Resource { return rows })
				_, body := get(b, server, request[0], "Accept", request[1], "Accept-Encoding", "gzip")
				b.ReportMetric(float64(len(body)), "B/reply")
			}
		})
	}
}
