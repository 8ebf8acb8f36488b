package openapi

import (
	"net/http"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/yare-io/yare/apiserver/registry"
)

// protobuf writes Go types only: objects without one are never had in it.
const protobuf = "application/vnd.kubernetes.protobuf"

const metaPackage = "io.k8s.apimachinery.pkg.apis.meta.v1."

var (
	// What has no Go type has no protobuf either.
	untypedMedia     = []string{"application/json", "application/yaml", "application/cbor"}
	untypedListMedia = append(slices.Clone(untypedMedia), "application/json;stream=watch", "application/cbor-seq")
	objectMedia      = append(slices.Clone(untypedMedia), protobuf)
	listMedia        = append(slices.Clone(untypedListMedia), protobuf, protobuf+";stream=watch")
	textMedia        = append([]string{"text/plain"}, objectMedia...)
	anyMedia         = []string{"*/*"}
	// untypedPatchMedia: a strategic merge needs to know the type.
	untypedPatchMedia = []string{string(types.JSONPatchType), string(types.MergePatchType), string(types.ApplyYAMLPatchType), string(types.ApplyCBORPatchType)}
	patchMedia        = append(slices.Clone(untypedPatchMedia), string(types.StrategicMergePatchType))
)

// builder makes the endpoints of one row.
type builder struct {
	row    *registry.Resource
	models *models
	// namespaced is "Namespaced" in operation ids of namespaced resources.
	namespaced string
	prefix     string // "/apis/apps/v1"
	endpoints  map[string]*endpoint
}

// endpointsOf returns all paths of a row.
func endpointsOf(row *registry.Resource, m *models) []endpoint {
	b := &builder{row: row, models: m, prefix: "/" + versionPath(row.Kind.GroupVersion()), endpoints: map[string]*endpoint{}}
	if row.Namespaced {
		b.namespaced = "Namespaced"
	}
	b.collection()
	b.object()
	for _, sub := range row.Subresources {
		if sub.Connect {
			b.connect(sub)
		} else {
			b.subresource(sub)
		}
	}
	b.legacyWatch()

	var endpoints []endpoint
	for _, e := range b.endpoints {
		e.liftCommon()
		endpoints = append(endpoints, *e)
	}
	slices.SortFunc(endpoints, func(a, b endpoint) int { return strings.Compare(a.path, b.path) })
	return endpoints
}

// versionPath is the part of URLs that names a group and version.
func versionPath(gv schema.GroupVersion) string {
	if gv.Group == "" {
		return "api/" + gv.Version
	}
	return "apis/" + gv.Group + "/" + gv.Version
}

func (b *builder) collectionPath() string {
	if b.row.Namespaced {
		return "/namespaces/{namespace}/" + b.row.Name
	}
	return "/" + b.row.Name
}

func (b *builder) objectPath() string { return b.collectionPath() + "/{name}" }

// add completes op with what the path says and puts it there.
func (b *builder) add(path string, op operation) {
	if strings.Contains(path, "{namespace}") {
		op.params = append(op.params, namespaceParam())
	}
	if strings.Contains(path, "{name}") {
		op.params = append(op.params, nameParam(op.kind.Kind))
	}
	if strings.HasSuffix(path, "{path}") {
		op.params = append(op.params, proxyPath)
	}
	gv := b.row.Kind.GroupVersion()
	op.tag = camel(groupName(gv.Group), false) + "_" + gv.Version
	verb, rest, _ := strings.Cut(op.id, " ")
	op.id = verb + camel(groupName(gv.Group), true) + camel(gv.Version, true) + rest
	op.responses = append(op.responses, response{code: http.StatusUnauthorized, description: "Unauthorized"})

	path = b.prefix + path
	if b.endpoints[path] == nil {
		b.endpoints[path] = &endpoint{path: path}
	}
	b.endpoints[path].operations = append(b.endpoints[path].operations, op)
}

func (b *builder) modelOf(kind schema.GroupVersionKind) string {
	if m := b.models.of(kind); m != nil {
		return m.Name
	}
	return ""
}

func (b *builder) patchMedia(kind schema.GroupVersionKind) []string {
	if b.untyped(kind) {
		return untypedPatchMedia
	}
	return patchMedia
}

// untyped reports whether objects of a kind have no Go type, and so no protobuf.
func (b *builder) untyped(kind schema.GroupVersionKind) bool {
	m := b.models.of(kind)
	return m != nil && m.untyped
}

// media are the types in which a kind can be had, and listMedia those of lists
// and watches.
func (b *builder) media(kind schema.GroupVersionKind) []string {
	if b.untyped(kind) {
		return untypedMedia
	}
	return objectMedia
}

func (b *builder) listMedia() []string {
	if b.untyped(b.row.Kind) {
		return untypedListMedia
	}
	return listMedia
}

func (b *builder) has(verb string) bool { return slices.Contains(b.row.Verbs, verb) }

