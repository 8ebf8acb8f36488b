package discovery

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/munnerz/goautoneg"
	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/cbor"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"sigs.k8s.io/yaml"
)

const (
	mediaJSON     = runtime.ContentTypeJSON
	mediaYAML     = runtime.ContentTypeYAML
	mediaProtobuf = runtime.ContentTypeProtobuf
	mediaCBOR     = runtime.ContentTypeCBOR
)

// accepted is what a client wants to read.
type accepted struct {
	media string
	// aggregated asks for all groups in one document.
	aggregated bool
}

func (a accepted) contentType() string {
	if !a.aggregated {
		return a.media
	}
	return a.media + ";g=" + apidiscoveryv2.GroupName + ";v=" + apidiscoveryv2.SchemeGroupVersion.Version + ";as=APIGroupDiscoveryList"
}

// negotiate picks the first clause of an Accept header that can be served.
// aggregation says whether the document exists in aggregated form.
func negotiate(header string, aggregation bool) (accepted, bool) {
	if strings.TrimSpace(header) == "" {
		return accepted{media: mediaJSON}, true
	}
	for _, clause := range goautoneg.ParseAccept(header) {
		media, ok := mediaType(clause)
		if !ok {
			continue
		}
		if clause.Params["as"] == "" {
			return accepted{media: media}, true
		}
		if aggregation && isAggregated(clause.Params) {
			return accepted{media: media, aggregated: true}, true
		}
	}
	return accepted{}, false
}

func mediaType(clause goautoneg.Accept) (string, bool) {
	switch media := clause.Type + "/" + clause.SubType; media {
	case mediaJSON, mediaYAML, mediaProtobuf, mediaCBOR:
		return media, true
	case "*/*", "application/*":
		return mediaJSON, true
	default:
		return "", false
	}
}

// isAggregated: v2 is the only version since Kubernetes v1.35 removed v2beta1. A
// profile (nopeer) makes no difference, as the document never has what peers
// serve.
func isAggregated(params map[string]string) bool {
	return params["g"] == apidiscoveryv2.GroupName && params["as"] == "APIGroupDiscoveryList" &&
		params["v"] == apidiscoveryv2.SchemeGroupVersion.Version
}

func notAcceptable(w http.ResponseWriter) {
	status := metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure,
		Reason:   metav1.StatusReasonNotAcceptable,
		Code:     http.StatusNotAcceptable,
		Message: fmt.Sprintf("only the following media types are accepted: %s, %s, %s, %s",
			mediaJSON, mediaYAML, mediaProtobuf, mediaCBOR),
	}
	w.Header().Set("Content-Type", mediaJSON)
	w.WriteHeader(http.StatusNotAcceptable)
	_ = json.NewEncoder(w).Encode(status) // the client has gone: nobody to tell
}

func write(w http.ResponseWriter, r *http.Request, want accepted, object runtime.Object) {
	body, err := encode(want.media, object, wantsPretty(r))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writeBody(w, want, body)
}

func writeBody(w http.ResponseWriter, want accepted, body []byte) {
	w.Header().Set("Content-Type", want.contentType())
	w.Header().Set("Vary", "Accept")
	_, _ = w.Write(body) // the client has gone: nobody to tell
}

// wantsPretty reports whether a human is likely to read the reply.
func wantsPretty(r *http.Request) bool {
	if pretty := r.URL.Query().Get("pretty"); pretty != "" {
		return pretty != "0" && pretty != "false"
	}
	agent := r.Header.Get("User-Agent")
	return strings.HasPrefix(agent, "curl") || strings.HasPrefix(agent, "Wget") || strings.HasPrefix(agent, "Mozilla/5.0")
}

var (
	described          = newScheme()
	protobufSerializer = protobuf.NewSerializer(described, described)
	cborSerializer     = cbor.NewSerializer(described, described)
)

func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	scheme.AddUnversionedTypes(schema.GroupVersion{Version: "v1"},
		&metav1.APIVersions{}, &metav1.APIGroup{}, &metav1.APIGroupList{}, &metav1.APIResourceList{})
	utilruntime.Must(apidiscoveryv2.AddToScheme(scheme))
	return scheme
}

// encode writes an object whose TypeMeta is set.
func encode(media string, object runtime.Object, pretty bool) ([]byte, error) {
	var b bytes.Buffer
	switch media {
	case mediaProtobuf:
		err := protobufSerializer.Encode(object, &b)
		return b.Bytes(), err
	case mediaCBOR:
		err := cborSerializer.Encode(object, &b)
		return b.Bytes(), err
	case mediaYAML:
		return yaml.Marshal(object)
	}
	encoder := json.NewEncoder(&b)
	if pretty {
		encoder.SetIndent("", "  ")
	}
	err := encoder.Encode(object)
	return b.Bytes(), err
}
