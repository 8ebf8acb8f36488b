package customresource

import (
	"encoding/json"
	"math"
	"regexp"
	"slices"
	"unicode/utf8"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
)

// check tells of most valid values, at a small part of what the library's
// validation costs, that they are valid. What it is not sure of, which includes
// all that is wrong, is the library's to judge and to word.
type check struct {
	kind                  string
	nullable, intOrString bool
	// unsure: the schema says something that is not looked at here.
	unsure bool

	required             []string
	properties           map[string]*check
	additional           *check
	minCount, maxCount   int64 // of fields or items
	items                *check
	minLength, maxLength int64
	pattern              *regexp.Regexp
	format               string
	enum                 []string
	minimum, maximum     float64
	// all must be sure, and one of any where there are some.
	all, any []*check
}

// newCheck compiles a schema; that of nil is sure of everything.
func newCheck(s *apiextensions.JSONSchemaProps) *check {
	if s == nil {
		return nil
	}
	c := &check{
		kind: s.Type, nullable: s.Nullable, intOrString: s.XIntOrString, required: s.Required, format: s.Format,
		unsure:  s.MultipleOf != nil || s.UniqueItems || s.Not != nil || len(s.OneOf) > 0 || s.Ref != nil || len(s.PatternProperties) > 0 || len(s.Dependencies) > 0,
		minimum: math.Inf(-1), maximum: math.Inf(1), maxCount: math.MaxInt64, maxLength: math.MaxInt64,
	}
	c.limits(s)
	c.enumeration(s)
	if s.Pattern != "" {
		var err error
		if c.pattern, err = regexp.Compile(s.Pattern); err != nil {
			c.unsure = true
		}
	}
	c.below(s)
	return c
}

func (c *check) limits(s *apiextensions.JSONSchemaProps) {
	if s.MinLength != nil {
		c.minLength = *s.MinLength
	}
	if s.MaxLength != nil {
		c.maxLength = *s.MaxLength
	}
	minCount, maxCount := s.MinProperties, s.MaxProperties
	if s.Type == "array" {
		minCount, maxCount = s.MinItems, s.MaxItems
	}
	if minCount != nil {
		c.minCount = *minCount
	}
	if maxCount != nil {
		c.maxCount = *maxCount
	}
	if s.Minimum != nil {
		if c.minimum = *s.Minimum; s.ExclusiveMinimum {
			c.minimum = math.Nextafter(*s.Minimum, math.Inf(1))
		}
	}
	if s.Maximum != nil {
		if c.maximum = *s.Maximum; s.ExclusiveMaximum {
			c.maximum = math.Nextafter(*s.Maximum, math.Inf(-1))
		}
	}
	if s.Format == "int32" {
		c.minimum, c.maximum = max(c.minimum, math.MinInt32), min(c.maximum, math.MaxInt32)
	}
}

func (c *check) enumeration(s *apiextensions.JSONSchemaProps) {
	for _, value := range s.Enum {
		var decoded any = value
		if raw, ok := value.(json.RawMessage); ok {
			_ = json.Unmarshal(raw, &decoded)
		}
		text, ok := decoded.(string)
		c.unsure = c.unsure || !ok || s.Type != "string"
		c.enum = append(c.enum, text)
	}
}

// below compiles the schemas within.
func (c *check) below(s *apiextensions.JSONSchemaProps) {
	if len(s.Properties) > 0 {
		c.properties = make(map[string]*check, len(s.Properties))
	}
	for name := range s.Properties {
		property := s.Properties[name]
		c.properties[name] = newCheck(&property)
	}
	if a := s.AdditionalProperties; a != nil {
		c.additional = newCheck(a.Schema)
		c.unsure = c.unsure || a.Schema == nil && !a.Allows
	}
	if s.Items != nil {
		c.items = newCheck(s.Items.Schema)
		c.unsure = c.unsure || len(s.Items.JSONSchemas) > 0
	}
	for i := range s.AllOf {
		c.all = append(c.all, newCheck(&s.AllOf[i]))
	}
	for i := range s.AnyOf {
		c.any = append(c.any, newCheck(&s.AnyOf[i]))
	}
}

// sure reports whether a value is valid for certain.
func (c *check) sure(value any) bool {
	if c == nil {
		return true
	}
	if c.unsure {
		return false
	}
	for _, one := range c.all {
		if !one.sure(value) {
			return false
		}
	}
	if len(c.any) > 0 && !slices.ContainsFunc(c.any, func(one *check) bool { return one.sure(value) }) {
		return false
	}
	switch typed := value.(type) {
	case nil:
		return c.nullable && len(c.enum) == 0
	case string:
		return c.is("string") && c.text(typed)
	case bool:
		return c.is("boolean")
	case int64:
		// Others calculate with floats, which are exact up to here.
		const exact = 1 << 53
		return (c.is("integer") || c.kind == "number") && -exact < typed && typed < exact && c.number(float64(typed))
	case float64:
		return c.is("number") && c.number(typed)
	case []any:
		return c.is("array") && !c.intOrString && c.list(typed)
	case map[string]any:
		return c.is("object") && !c.intOrString && c.object(typed)
	}
	return false
}

func (c *check) is(kind string) bool {
	return c.kind == kind || c.kind == "" && (!c.intOrString || kind == "string" || kind == "integer")
}

func (c *check) text(value string) bool {
	if c.minLength > 0 || int64(len(value)) > c.maxLength {
		if length := int64(utf8.RuneCountInString(value)); length < c.minLength || length > c.maxLength {
			return false
		}
	}
	switch {
	case len(c.enum) > 0 && !slices.Contains(c.enum, value):
		return false
	case c.pattern != nil && !c.pattern.MatchString(value):
		return false
	case c.format != "" && !(strfmt.Default.ContainsName(c.format) && strfmt.Default.Validates(c.format, value)):
		return false
	}
	return true
}

func (c *check) number(value float64) bool { return c.minimum <= value && value <= c.maximum }

func (c *check) list(value []any) bool {
	if n := int64(len(value)); n < c.minCount || n > c.maxCount {
		return false
	}
	if c.items == nil {
		return true
	}
	for _, item := range value {
		if !c.items.sure(item) {
			return false
		}
	}
	return true
}

func (c *check) object(value map[string]any) bool {
	if n := int64(len(value)); n < c.minCount || n > c.maxCount {
		return false
	}
	for _, name := range c.required {
		if _, ok := value[name]; !ok {
			return false
		}
	}
	for name, field := range value {
		below, ok := c.properties[name]
		if !ok {
			below = c.additional
		}
		if !below.sure(field) {
			return false
		}
	}
	return true
}
