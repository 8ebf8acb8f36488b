package openapi

import (
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/yare-io/yare/apiserver/registry"
)

var (
	pretty = param{
		name: "pretty", in: "query", kind: "string",
		description: "If 'true', then the output is pretty printed. Defaults to 'false' unless the user-agent indicates a browser or command-line HTTP tool (curl and wget).",
	}
	proxyPath = param{name: "path", in: "path", kind: "string", description: "path to the resource"}

	listParams   = optionParams(&metav1.ListOptions{})
	createParams = optionParams(&metav1.CreateOptions{})
	updateParams = optionParams(&metav1.UpdateOptions{})
	patchParams  = optionParams(&metav1.PatchOptions{})
	deleteParams = optionParams(&metav1.DeleteOptions{})
	// deleteCollectionParams: what is deleted is listed, not watched.
	deleteCollectionParams = append(slices.Clone(deleteParams), slices.DeleteFunc(optionParams(&metav1.ListOptions{}),
		func(p param) bool { return p.name == "watch" || p.name == "allowWatchBookmarks" })...)
)

func nameParam(kind string) param {
	return param{name: "name", in: "path", kind: "string", description: "name of the " + kind}
}

func namespaceParam() param {
	return param{name: "namespace", in: "path", kind: "string", description: "object name and auth scope, such as for teams and projects"}
}

// connectParams are those of the options that a stream or a log takes. By
// convention they are a kind of their own: the subresource's own (exec) or
// named after object and subresource (PodLogOptions).
func connectParams(row *registry.Resource, sub registry.Subresource) []param {
	for _, kind := range []schema.GroupVersionKind{
		sub.Kind,
		row.Kind.GroupVersion().WithKind(row.Kind.Kind + title(sub.Name) + "Options"),
	} {
		if !strings.HasSuffix(kind.Kind, "Options") {
			continue
		}
		if options, err := scheme.Scheme.New(kind); err == nil {
			return optionParams(options)
		}
	}
	return nil
}

// optionParams makes a query parameter of each simple field of an options
// struct, with its Go comment as the description.
func optionParams(options any) []param {
	docs := map[string]string{}
	if documented, ok := options.(interface{ SwaggerDoc() map[string]string }); ok {
		docs = documented.SwaggerDoc()
	}
	var params []param
	t := reflect.TypeOf(options).Elem()
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		kind := paramKind(t.Field(i).Type)
		if name != "" && kind != "" {
			params = append(params, param{name: name, in: "query", kind: kind, description: docs[name]})
		}
	}
	return params
}

// paramKind is the type of a query parameter for a field; empty when the field
// cannot be one. Lists are repeated parameters of the type of an item.
func paramKind(t reflect.Type) string {
	if t == reflect.TypeFor[*metav1.Time]() {
		return "string"
	}
	if t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Int32, reflect.Int64:
		return "integer"
	default:
		return ""
	}
}
