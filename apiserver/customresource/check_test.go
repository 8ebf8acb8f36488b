package customresource

import (
	"encoding/json"
	"math/rand"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"sigs.k8s.io/yaml"
)

// checked is a schema with one of most things that a check looks at.
const checked = `
type: object
required: [name, mode]
minProperties: 2
maxProperties: 12
properties:
  name: {type: string, minLength: 2, maxLength: 4, pattern: "^[a-zé]+$"}
  mode: {type: string, enum: ["On", "Off"]}
  kind: {type: string, enum: ["On", "Off"], nullable: true}
  count: {type: integer, format: int32, minimum: 0, maximum: 10, exclusiveMaximum: true}
  large: {type: integer}
  ratio: {type: number, minimum: 0.5, exclusiveMinimum: true}
  step: {type: integer, multipleOf: 3}
  flag: {type: boolean, nullable: true}
  at: {type: string, format: date-time}
  odd: {type: string, format: no-such-format}
  port: {x-kubernetes-int-or-string: true, anyOf: [{type: integer}, {type: string}]}
  size: {x-kubernetes-int-or-string: true, anyOf: [{type: integer}, {type: string}], pattern: "^[0-9]+$"}
  free: {x-kubernetes-preserve-unknown-fields: true}
  labels: {type: object, maxProperties: 2, additionalProperties: {type: string, maxLength: 2}}
  list: {type: array, minItems: 1, maxItems: 2, items: {type: object, required: [a], properties: {a: {type: integer}}}}
  either: {type: object, properties: {a: {type: string}, b: {type: string}}, anyOf: [{required: [a]}, {required: [b]}]}
  one: {type: object, properties: {a: {type: string}, b: {type: string}}, oneOf: [{required: [a]}, {required: [b]}]}
  both: {type: string, allOf: [{minLength: 1}, {maxLength: 2}]}
  never: {type: string, not: {enum: [x]}}
`

// values are what random objects are made of.
var values = []any{
	nil, true, "", "a", "ab", "éé", "abcd", "éééé", "abcde", "On", "x", "12", "2026-01-01T00:00:00Z", int64(0), int64(3), int64(10), int64(-1), int64(1) << 40,
	int64(1)<<53 + 1, 0.5, 0.75, 3.0, []any{}, []any{map[string]any{"a": int64(1)}}, []any{map[string]any{"a": "x"}}, []any{nil}, []any{int64(1), int64(2), int64(3)},
	map[string]any{}, map[string]any{"a": "b"}, map[string]any{"a": "abc"}, map[string]any{"a": "b", "b": "c"}, map[string]any{"a": "b", "b": "c", "c": "d"}, map[string]any{"a": nil},
}

func TestSureIsOnlyWhatIsValid(t *testing.T) {
	var v1 apiextensionsv1.JSONSchemaProps
	if err := yaml.Unmarshal([]byte(checked), &v1); err != nil {
		t.Fatal(err)
	}
	schema := &apiextensions.JSONSchemaProps{}
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(&v1, schema, nil); err != nil {
		t.Fatal(err)
	}
	library, _, err := validation.NewSchemaValidator(schema)
	if err != nil {
		t.Fatal(err)
	}
	quick := newCheck(schema)
	var names []string
	for name := range schema.Properties {
		names = append(names, name)
	}
	random := rand.New(rand.NewSource(1))
	sure, valid := 0, 0
	judge := func(object map[string]any) {
		t.Helper()
		errs := validation.ValidateCustomResource(nil, object, library)
		if quick.sure(object) {
			sure++
			if len(errs) > 0 {
				raw, _ := json.Marshal(object)
				t.Errorf("sure of %s, but %v", raw, errs)
			}
		}
		if len(errs) == 0 {
			valid++
		}
	}
	for _, name := range names {
		for _, value := range values {
			judge(map[string]any{"name": "ab", "mode": "On", name: value})
		}
	}
	for range 20_000 {
		object := map[string]any{"name": "ab", "mode": "On"}
		for range random.Intn(5) {
			object[names[random.Intn(len(names))]] = values[random.Intn(len(values))]
		}
		judge(object)
	}
	if sure < valid/2 || valid < 1000 {
		t.Errorf("sure of %d of %d valid objects", sure, valid)
	}
	t.Logf("sure of %d of %d valid objects", sure, valid)
}
