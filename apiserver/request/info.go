// Package request says what an HTTP request is about: which verb on which
// resource, or which other path. It reads the request line only, and knows
// neither which resources exist nor who is asking.
package request

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Info is the meaning of a request's method, path and query. It is immutable
// once it is in a context.
type Info struct {
	// Resource requests name a resource; of all others only Verb (the method
	// in lower case) and Path are set.
	IsResource bool
	// Verb is get, list, watch, create, update, patch, delete or
	// deletecollection.
	Verb string
	// Path is the decoded URL path.
	Path string

	// Group is empty for the core group.
	Group, Version string
	// Namespace is set for a request below a namespace, and for one to a
	// namespace itself.
	Namespace, Resource, Subresource, Name string
	// Within is true when the path leads through a namespace to something in
	// it.
	Within bool
	// Remainder is what follows the subresource in the path, undecoded,
	// beginning with a slash (proxy requests), or empty.
	Remainder string
	// LegacyWatch is true for paths with /watch/ after the version.
	LegacyWatch bool
	// Selectors are set for list, watch and deletecollection.
	LabelSelector, FieldSelector string
}

// GroupVersionResource names the resource as the client addressed it.
func (i *Info) GroupVersionResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: i.Group, Version: i.Version, Resource: i.Resource}
}

// GroupResource names the resource without its version.
func (i *Info) GroupResource() schema.GroupResource {
	return schema.GroupResource{Group: i.Group, Resource: i.Resource}
}

// ReadOnly reports whether the method changes nothing.
func (i *Info) ReadOnly() bool {
	return i.Verb == "get" || i.Verb == "list" || i.Verb == "watch" || (!i.IsResource && (i.Verb == "head" || i.Verb == "options"))
}

// LongRunning reports whether the request may last for as long as the client
// likes: a watch, a stream, a proxied request.
func (i *Info) LongRunning() bool {
	if i.Verb == "watch" {
		return true
	}
	switch i.Subresource {
	case "attach", "exec", "proxy", "log", "portforward":
		return true
	}
	return !i.IsResource && strings.HasPrefix(i.Path, "/debug/pprof/")
}

// ErrBadPath is returned for paths that no client has a reason to send: with
// empty, "." or ".." segments, an encoded slash or a NUL.
var ErrBadPath = errors.New("the request path is not canonical")

// Of reads the meaning of a request.
func Of(r *http.Request) (*Info, error) {
	info := &Info{Path: r.URL.Path, Verb: strings.ToLower(r.Method)}
	if info.Path == "" {
		info.Path = "/"
	}
	if err := clean(info.Path); err != nil {
		return info, err
	}
	escaped := r.URL.EscapedPath()
	raw := strings.Split(strings.TrimSuffix(strings.TrimPrefix(escaped, "/"), "/"), "/")
	switch {
	case raw[0] == "api" && len(raw) >= 3:
		raw = raw[1:]
	case raw[0] == "apis" && len(raw) >= 4:
		group, err := segment(raw[1])
		if err != nil {
			return info, err
		}
		info.Group, raw = group, raw[2:]
	default:
		return info, plain(raw)
	}
	if err := info.parseResource(r, raw); err != nil {
		return info, err
	}
	if info.Subresource != "" && strings.HasSuffix(escaped, "/") {
		info.Remainder += "/"
	}
	return info, nil
}

// parseResource reads VERSION/[watch/][namespaces/NS/]RESOURCE[/NAME[/SUB[/…]]].
func (i *Info) parseResource(r *http.Request, raw []string) error {
	version, err := segment(raw[0])
	if err != nil {
		return err
	}
	i.IsResource, i.Version, i.Verb, raw = true, version, verbs[r.Method], raw[1:]
	if raw[0] == "watch" {
		if len(raw) < 2 {
			return errors.New("unable to determine kind and namespace from url")
		}
		i.Verb, i.LegacyWatch, raw = "watch", true, raw[1:]
	}
	if raw[0] == "namespaces" && len(raw) > 1 {
		if i.Namespace, err = segment(raw[1]); err != nil {
			return err
		}
		if len(raw) > 2 && raw[2] != "status" && raw[2] != "finalize" {
			i.Within, raw = true, raw[2:]
		}
	}
	if err := i.parseTail(raw); err != nil {
		return err
	}
	i.refine(r.URL.RawQuery)
	return nil
}

func (i *Info) parseTail(raw []string) error {
	targets := []*string{&i.Resource, &i.Name, &i.Subresource}
	for n, target := range targets {
		if n >= len(raw) {
			return nil
		}
		value, err := segment(raw[n])
		if err != nil {
			return err
		}
		*target = value
	}
	if len(raw) > len(targets) {
		i.Remainder = "/" + strings.Join(raw[len(targets):], "/")
	}
	return nil
}

var verbs = map[string]string{
	http.MethodPost:   "create",
	http.MethodGet:    "get",
	http.MethodHead:   "get",
	http.MethodPut:    "update",
	http.MethodPatch:  "patch",
	http.MethodDelete: "delete",
}

// refine tells reads and deletions of many objects from those of one, and
// finds the one name that a field selector may stand for.
func (i *Info) refine(rawQuery string) {
	if i.Name == "" {
		switch i.Verb {
		case "get":
			i.Verb = "list"
		case "delete":
			i.Verb = "deletecollection"
		}
	}
	collection := i.Verb == "list" || i.Verb == "watch" || i.Verb == "deletecollection"
	if !collection || rawQuery == "" {
		return
	}
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return
	}
	i.LabelSelector, i.FieldSelector = query.Get("labelSelector"), query.Get("fieldSelector")
	if i.Verb == "list" && isTrue(query["watch"]) {
		i.Verb = "watch"
	}
	if i.Name == "" {
		i.Name = nameIn(i.FieldSelector)
	}
}

// isTrue reads a boolean parameter as Kubernetes does: present and not false.
func isTrue(values []string) bool {
	return len(values) > 0 && !strings.EqualFold(values[0], "false") && values[0] != "0"
}

// nameIn returns the name that a selector pins metadata.name to.
func nameIn(selector string) string {
	for term := range strings.SplitSeq(selector, ",") {
		value, ok := strings.CutPrefix(term, "metadata.name=")
		value = strings.TrimPrefix(value, "=")
		if ok && value != "" && value != "." && value != ".." && !strings.ContainsAny(value, `\/%`) {
			return value
		}
	}
	return ""
}

// clean refuses what no path may contain, proxied or not.
func clean(path string) error {
	if path[0] != '/' || strings.ContainsRune(path, 0) {
		return ErrBadPath
	}
	return nil
}

// plain checks the segments of a path that names no resource.
func plain(raw []string) error {
	if len(raw) == 1 && raw[0] == "" {
		return nil
	}
	for _, s := range raw {
		if _, err := segment(s); err != nil {
			return err
		}
	}
	return nil
}

// segment decodes one path segment and refuses one that could mean another
// path to whoever reads it next.
func segment(raw string) (string, error) {
	s, err := url.PathUnescape(raw)
	if err != nil || s == "" || s == "." || s == ".." || strings.ContainsRune(s, '/') {
		return "", ErrBadPath
	}
	return s, nil
}

type key struct{}

// With returns a context that carries info.
func With(ctx context.Context, info *Info) context.Context {
	return context.WithValue(ctx, key{}, info)
}

// From returns what With put in, or an empty Info.
func From(ctx context.Context) *Info {
	if info, ok := ctx.Value(key{}).(*Info); ok {
		return info
	}
	return &Info{}
}
