package openapi

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/apiserver/registry"
)

// info heads every document. Tools take the title for the kind of API.
type info struct {
	Title   string `json:"title"`
	Version string `json:"version"`
}

// pathItem is a path in either version of OpenAPI.
type pathItem[Operation, Parameter any] struct {
	Get        *Operation  `json:"get,omitempty"`
	Put        *Operation  `json:"put,omitempty"`
	Post       *Operation  `json:"post,omitempty"`
	Delete     *Operation  `json:"delete,omitempty"`
	Options    *Operation  `json:"options,omitempty"`
	Head       *Operation  `json:"head,omitempty"`
	Patch      *Operation  `json:"patch,omitempty"`
	Parameters []Parameter `json:"parameters,omitempty"`
}

func (p *pathItem[Operation, Parameter]) set(method string, op *Operation) {
	switch method {
	case "get":
		p.Get = op
	case "put":
		p.Put = op
	case "post":
		p.Post = op
	case "delete":
		p.Delete = op
	case "options":
		p.Options = op
	case "head":
		p.Head = op
	case "patch":
		p.Patch = op
	}
}

// securityScheme says how clients show who they are.
type securityScheme struct {
	Description string `json:"description"`
	Type        string `json:"type"`
	Name        string `json:"name"`
	In          string `json:"in"`
}

var securitySchemes = map[string]securityScheme{
	"BearerToken": {Description: "Bearer Token authentication", Type: "apiKey", Name: "authorization", In: "header"},
}

// part is one OpenAPI 3 document: its name in the index and what it describes.
type part struct {
	name string
	// version is the one that the document is of, empty for those of none.
	version schema.GroupVersion
	// roots are endpoints that are no resources.
	roots []endpoint
	rows  []*registry.Resource
}

func (p part) endpoints(m *models) []endpoint {
	endpoints := slices.Clone(p.roots)
	for _, row := range p.rows {
		endpoints = append(endpoints, endpointsOf(row, m)...)
	}
	return endpoints
}

// partsOf cuts the whole API into the documents of OpenAPI 3, by name.
func partsOf(rows []*registry.Resource) []part {
	parts := []part{
		{name: "api", roots: []endpoint{coreVersionsEndpoint()}},
		{name: "apis", roots: []endpoint{groupsEndpoint()}},
		{name: "version", roots: []endpoint{versionEndpoint()}},
	}
	for _, group := range groups(rows) {
		parts = append(parts, part{name: "apis/" + group, roots: []endpoint{groupEndpoint(group)}})
	}
	byVersion := map[schema.GroupVersion][]*registry.Resource{}
	for _, row := range rows {
		gv := row.Kind.GroupVersion()
		byVersion[gv] = append(byVersion[gv], row)
	}
	for gv, rows := range byVersion {
		slices.SortFunc(rows, func(a, b *registry.Resource) int { return cmp.Compare(a.Name, b.Name) })
		parts = append(parts, part{name: versionPath(gv), version: gv, roots: []endpoint{resourcesEndpoint(gv)}, rows: rows})
	}
	slices.SortFunc(parts, func(a, b part) int { return cmp.Compare(a.name, b.name) })
	return parts
}

func groups(rows []*registry.Resource) []string {
	var names []string
	for _, row := range rows {
		if row.Kind.Group != "" {
			names = append(names, row.Kind.Group)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// extensions are the x-kubernetes fields of an operation.
type extensions struct {
	Action string            `json:"x-kubernetes-action,omitempty"`
	Kind   *groupVersionKind `json:"x-kubernetes-group-version-kind,omitempty"`
}

func extensionsOf(op operation) extensions {
	e := extensions{Action: op.action}
	if !op.kind.Empty() {
		kind := groupVersionKind(op.kind)
		e.Kind = &kind
	}
	return e
}
