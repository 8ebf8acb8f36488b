package apiserver_test

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Long lists are sent in pieces, also compressed, also of metadata.
func TestLongLists(t *testing.T) {
	h := start(t)
	const many = 40
	for i := range many {
		h.configMap(t, fmt.Sprintf("m-%02d", i))
	}
	for _, form := range []string{"application/json", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"} {
		for _, encoding := range []string{"gzip", "identity"} {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, mapsPath, nil)
			r.Header.Set("Accept", form)
			r.Header.Set("Accept-Encoding", encoding)
			answer, err := h.server.Transport(admin()).RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			body := answer.Body
			if compressed := answer.Header.Get("Content-Encoding") == "gzip"; compressed != (encoding == "gzip") {
				t.Errorf("%s: %v", encoding, answer.Header)
			} else if compressed {
				if body, err = gzip.NewReader(body); err != nil {
					t.Fatal(err)
				}
			}
			var list metav1.PartialObjectMetadataList
			if err := json.NewDecoder(body).Decode(&list); err != nil || len(list.Items) != many || list.Items[many-1].Name != "m-39" {
				t.Errorf("%s %s: %d items, %v", form, encoding, len(list.Items), err)
			}
			_ = answer.Body.Close()
		}
	}
	list, err := h.client.CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != many || list.Items[0].Data["key"] != "value" {
		t.Errorf("%d items, %v", len(list.Items), err)
	}
}