func (b *builder) collection() {
	kind, object := b.row.Kind.Kind, b.modelOf(b.row.Kind)
	list := b.modelOf(listKind(b.row))
	path := b.collectionPath()
	if b.has("list") {
		doc := "list objects of kind " + kind
		if b.has("watch") {
			doc = "list or watch objects of kind " + kind
		}
		op := operation{
			method: "get", id: "list " + b.namespaced + kind, description: doc, action: "list", kind: b.row.Kind,
			params: withPretty(listParams), produces: b.listMedia(), responses: ok(list),
		}
		b.add(path, op)
		if b.row.Namespaced {
			op.id, op.params = "list "+kind+"ForAllNamespaces", withPretty(listParams)
			op.responses = ok(list)
			b.add("/"+b.row.Name, op)
		}
	}
	if b.has("create") {
		b.add(path, operation{
			method: "post", id: "create " + b.namespaced + kind, description: "create" + article(kind) + kind,
			action: "post", kind: b.row.Kind, params: withPretty(createParams),
			body: &body{model: object, required: true, consumes: anyMedia}, produces: b.media(b.row.Kind), responses: created(object),
		})
	}
	if b.has("deletecollection") {
		b.add(path, operation{
			method: "delete", id: "delete Collection" + b.namespaced + kind, description: "delete collection of " + kind,
			action: "deletecollection", kind: b.row.Kind, params: withPretty(deleteCollectionParams),
			body: &body{model: metaPackage + "DeleteOptions", consumes: anyMedia}, produces: b.media(b.row.Kind), responses: ok(metaPackage + "Status"),
		})
	}
}

func (b *builder) object() {
	b.readWrite(b.objectPath(), b.row.Kind, b.row.Verbs, "")
	if b.has("delete") {
		kind := b.row.Kind.Kind
		b.add(b.objectPath(), operation{
			method: "delete", id: "delete " + b.namespaced + kind, description: "delete" + article(kind) + kind,
			action: "delete", kind: b.row.Kind, params: withPretty(deleteParams),
			body: &body{model: metaPackage + "DeleteOptions", consumes: anyMedia}, produces: b.media(b.row.Kind), responses: deleted(),
		})
	}
}

// readWrite adds get, update and patch of an object, or of a subresource.
func (b *builder) readWrite(path string, kind schema.GroupVersionKind, verbs []string, sub string) {
	object, model := b.row.Kind.Kind, b.modelOf(kind)
	what, suffix := "the specified "+object, b.namespaced+object+title(sub)
	if sub != "" {
		what = sub + " of " + what
	}
	if slices.Contains(verbs, "get") {
		b.add(path, operation{
			method: "get", id: "read " + suffix, description: "read " + what, action: "get", kind: kind,
			params: withPretty(nil), produces: b.media(kind), responses: ok(model),
		})
	}
	if slices.Contains(verbs, "update") {
		b.add(path, operation{
			method: "put", id: "replace " + suffix, description: "replace " + what, action: "put", kind: kind,
			params: withPretty(updateParams), body: &body{model: model, required: true, consumes: anyMedia},
			produces: b.media(kind), responses: updated(model),
		})
	}
	if slices.Contains(verbs, "patch") {
		b.add(path, operation{
			method: "patch", id: "patch " + suffix, description: "partially update " + what, action: "patch", kind: kind,
			params: withPretty(patchParams), body: &body{model: metaPackage + "Patch", required: true, consumes: b.patchMedia(kind)},
			produces: b.media(kind), responses: updated(model),
		})
	}
}

func (b *builder) subresource(sub registry.Subresource) {
	kind := sub.Kind
	if kind.Empty() {
		kind = b.row.Kind
	}
	path := b.objectPath() + "/" + sub.Name
	b.readWrite(path, kind, sub.Verbs, sub.Name)
	if slices.Contains(sub.Verbs, "create") {
		object, model := b.row.Kind.Kind, b.modelOf(kind)
		b.add(path, operation{
			method: "post", id: "create " + b.namespaced + object + title(sub.Name),
			description: "create " + sub.Name + " of" + article(object) + object, action: "post", kind: kind,
			params: withPretty(createParams), body: &body{model: model, required: true, consumes: anyMedia},
			produces: b.media(kind), responses: created(model),
		})
	}
}

// legacyWatch adds the paths of the time before watch was a parameter of list.
func (b *builder) legacyWatch() {
	if !b.has("watch") || !b.has("list") {
		return
	}
	kind := b.row.Kind.Kind
	individual := "watch individual changes to a list of " + kind + ". deprecated: use the 'watch' parameter with a list operation instead."
	watch := func(path, id, doc, action string) {
		b.add("/watch"+path, operation{
			method: "get", id: "watch " + id, description: doc, action: action, kind: b.row.Kind,
			params: withPretty(listParams), produces: b.listMedia(), responses: ok(metaPackage + "WatchEvent"),
		})
	}
	watch(b.collectionPath(), b.namespaced+kind+"List", individual, "watchlist")
	if b.row.Namespaced {
		watch("/"+b.row.Name, kind+"ListForAllNamespaces", individual, "watchlist")
	}
	watch(b.objectPath(), b.namespaced+kind, "watch changes to an object of kind "+kind+
		". deprecated: use the 'watch' parameter with a list operation instead, filtered to a single item with the 'fieldSelector' parameter.", "watch")
}

func withPretty(params []param) []param { return append(slices.Clone(params), pretty) }

func ok(model string) []response { return []response{{http.StatusOK, "OK", model}} }

func updated(model string) []response {
	return append(ok(model), response{http.StatusCreated, "Created", model})
}

func created(model string) []response {
	return append(updated(model), response{http.StatusAccepted, "Accepted", model})
}

func deleted() []response {
	const status = metaPackage + "Status"
	return append(ok(status), response{http.StatusAccepted, "Accepted", status})
}
