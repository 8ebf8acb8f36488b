package codec

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Output is the form in which a client wants its answer.
type Output struct {
	Format Format
	// As is empty for the object itself, or Table, PartialObjectMetadata or
	// PartialObjectMetadataList in the version AsVersion of meta.k8s.io, or what
	// else an Offer has.
	As, AsVersion string
	Pretty        bool
}

// AsKind is the kind of a transformed answer.
func (o Output) AsKind() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: metav1.GroupName, Version: o.AsVersion, Kind: o.As}
}

// ErrNotAcceptable: no format that the client accepts is offered.
var ErrNotAcceptable = errors.New("not acceptable")

// ErrUnsupported: the body is in no format that is understood.
var ErrUnsupported = errors.New("unsupported media type")

// Offer lists what an endpoint can answer with, best first.
type Offer struct {
	Formats []Format
	// As lists the transformations offered.
	As []string
	// AsGroup and AsVersions are what their kinds are of: v1 and v1beta1 of
	// meta.k8s.io when empty.
	AsGroup    string
	AsVersions []string
}

// knows reports whether transformations are offered in a group and version.
func (o Offer) knows(group, version string) bool {
	if o.AsGroup == "" {
		return group == metav1.GroupName && (version == "v1" || version == "v1beta1")
	}
	return group == o.AsGroup && slices.Contains(o.AsVersions, version)
}

func (o Offer) String() string {
	names := make([]string, len(o.Formats))
	for i, f := range o.Formats {
		names[i] = f.MediaType()
	}
	return strings.Join(names, ", ")
}

// maxClauses bounds the work that one Accept header can cause.
const maxClauses = 32

// Negotiate chooses the answer's form by the Accept header. query may ask for
// pretty output.
func Negotiate(r *http.Request, query url.Values, offer Offer) (Output, error) {
	pretty := wantsPretty(r, query)
	accept := r.Header.Get("Accept")
	if accept == "" {
		return Output{Format: offer.Formats[0], Pretty: pretty}, nil
	}
	for _, c := range parseAccept(accept) {
		if out, ok := c.match(offer); ok {
			out.Pretty = out.Pretty || pretty
			return out, nil
		}
	}
	return Output{}, fmt.Errorf("%w: only the following media types are accepted: %s", ErrNotAcceptable, offer)
}

func wantsPretty(r *http.Request, query url.Values) bool {
	if value := query.Get("pretty"); value != "" {
		pretty, err := strconv.ParseBool(value)
		return err == nil && pretty
	}
	agent := r.UserAgent()
	return strings.HasPrefix(agent, "curl") || strings.HasPrefix(agent, "Wget") || strings.HasPrefix(agent, "Mozilla/5.0")
}

type clause struct {
	mediaType string
	params    map[string]string
	quality   float64
}

func parseAccept(header string) []clause {
	var clauses []clause
	for part := range strings.SplitSeq(header, ",") {
		mediaType, params, err := mime.ParseMediaType(part)
		if err != nil || len(clauses) == maxClauses {
			continue
		}
		c := clause{mediaType: mediaType, params: params, quality: 1}
		if q, ok := params["q"]; ok {
			if c.quality, err = strconv.ParseFloat(q, 64); err != nil || c.quality <= 0 {
				continue
			}
		}
		clauses = append(clauses, c)
	}
	slices.SortStableFunc(clauses, func(a, b clause) int {
		switch {
		case a.quality > b.quality:
			return -1
		case a.quality < b.quality:
			return 1
		}
		return 0
	})
	return clauses
}

func (c clause) match(offer Offer) (Output, bool) {
	for _, f := range offer.Formats {
		if !c.covers(f.MediaType()) {
			continue
		}
		out := Output{Format: f, Pretty: c.params["pretty"] == "1"}
		as := c.params["as"]
		if as == "" {
			return out, true
		}
		if !offer.knows(c.params["g"], c.params["v"]) || !slices.Contains(offer.As, as) || (as == "Table" && f != JSON && f != YAML) {
			continue
		}
		out.As, out.AsVersion = as, c.params["v"]
		return out, true
	}
	return Output{}, false
}

func (c clause) covers(mediaType string) bool {
	if c.mediaType == mediaType || c.mediaType == "*/*" {
		return true
	}
	kind, ok := strings.CutSuffix(c.mediaType, "/*")
	return ok && strings.HasPrefix(mediaType, kind+"/")
}

// Input finds the format of a body by its Content-Type; an empty one is JSON.
func Input(contentType string, offered []Format) (Format, error) {
	if contentType == "" {
		return JSON, nil
	}
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err == nil {
		for _, f := range offered {
			if f.MediaType() == mediaType {
				return f, nil
			}
		}
	}
	return 0, fmt.Errorf("%w: the body of the request was in an unknown format - accepted media types include: %s", ErrUnsupported, Offer{Formats: offered})
}
