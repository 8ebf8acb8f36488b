package hostile

import (
	"fmt"
	"net/http"
	"strings"
)

func get(path string, code int, message string) attack {
	return attack{name: path[:min(len(path), 60)], method: http.MethodGet, path: path, code: code, message: message}
}

func pathAttacks() []attack {
	const twisted, absent, wrong = http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed
	attacks := []attack{
		get("/api/v1/nothing", absent, "could not find"),
		get("/apis/nowhere.io/v1/things", absent, "could not find"),
		get("/apis/apps/v9/deployments", absent, "could not find"),
		get("/api/v1/namespaces/default/pods/x/nothing", absent, "could not find"),
		get("/api/v1/namespaces/default/nodes", absent, "could not find"),
		get("/api/v1/namespaces/default/configmaps/victim/data", absent, "could not find"),
		get("/api/v1/namespaces/default/configmaps/victim/status/more", absent, "could not find"),
		get("/api/v1/namespaces/default/../kube-system/secrets", twisted, "canonical"),
		get("/api/v1/namespaces/default/configmaps/%2e%2e%2fvictim", twisted, "canonical"),
		get("/api/v1/namespaces/default/configmaps/..%2f..%2fregistry", twisted, "canonical"),
		get("/api/v1/namespaces/default/configmaps/victim%00", twisted, "canonical"),
		get("/api/v1/namespaces/default%2Fconfigmaps/victim", twisted, "canonical"),
		get("/static/../../etc/passwd", twisted, "canonical"),
		get("/api/v1/namespaces/default/configmaps/%FF%FE", absent, ""),
		get("/api/v1/namespaces/DEFAULT/configmaps/victim", absent, ""),
		get("/api/v1/namespaces/default/configmaps/victim;x=1", absent, ""),
		get("/api/v1/namespaces/default/configmaps/"+strings.Repeat("x", 60_000), absent, ""),
		get("/api/v1/"+strings.Repeat("namespaces/", 3_000), absent, ""),
		get("/etc/passwd", absent, ""),
		{name: "delete of a root", method: http.MethodDelete, path: "/api/v1", code: wrong},
		{name: "post to an object", method: http.MethodPost, path: victim, contentType: jsonType, body: []byte(`{}`), code: wrong},
		{name: "put to a collection", method: http.MethodPut, path: configMaps, contentType: jsonType, body: []byte(`{}`), code: wrong},
		{name: "patch of a collection", method: http.MethodPatch, path: configMaps, contentType: "application/merge-patch+json", body: []byte(`{}`), code: wrong},
		{name: "create without a namespace", method: http.MethodPost, path: "/api/v1/configmaps", contentType: jsonType, body: []byte(`{}`), code: wrong},
		{name: "delete in all namespaces", method: http.MethodDelete, path: "/api/v1/configmaps", code: wrong},
		{name: "delete of all namespaces", method: http.MethodDelete, path: "/api/v1/namespaces", code: wrong},
	}
	for _, method := range []string{http.MethodTrace, "PROPFIND", "get", "GX"} {
		attacks = append(attacks, attack{name: "method " + method, method: method, path: victim, code: wrong})
	}
	return attacks
}

