package hostile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/http"
	"strings"
)

const megabyte = 1 << 20

// creates are attempts to create a config map out of a body.
func creates(contentType string, bodies map[string]expectation) []attack {
	attacks := make([]attack, 0, len(bodies))
	for name, e := range bodies {
		attacks = append(attacks, attack{
			name: name, method: http.MethodPost, path: configMaps, contentType: contentType,
			body: []byte(e.body), code: e.code, message: e.message,
		})
	}
	return attacks
}

type expectation struct {
	body    string
	code    int
	message string
}

func bad(body string) expectation { return expectation{body, http.StatusBadRequest, ""} }

// tooMany is for bodies that would become far larger than they are.
func tooMany(body, message string) expectation {
	return expectation{body, http.StatusRequestEntityTooLarge, message}
}

func badFor(body, message string) expectation {
	return expectation{body, http.StatusBadRequest, message}
}

// nested is an object whose data holds itself so many times.
func nested(depth int) string {
	return `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"deep"},"data":` +
		strings.Repeat(`{"a":`, depth) + `1` + strings.Repeat(`}`, depth) + `}`
}

func jsonAttacks() []attack {
	return creates(jsonType, map[string]expectation{
		"empty":                  bad(``),
		"cut off":                bad(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"`),
		"trailing bytes":         bad(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}} {"kind":"Secret"}`),
		"not a number":           bad(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","generation":NaN}}`),
		"number out of range":    bad(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","generation":1e999}}`),
		"null":                   {`null`, http.StatusUnprocessableEntity, "name or generateName is required"},
		"array":                  bad(`[{"apiVersion":"v1","kind":"ConfigMap"}]`),
		"string":                 bad(`"ConfigMap"`),
		"number":                 bad(`7`),
		"array of kinds":         bad(`{"apiVersion":"v1","kind":["ConfigMap"],"metadata":{"name":"a"}}`),
		"unfinished escape":      bad(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"\u12"}}`),
		"control bytes":          bad("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\x00b\"}}"),
		"name of another type":   bad(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":{"a":1}}}`),
		"labels as a list":       bad(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","labels":["x"]}}`),
		"data of another type":   bad(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"x":5}}`),
		"binary not in base64":   bad(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"binaryData":{"x":"!!"}}`),
		"another kind":           badFor(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"}}`, "Secret"),
		"another version":        badFor(`{"apiVersion":"v2","kind":"ConfigMap","metadata":{"name":"a"}}`, "v2"),
		"another group":          bad(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"a"}}`),
		"version with slashes":   bad(`{"apiVersion":"a/b/c","kind":"ConfigMap","metadata":{"name":"a"}}`),
		"deeply nested":          tooMany(nested(100_000), "objects"),
		"deeply nested lists":    bad(strings.Repeat("[", 300_000)),
		"deep where ignored":     bad(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"unknown":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`),
		"larger than the limit":  {strings.Repeat(" ", 4*megabyte), http.StatusRequestEntityTooLarge, "limit is 3145728"},
		"larger than the kind":   {`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"x":"` + strings.Repeat("x", megabyte+1) + `"}}`, http.StatusUnprocessableEntity, "Too long"},
		"200,000 bad keys":       {manyKeys(200_000), http.StatusUnprocessableEntity, "Too many: 200000"},
		"another namespace":      badFor(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"kube-system"}}`, "namespace"),
		"yaml under JSON's name": bad("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n"),
	})
}

// manyKeys is a config map of so many small entries, each with a bad name.
func manyKeys(n int) string {
	var body strings.Builder
	body.WriteString(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{`)
	for i := range n {
		if i > 0 {
			body.WriteByte(',')
		}
		fmt.Fprintf(&body, `"!%d":""`, i)
	}
	body.WriteString("}}")
	return body.String()
}

