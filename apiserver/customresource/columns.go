package customresource

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/jsonpath"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

// columns are the name and what the definition adds, the age when that is
// nothing. As in Kubernetes, one column that cannot be read leaves the name
// alone.
func (v *version) columns() []registry.Column {
	columns := []registry.Column{row.NameColumn()}
	added := v.spec.AdditionalPrinterColumns
	if len(added) == 0 {
		added = []apiextensionsv1.CustomResourceColumnDefinition{{
			Name: "Age", Type: "date", JSONPath: ".metadata.creationTimestamp",
			Description: metav1.ObjectMeta{}.SwaggerDoc()["creationTimestamp"],
		}}
	}
	for _, definition := range added {
		column, err := columnOf(definition)
		if err != nil {
			return columns[:1]
		}
		columns = append(columns, column)
	}
	return columns
}

func columnOf(d apiextensionsv1.CustomResourceColumnDefinition) (registry.Column, error) {
	path := jsonpath.New(d.Name).AllowMissingKeys(true)
	if err := path.Parse("{" + d.JSONPath + "}"); err != nil {
		return registry.Column{}, err
	}
	column := registry.Column{
		Name: d.Name, Type: d.Type, Format: d.Format, Description: d.Description, Priority: d.Priority,
		Cell: func(obj runtime.Object, now time.Time) any { return cell(path, d.Type, content(obj), now) },
	}
	if column.Description == "" {
		column.Description = "Custom resource definition column (in JSONPath format): " + d.JSONPath
	}
	return column, nil
}

// cell is the first value that a path leads to, in the type of its column; nil
// when there is none or it has another type.
func cell(path *jsonpath.JSONPath, kind string, content map[string]any, now time.Time) any {
	results, err := path.FindResults(content)
	if err != nil || len(results) == 0 || len(results[0]) == 0 {
		return nil
	}
	value := results[0][0].Interface()
	if kind == "string" {
		var text bytes.Buffer
		if err := path.PrintResults(&text, []reflect.Value{reflect.ValueOf(value)}); err != nil {
			return nil
		}
		return text.String()
	}
	switch typed := value.(type) {
	case bool:
		if kind == "boolean" {
			return typed
		}
	case string:
		if kind == "date" {
			return ageOf(typed, now)
		}
	case int64, float64, json.Number:
		return number(kind, typed)
	}
	return nil
}

func number(kind string, value any) any {
	switch typed := value.(type) {
	case int64:
		switch kind {
		case "integer":
			return typed
		case "number":
			return float64(typed)
		}
	case float64:
		switch kind {
		case "integer":
			return int64(typed)
		case "number":
			return typed
		}
	}
	return nil
}

func ageOf(text string, now time.Time) any {
	var at metav1.Time
	if err := at.UnmarshalQueryParameter(text); err != nil {
		return "<invalid>"
	}
	return row.Age(at, now)
}

// selectable returns the function that reads the selectable fields; nil when
// there are none.
func (v *version) selectable() (func(runtime.Object) fields.Set, error) {
	if len(v.spec.SelectableFields) == 0 {
		return nil, nil
	}
	paths := make(map[string]*jsonpath.JSONPath, len(v.spec.SelectableFields))
	for _, f := range v.spec.SelectableFields {
		path := jsonpath.New("selectableField").AllowMissingKeys(true)
		if err := path.Parse("{" + f.JSONPath + "}"); err != nil {
			return nil, fmt.Errorf("selectable field %s: %w", f.JSONPath, err)
		}
		paths[strings.TrimPrefix(f.JSONPath, ".")] = path
	}
	return func(obj runtime.Object) fields.Set {
		set := make(fields.Set, len(paths)+2)
		for name, path := range paths {
			set[name] = ""
			results, err := path.FindResults(content(obj))
			if err == nil && len(results) > 0 && len(results[0]) > 0 && results[0][0].Interface() != nil {
				set[name] = fmt.Sprint(results[0][0].Interface())
			}
		}
		return set
	}, nil
}