func queryAttacks() []attack {
	const bad, invalid = http.StatusBadRequest, http.StatusUnprocessableEntity
	attacks := []attack{
		get(configMaps+"?limit=abc", bad, ""),
		get(configMaps+"?limit=99999999999999999999999", bad, ""),
		get(configMaps+"?resourceVersion=abc", bad, ""),
		get(configMaps+"?resourceVersion=-5", bad, ""),
		get(configMaps+"?resourceVersionMatch=Exact", invalid, "resourceVersionMatch"),
		get(configMaps+"?resourceVersion=1&resourceVersionMatch=Roughly", invalid, "resourceVersionMatch"),
		get(configMaps+"?continue=garbage", bad, "continue"),
		get(configMaps+"?continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTEsInN0YXJ0IjoiLi4vIn0", bad, ""),
		get(configMaps+"?fieldSelector=spec.nothing%3Dx", bad, "known field selector"),
		get(configMaps+"?fieldSelector=%3D%3D%3D", bad, ""),
		get(configMaps+"?labelSelector=a%20in%20(", bad, ""),
		get(configMaps+"?labelSelector="+strings.Repeat("!", 10_000), bad, ""),
		get(configMaps+"?timeoutSeconds=soon", bad, ""),
		get(configMaps+"?timeout=soon", bad, "timeout"),
		get(configMaps+"?watch=true&resourceVersion=abc", bad, ""),
		get(configMaps+"?watch=true&sendInitialEvents=true", invalid, "resourceVersionMatch"),
		get(victim+"?resourceVersion=abc", bad, ""),
	}
	body := []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}`)
	for query, code := range map[string]int{
		"dryRun=Some": invalid, "dryRun=All&dryRun=Some": invalid, "fieldValidation=Perhaps": invalid,
		"fieldManager=" + strings.Repeat("x", 200): invalid, "fieldManager=a%07b": invalid,
	} {
		attacks = append(attacks, attack{
			name: "create with " + query[:min(len(query), 40)], method: http.MethodPost, path: configMaps + "?" + query, contentType: jsonType, body: body, code: code,
		})
	}
	for query, code := range map[string]int{
		"propagationPolicy=Upwards": invalid, "gracePeriodSeconds=soon": bad, "dryRun=Some": invalid,
		"propagationPolicy=Orphan&orphanDependents=true": invalid,
	} {
		attacks = append(attacks, attack{name: "delete with " + query, method: http.MethodDelete, path: victim + "?" + query, code: code})
	}
	return append(attacks,
		attack{
			name: "delete with options of another kind", method: http.MethodDelete, path: victim, contentType: jsonType,
			body: []byte(`{"apiVersion":"v1","kind":"Pod"}`), code: bad,
		},
		attack{
			name: "delete with a precondition that fails", method: http.MethodDelete, path: victim, contentType: jsonType,
			body: []byte(`{"apiVersion":"v1","kind":"DeleteOptions","preconditions":{"uid":"no"}}`), code: http.StatusConflict,
		},
	)
}

func patchAttacks() []attack {
	const (
		jsonPatch  = "application/json-patch+json"
		mergePatch = "application/merge-patch+json"
		strategic  = "application/strategic-merge-patch+json"
		applyPatch = "application/apply-patch+yaml"
	)
	const bad, invalid, large = http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusRequestEntityTooLarge
	patch := func(name, contentType, body string, code int) attack {
		return attack{name: name, method: http.MethodPatch, path: victim, contentType: contentType, body: []byte(body), code: code}
	}
	// Each copy doubles what is there: thirty would make a gigabyte.
	doubling := `[{"op":"add","path":"/data/a","value":"` + strings.Repeat("x", 1000) + `"}`
	for i := range 30 {
		doubling += fmt.Sprintf(`,{"op":"add","path":"/data/m%d","value":{}},{"op":"copy","from":"/data","path":"/data/m%d/c"}`, i, i)
	}
	attacks := []attack{
		patch("malformed", jsonPatch, `[{"op":`, bad),
		patch("not a list", jsonPatch, `{"op":"add"}`, bad),
		patch("unknown operation", jsonPatch, `[{"op":"burn","path":"/data"}]`, bad),
		patch("no such path", jsonPatch, `[{"op":"remove","path":"/nothing/here"}]`, invalid),
		patch("failing test", jsonPatch, `[{"op":"test","path":"/data/kept","value":"no"}]`, invalid),
		patch("too many operations", jsonPatch, "["+strings.TrimSuffix(strings.Repeat(`{"op":"test","path":"/data/kept","value":"yes"},`, 10_001), ",")+"]", large),
		patch("doubling copies", jsonPatch, doubling+"]", large),
		patch("index of nonsense", jsonPatch, `[{"op":"add","path":"/metadata/finalizers/99999999999","value":"a/b"}]`, invalid),
		patch("removes the kind", jsonPatch, `[{"op":"remove","path":"/kind"},{"op":"replace","path":"/metadata","value":7}]`, invalid),
		patch("merge malformed", mergePatch, `{"data":`, bad),
		patch("merge a list", mergePatch, `[1,2]`, bad),
		patch("merge a wrong type", mergePatch, `{"data":7}`, invalid),
		patch("merge deep", mergePatch, strings.Repeat(`{"a":`, 100_000)+"1"+strings.Repeat("}", 100_000), bad),
		patch("merge another name", mergePatch, `{"metadata":{"name":"other"}}`, bad),
		patch("strategic malformed", strategic, `{`, bad),
		patch("strategic directive of nonsense", strategic, `{"data":{"$patch":"burn"}}`, invalid),
		patch("strategic wrong type", strategic, `{"metadata":{"ownerReferences":"x"}}`, invalid),
		patch("apply without a manager", applyPatch, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"victim"}}`, invalid),
		patch("a patch of no kind", "application/nothing", `{}`, http.StatusUnsupportedMediaType),
		patch("larger than the limit", mergePatch, `{"data":{"x":"`+strings.Repeat("x", 4*megabyte)+`"}}`, large),
	}
	for name, body := range map[string]string{
		"apply malformed":              "a: [",
		"apply another kind":           `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"victim"}}`,
		"apply with managed fields":    `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"victim","managedFields":[{"manager":"x"}]}}`,
		"apply with a field of nobody": `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"victim"},"dta":{}}`,
	} {
		a := patch(name, applyPatch, body, bad)
		a.path += "?fieldManager=attacker&force=true"
		attacks = append(attacks, a)
	}
	return attacks
}

func headerAttacks() []attack {
	body := []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}`)
	create := func(name, contentType string, code int) attack {
		return attack{name: name, method: http.MethodPost, path: configMaps, contentType: contentType, body: body, code: code}
	}
	withHeader := func(name, key, value string, code int) attack {
		return attack{name: name, method: http.MethodGet, path: victim, header: http.Header{key: {value}}, code: code}
	}
	return []attack{
		create("content of an unknown type", "text/html", http.StatusUnsupportedMediaType),
		create("content of a form", "application/x-www-form-urlencoded", http.StatusUnsupportedMediaType),
		create("content type of nonsense", ";;;", http.StatusUnsupportedMediaType),
		withHeader("an answer nobody makes", "Accept", "image/png", http.StatusNotAcceptable),
		withHeader("groups without a user to be", "Impersonate-Group", "system:masters", http.StatusBadRequest),
	}
}