func yamlAttacks() []attack {
	laughs := "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n"
	for i := 1; i < 12; i++ {
		laughs += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 9), ", "))
	}
	header := "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n"
	return creates(yamlType, map[string]expectation{
		"a billion laughs":    bad(header + laughs),
		"laughs in the data":  bad(header + "data: *a11\n" + laughs),
		"an alias of nothing": bad(header + "data: *nothing\n"),
		"an alias of itself":  bad(header + "data: &a\n  x: *a\n"),
		"tabs":                bad("apiVersion: v1\n\tkind: ConfigMap\n"),
		"unbalanced":          bad("apiVersion: {v1\nkind: ConfigMap\n"),
		"keys that are maps":  bad(header + "data:\n  ? {a: b}\n  : c\n"),
		"a foreign tag":       bad(header + "data: !!python/object/apply:os.system [id]\n"),
		"wrong type":          bad(header + "data:\n  x: [1, 2]\n"),
		"deeply nested":       bad(header + "data: " + strings.Repeat("[", 50_000) + "\n"),
		"deep by indentation": bad(header + indented(2_000)),
		"binary":              bad("\x00\x01\x02\xff\xfe"),
		"only a comment":      {"# nothing\n", http.StatusUnprocessableEntity, "name or generateName is required"},
		"larger":              {strings.Repeat("# filler\n", 500_000), http.StatusRequestEntityTooLarge, ""},
	})
}

func indented(depth int) string {
	var body strings.Builder
	body.WriteString("data:\n")
	for i := range depth {
		body.WriteString(strings.Repeat(" ", i+1) + "a:\n")
	}
	return body.String()
}

