package openapi

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"strconv"
)

const (
	v2RefPrefix      = "#/definitions/"
	v2ParamRefPrefix = "#/parameters/"
)

// v2Head is what the document has beside its sections.
type v2Head struct {
	Swagger             string                    `json:"swagger"`
	Info                info                      `json:"info"`
	SecurityDefinitions map[string]securityScheme `json:"securityDefinitions"`
	Security            []map[string][]string     `json:"security"`
}

func v2HeadOf(version string) v2Head {
	return v2Head{
		Swagger:             "2.0",
		Info:                info{Title: "Kubernetes", Version: version},
		SecurityDefinitions: securitySchemes,
		Security:            []map[string][]string{{"BearerToken": {}}},
	}
}

// v2Sections are the members of the document that grow with what is served.
type v2Sections struct {
	Paths       map[string]*pathItem[v2Op, v2Param] `json:"paths"`
	Definitions map[string]json.RawMessage          `json:"definitions,omitempty"`
	Parameters  map[string]v2Param                  `json:"parameters,omitempty"`
}

type v2Op struct {
	Description string                `json:"description,omitempty"`
	Consumes    []string              `json:"consumes,omitempty"`
	Produces    []string              `json:"produces,omitempty"`
	Schemes     []string              `json:"schemes,omitempty"`
	Tags        []string              `json:"tags,omitempty"`
	OperationID string                `json:"operationId"`
	Parameters  []v2Param             `json:"parameters,omitempty"`
	Responses   map[string]v2Response `json:"responses"`
	extensions
}

// v2Param is a parameter, a body or a reference to a shared parameter.
type v2Param struct {
	UniqueItems bool      `json:"uniqueItems,omitempty"`
	Type        string    `json:"type,omitempty"`
	Description string    `json:"description,omitempty"`
	Name        string    `json:"name,omitempty"`
	In          string    `json:"in,omitempty"`
	Required    bool      `json:"required,omitempty"`
	Schema      *v2Schema `json:"schema,omitempty"`
	Ref         string    `json:"$ref,omitempty"`
}

type v2Schema struct {
	Type string `json:"type,omitempty"`
	Ref  string `json:"$ref,omitempty"`
}

type v2Response struct {
	Description string    `json:"description"`
	Schema      *v2Schema `json:"schema,omitempty"`
}

// v2Builder makes paths, and collects the parameters that they share.
type v2Builder struct {
	params map[string]v2Param
	keys   map[param]string
}

func newV2Builder() v2Builder {
	return v2Builder{params: map[string]v2Param{}, keys: map[param]string{}}
}

func (b v2Builder) paths(endpoints []endpoint) map[string]*pathItem[v2Op, v2Param] {
	paths := make(map[string]*pathItem[v2Op, v2Param], len(endpoints))
	for _, e := range endpoints {
		item := &pathItem[v2Op, v2Param]{Parameters: b.refs(e.params)}
		for _, op := range e.operations {
			item.set(op.method, b.operation(op))
		}
		paths[e.path] = item
	}
	return paths
}

func (b v2Builder) operation(op operation) *v2Op {
	o := &v2Op{
		Tags: []string{op.tag}, Description: op.description, OperationID: op.id, Schemes: []string{"https"},
		Consumes: anyMedia, Produces: op.produces, Parameters: b.refs(op.params),
		Responses: map[string]v2Response{}, extensions: extensionsOf(op),
	}
	if op.body != nil {
		o.Consumes = op.body.consumes
		o.Parameters = append(o.Parameters, v2Param{
			Name: "body", In: "body", Required: op.body.required, Schema: v2SchemaOf(op.body.model),
		})
	}
	for _, r := range op.responses {
		reply := v2Response{Description: r.description}
		if r.code < 300 {
			reply.Schema = v2SchemaOf(r.model)
		}
		o.Responses[strconv.Itoa(r.code)] = reply
	}
	return o
}

func v2SchemaOf(model string) *v2Schema {
	if model == "" {
		return &v2Schema{Type: "string"}
	}
	return &v2Schema{Ref: v2RefPrefix + model}
}

// refs refers to parameters that are kept once in the document: most of them
// come back hundreds of times.
func (b v2Builder) refs(params []param) []v2Param {
	var refs []v2Param
	for _, p := range params {
		refs = append(refs, v2Param{Ref: v2ParamRefPrefix + b.key(p)})
	}
	return refs
}

// key is the name of a parameter in the document.
func (b v2Builder) key(p param) string {
	if key, ok := b.keys[p]; ok {
		return key
	}
	sum := sha256.Sum256([]byte(p.name + "\x00" + p.in + "\x00" + p.kind + "\x00" + p.description))
	key := p.name + "-" + base32.StdEncoding.EncodeToString(sum[:5])
	b.keys[p] = key
	b.params[key] = v2Param{
		Name: p.name, In: p.in, Type: p.kind, Description: p.description, Required: p.in == "path", UniqueItems: true,
	}
	return key
}
