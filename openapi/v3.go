package openapi

import (
	"encoding/json"
	"fmt"
	"strconv"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

const v3RefPrefix = "#/components/schemas/"

type v3Document struct {
	OpenAPI    string                              `json:"openapi"`
	Info       info                                `json:"info"`
	Paths      map[string]*pathItem[v3Op, v3Param] `json:"paths"`
	Components v3Components                        `json:"components"`
}

type v3Components struct {
	Schemas         map[string]json.RawMessage `json:"schemas,omitempty"`
	SecuritySchemes map[string]securityScheme  `json:"securitySchemes,omitempty"`
}

type v3Op struct {
	Tags        []string              `json:"tags,omitempty"`
	Description string                `json:"description,omitempty"`
	OperationID string                `json:"operationId"`
	Parameters  []v3Param             `json:"parameters,omitempty"`
	RequestBody *v3Body               `json:"requestBody,omitempty"`
	Responses   map[string]v3Response `json:"responses"`
	extensions
}

type v3Param struct {
	Name        string   `json:"name"`
	In          string   `json:"in"`
	Description string   `json:"description,omitempty"`
	Required    bool     `json:"required,omitempty"`
	Schema      v3Schema `json:"schema"`
}

type v3Schema struct {
	Type        string `json:"type,omitempty"`
	UniqueItems bool   `json:"uniqueItems,omitempty"`
	Ref         string `json:"$ref,omitempty"`
}

type v3Body struct {
	Content  map[string]v3Media `json:"content"`
	Required bool               `json:"required,omitempty"`
}

type v3Media struct {
	Schema v3Schema `json:"schema"`
}

type v3Response struct {
	Description string             `json:"description"`
	Content     map[string]v3Media `json:"content,omitempty"`
}

func v3Paths(endpoints []endpoint) map[string]*pathItem[v3Op, v3Param] {
	paths := make(map[string]*pathItem[v3Op, v3Param], len(endpoints))
	for _, e := range endpoints {
		item := &pathItem[v3Op, v3Param]{Parameters: v3Params(e.params)}
		for _, op := range e.operations {
			item.set(op.method, v3Operation(op))
		}
		paths[e.path] = item
	}
	return paths
}

func v3Operation(op operation) *v3Op {
	o := &v3Op{
		Tags: []string{op.tag}, Description: op.description, OperationID: op.id,
		Parameters: v3Params(op.params), Responses: map[string]v3Response{}, extensions: extensionsOf(op),
	}
	if op.body != nil {
		o.RequestBody = &v3Body{Required: op.body.required, Content: v3Content(op.body.consumes, op.body.model)}
	}
	for _, r := range op.responses {
		reply := v3Response{Description: r.description}
		if r.code < 300 {
			reply.Content = v3Content(op.produces, r.model)
		}
		o.Responses[strconv.Itoa(r.code)] = reply
	}
	return o
}

func v3Content(media []string, model string) map[string]v3Media {
	s := v3Schema{Type: "string"}
	if model != "" {
		s = v3Schema{Ref: v3RefPrefix + model}
	}
	content := make(map[string]v3Media, len(media))
	for _, m := range media {
		content[m] = v3Media{Schema: s}
	}
	return content
}

func v3Params(params []param) []v3Param {
	var list []v3Param
	for _, p := range params {
		list = append(list, v3Param{
			Name: p.name, In: p.in, Description: p.description, Required: p.in == "path",
			Schema: v3Schema{Type: p.kind, UniqueItems: true},
		})
	}
	return list
}

// v3JSON is the whole document of one part.
func v3JSON(p part, m *models, version string) ([]byte, error) {
	endpoints := p.endpoints(m)
	used, err := m.closure(modelNames(endpoints))
	if err != nil {
		return nil, err
	}
	document := v3Document{
		OpenAPI:    "3.0.0",
		Info:       info{Title: "Kubernetes", Version: version},
		Paths:      v3Paths(endpoints),
		Components: v3Components{Schemas: map[string]json.RawMessage{}, SecuritySchemes: securitySchemes},
	}
	for name, model := range used {
		if document.Components.Schemas[name], err = model.v3Of(p.version); err != nil {
			return nil, fmt.Errorf("model %s: %w", name, err)
		}
	}
	return marshal(document)
}

// everywhere are the kinds that every group and version registers as its own.
var everywhere = map[string]bool{"DeleteOptions": true, "WatchEvent": true}

// v3Of is the schema in the document of a group and version: there a kind that
// is registered everywhere is one of that version and of the core group only,
// as Kubernetes writes it since v1.37.
func (m *model) v3Of(gv schema.GroupVersion) (json.RawMessage, error) {
	var kinds []groupVersionKind
	own := false
	for _, kind := range m.Kinds {
		if !everywhere[kind.Kind] {
			return m.v3, nil
		}
		own = own || kind.GroupVersion() == gv
		if kind.GroupVersion() == gv || kind.GroupVersion() == (schema.GroupVersion{Version: "v1"}) {
			kinds = append(kinds, groupVersionKind(kind))
		}
	}
	if !own {
		return m.v3, nil
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(m.v3, &fields); err != nil {
		return nil, err
	}
	var err error
	if fields["x-kubernetes-group-version-kind"], err = json.Marshal(kinds); err != nil {
		return nil, err
	}
	return json.Marshal(fields)
}