func cborAttacks() []attack {
	return creates(cborType, map[string]expectation{
		"empty":           bad(""),
		"cut off":         bad("\xd9\xd9\xf7\xa1\x44kind"),
		"no map":          bad("\xd9\xd9\xf7\x80"),
		"trailing bytes":  bad("\xa0\xa0"),
		"a key twice":     bad("\xa2\x44kind\x41a\x44kind\x41b"),
		"endless":         bad("\xa1\x44data\xbf"),
		"deep":            tooMany("\xa1\x41x"+strings.Repeat("\x81", 1_000_000), "items"),
		"deep tags":       tooMany("\xa1\x41x"+strings.Repeat("\xc1", 1_000_000), "items"),
		"deep and closed": bad("\xa1\x41x" + strings.Repeat("\x81", 20_000) + "\x00"),
		"promised bytes":  bad("\xa1\x44kind\x5b\x7f\xff\xff\xff\xff\xff\xff\xff"),
		"promised items":  bad("\xa1\x48metadata\x9b\x7f\xff\xff\xff\xff\xff\xff\xff"),
		"promised keys":   bad("\xbb\x7f\xff\xff\xff\xff\xff\xff\xff\x41a\x41b"),
		"infinity":        bad("\xa1\x48metadata\xa1\x4ageneration\xf9\x7c\x00"),
		"big number":      bad("\xa1\x48metadata\xa1\x4ageneration\xc2\x58\x20" + strings.Repeat("\xff", 32)),
		"undefined":       bad("\xa1\x44data\xf7"),
		"broken text":     bad("\xa1\x44kind\x61\xff"),
		"keys of numbers": {"\xa1\x01\x02", http.StatusUnprocessableEntity, "name or generateName is required"},
		"a million items": tooMany("\xa1\x48metadata\xa1\x4fownerReferences\x9a\x00\x0f\x42\x40"+strings.Repeat("\xa0", 1_000_000), "items"),
		"another kind":    badFor("\xa2\x44kind\x46Secret\x4aapiVersion\x42v1", "Secret"),
		"JSON":            bad(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}`),
	})
}

// envelope is what a protobuf body starts with: the magic, then a
// runtime.Unknown with the type and the raw object.
func envelope(apiVersion, kind string, raw []byte) string {
	meta := field(1, []byte(apiVersion))
	meta = append(meta, field(2, []byte(kind))...)
	return "k8s\x00" + string(append(field(1, meta), field(2, raw)...))
}

// field is a length-delimited protobuf field.
func field(number byte, value []byte) []byte {
	out := binary.AppendUvarint([]byte{number<<3 | 2}, uint64(len(value)))
	return append(out, value...)
}

func protobufAttacks() []attack {
	metadata := field(1, field(1, []byte("a")))
	groups := bytes.Repeat([]byte{0x0b}, 200_000) // groups begun and never ended
	return creates(protobufType, map[string]expectation{
		"empty":              bad(""),
		"no magic":           bad("\x0a\x03abc"),
		"JSON":               bad(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}`),
		"magic alone":        {"k8s\x00", http.StatusUnprocessableEntity, "name or generateName is required"},
		"random bytes":       bad("k8s\x00\xde\xad\xbe\xef\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
		"huge length":        bad("k8s\x00\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),
		"length of 4 GiB":    bad("k8s\x00\x12\xff\xff\xff\xff\x0f"),
		"length beyond":      bad("k8s\x00\x0a\x7fab"),
		"endless varint":     bad("k8s\x00\x08" + strings.Repeat("\xff", 1000)),
		"cut off":            bad(envelope("v1", "ConfigMap", metadata[:len(metadata)-1])),
		"negative length":    bad(envelope("v1", "ConfigMap", []byte("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))),
		"groups":             bad(envelope("v1", "ConfigMap", groups)),
		"nested groups":      bad("k8s\x00" + string(groups)),
		"another kind":       badFor(envelope("v1", "Secret", metadata), "Secret"),
		"unknown kind":       bad(envelope("v1", "Nothing", metadata)),
		"wrong wire type":    bad(envelope("v1", "ConfigMap", []byte{0x08, 1})),
		"field number zero":  bad(envelope("v1", "ConfigMap", []byte{0x02, 0x01, 0x00})),
		"larger than limits": {"k8s\x00" + strings.Repeat("\x00", 4*megabyte), http.StatusRequestEntityTooLarge, ""},
	})
}

// objectAttacks are well-formed bodies that describe what cannot be.
func objectAttacks() []attack {
	deployment := func(spec string) string {
		return `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":` + spec + `}`
	}
	template := `"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}`
	const invalid = http.StatusUnprocessableEntity
	bodies := map[string]expectation{
		"replicas as text":        bad(deployment(`{"replicas":"three",` + template + `}`)),
		"replicas beyond 32 bits": bad(deployment(`{"replicas":99999999999,` + template + `}`)),
		"replicas as a fraction":  bad(deployment(`{"replicas":1.5,` + template + `}`)),
		"negative replicas":       {deployment(`{"replicas":-1,` + template + `}`), invalid, "spec.replicas"},
		"no spec":                 {`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"}}`, invalid, "spec.selector"},
		"quantity of nonsense":    bad(deployment(`{"selector":{},"template":{"spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":"lots"}}}]}}}`)),
		"time of nonsense":        bad(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d","creationTimestamp":"yesterday"},"spec":{}}`),
		"name too long":           {`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"` + strings.Repeat("d", 300) + `"},"spec":{` + template + `}}`, invalid, "metadata.name"},
		"name with a path":        {`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"../../etc"},"spec":{` + template + `}}`, invalid, "metadata.name"},
		"name with capitals":      {`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"Web"},"spec":{` + template + `}}`, invalid, "metadata.name"},
		"huge annotations":        {`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d","annotations":{"a":"` + strings.Repeat("x", 300_000) + `"}},"spec":{` + template + `}}`, invalid, "Too long"},
		"finalizer of nonsense":   {`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d","finalizers":["not valid!"]},"spec":{` + template + `}}`, invalid, "metadata.finalizers"},
		"owner without a uid":     {`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d","ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"p"}]},"spec":{` + template + `}}`, invalid, "metadata.ownerReferences"},
	}
	attacks := creates(jsonType, bodies)
	for i := range attacks {
		attacks[i].path = deployments
	}
	return append(attacks,
		attack{
			name: "unknown field, strictly", method: http.MethodPost, path: configMaps + "?fieldValidation=Strict", contentType: jsonType,
			body: []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"dta":{}}`), code: http.StatusBadRequest, message: `unknown field "dta"`,
		},
		attack{
			name: "repeated field, strictly", method: http.MethodPost, path: configMaps + "?fieldValidation=Strict", contentType: jsonType,
			body: []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"x":"1","x":"2"}}`), code: http.StatusBadRequest, message: "duplicate field",
		},
		attack{
			name: "another name than the path's", method: http.MethodPut, path: victim, contentType: jsonType,
			body: []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"other"}}`), code: http.StatusBadRequest, message: "does not match",
		},
		attack{
			name: "another uid", method: http.MethodPut, path: victim, contentType: jsonType,
			body: []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"victim","uid":"no"}}`), code: http.StatusConflict, message: "UID",
		},
		attack{
			name: "a version of nonsense", method: http.MethodPut, path: victim, contentType: jsonType,
			body: []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"victim","resourceVersion":"abc"}}`), code: http.StatusUnprocessableEntity, message: "resourceVersion",
		},
		attack{
			name: "an old version", method: http.MethodPut, path: victim, contentType: jsonType,
			body: []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"victim","resourceVersion":"1"}}`), code: http.StatusConflict, message: "modified",
		},
	)
}
