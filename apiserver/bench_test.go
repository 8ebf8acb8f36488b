package apiserver_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/yare-io/yare/apiserver"
)

// exchange sends a request to the server past any socket, and reads all of the
// answer.
func exchange(b *testing.B, transport http.RoundTripper, method, path, body string, headers ...string) {
	b.Helper()
	request, err := http.NewRequestWithContext(b.Context(), method, "http://in.process"+path, strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		b.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	_ = answer.Body.Close()
	if answer.StatusCode >= 300 {
		b.Fatalf("%s %s: %d", method, path, answer.StatusCode)
	}
}

func benchServer(b *testing.B) http.RoundTripper {
	h := start(b, func(c *apiserver.Config) { c.Logger = slog.New(slog.DiscardHandler) })
	return h.server.Transport(admin())
}

func BenchmarkGet(b *testing.B) {
	transport := benchServer(b)
	exchange(b, transport, "POST", mapsPath, `{"metadata":{"name":"a"},"data":{"k":"v"}}`)
	exchange(b, transport, "GET", mapsPath+"/a", "") // the cache has it now
	b.ReportAllocs()
	for b.Loop() {
		exchange(b, transport, "GET", mapsPath+"/a?resourceVersion=0", "")
	}
}

func BenchmarkConsistentGet(b *testing.B) {
	transport := benchServer(b)
	exchange(b, transport, "POST", mapsPath, `{"metadata":{"name":"a"},"data":{"k":"v"}}`)
	b.ReportAllocs()
	for b.Loop() {
		exchange(b, transport, "GET", mapsPath+"/a", "")
	}
}

func BenchmarkListThousand(b *testing.B) {
	transport := benchServer(b)
	for i := range 1000 {
		exchange(b, transport, "POST", mapsPath, fmt.Sprintf(`{"metadata":{"name":"m-%d"},"data":{"k":"%s"}}`, i, strings.Repeat("x", 500)))
	}
	for _, accept := range []string{"application/json", "application/vnd.kubernetes.protobuf", "application/json;as=Table;v=v1;g=meta.k8s.io"} {
		b.Run(accept, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				exchange(b, transport, "GET", mapsPath+"?resourceVersion=0", "", "Accept", accept)
			}
		})
	}
}

func BenchmarkCreate(b *testing.B) {
	transport := benchServer(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		exchange(b, transport, "POST", mapsPath, fmt.Sprintf(`{"metadata":{"name":"m-%d"},"data":{"k":"v"}}`, i))
	}
}

func BenchmarkPatch(b *testing.B) {
	transport := benchServer(b)
	exchange(b, transport, "POST", mapsPath, `{"metadata":{"name":"a"}}`)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		exchange(b, transport, "PATCH", mapsPath+"/a", fmt.Sprintf(`{"data":{"k":"%d"}}`, i), "Content-Type", "application/merge-patch+json")
	}
}
