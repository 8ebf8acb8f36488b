package codec

import (
	"bytes"
	"errors"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	kjson "sigs.k8s.io/json"
)

// UnmarshalContent reads the content of an object without a Go type, as
// sigs.k8s.io/json does with case-sensitive names and whole numbers kept, at
// half of its cost. What that may read in another way is left to it.
func UnmarshalContent(raw []byte) (map[string]any, error) {
	if content, ok := readContent(raw, true); ok {
		return content, nil
	}
	var content map[string]any
	err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &content)
	return content, err
}

// unmarshalContentStrict also returns what is wrong without being fatal: names
// that are there twice.
func unmarshalContentStrict(raw []byte) (map[string]any, []error, error) {
	if content, ok := readContent(raw, false); ok {
		return content, nil, nil
	}
	var content map[string]any
	warnings, err := kjson.UnmarshalStrict(raw, &content)
	return content, warnings, err
}

// readContent reads one object with nothing unusual.
func readContent(raw []byte, duplicates bool) (map[string]any, bool) {
	d := jsontext.NewDecoder(bytes.NewBuffer(raw), jsontext.AllowDuplicateNames(duplicates))
	if d.PeekKind() != '{' {
		return nil, false
	}
	value, err := readValue(d)
	if err != nil {
		return nil, false
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return nil, false
	}
	return value.(map[string]any), true
}

var errUnusualJSON = errors.New("unusual JSON")

func readValue(d *jsontext.Decoder) (any, error) {
	switch d.PeekKind() {
	case '{':
		return readObject(d)
	case '[':
		return readArray(d)
	case '0':
		return readNumber(d)
	}
	token, err := d.ReadToken()
	if err != nil {
		return nil, err
	}
	switch token.Kind() {
	case '"':
		return token.String(), nil
	case 't', 'f':
		return token.Bool(), nil
	case 'n':
		return nil, nil
	}
	return nil, errUnusualJSON
}

func readObject(d *jsontext.Decoder) (any, error) {
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	object := map[string]any{}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		key := name.String()
		if object[key], err = readValue(d); err != nil {
			return nil, err
		}
	}
	_, err := d.ReadToken()
	return object, err
}

func readArray(d *jsontext.Decoder) (any, error) {
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	array := []any{}
	for d.PeekKind() != ']' {
		value, err := readValue(d)
		if err != nil {
			return nil, err
		}
		array = append(array, value)
	}
	_, err := d.ReadToken()
	return array, err
}

// readNumber reads whole numbers as such where they fit.
func readNumber(d *jsontext.Decoder) (any, error) {
	raw, err := d.ReadValue()
	if err != nil {
		return nil, err
	}
	if !bytes.ContainsAny(raw, ".eE") {
		if whole, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
			return whole, nil
		}
	}
	return strconv.ParseFloat(string(raw), 64)
}
