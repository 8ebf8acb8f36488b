package openapi

import (
	"slices"
	"strings"

	"github.com/yare-io/yare/apiserver/registry"
)

var methodOfVerb = map[string]string{"get": "get", "create": "post", "update": "put", "patch": "patch", "delete": "delete"}

// connect adds the paths of a stream. One that takes every verb passes whole
// requests on, and so also takes the other methods and longer paths; one of
// the object's own kind is read like the object (logs).
func (b *builder) connect(sub registry.Subresource) {
	path := b.objectPath() + "/" + sub.Name
	if sub.Kind.Empty() || sub.Kind == b.row.Kind {
		b.add(path, operation{
			method: "get", id: "read " + b.namespaced + b.row.Kind.Kind + title(sub.Name),
			description: "read " + sub.Name + " of the specified " + b.row.Kind.Kind, action: "get", kind: b.row.Kind,
			params: withPretty(connectParams(b.row, sub)), produces: textMedia, responses: ok(""),
		})
		return
	}
	var methods []string
	for _, verb := range sub.Verbs {
		if method, ok := methodOfVerb[verb]; ok {
			methods = append(methods, method)
		}
	}
	proxy := slices.Contains(sub.Verbs, "delete")
	if proxy {
		methods = append(methods, "head", "options")
	}
	for _, method := range methods {
		b.connectMethod(sub, method, path, "")
		if proxy {
			b.connectMethod(sub, method, path+"/{path}", "WithPath")
		}
	}
}

func (b *builder) connectMethod(sub registry.Subresource, method, path, suffix string) {
	b.add(path, operation{
		method:      method,
		id:          "connect " + title(method) + b.namespaced + b.row.Kind.Kind + title(sub.Name) + suffix,
		description: "connect " + strings.ToUpper(method) + " requests to " + sub.Name + " of " + b.row.Kind.Kind,
		action:      "connect", kind: sub.Kind,
		params: connectParams(b.row, sub), produces: anyMedia, responses: ok(""),
	})
}
