package codec

import (
	"encoding/json"
	"slices"
	"strconv"
)

// MarshalContent is json.Marshal of the content of an object without a Go type,
// at a third of its cost: nothing has to be found out by reflection.
func MarshalContent(content map[string]any) ([]byte, error) {
	return appendFields(make([]byte, 0, 2048), content, nil)
}

// marshalBare leaves kind and apiVersion out.
func marshalBare(content map[string]any) ([]byte, error) {
	return appendFields(make([]byte, 0, 2048), content, []string{"apiVersion", "kind"})
}

// appendFields writes a map but for some of its keys.
func appendFields(to []byte, content map[string]any, without []string) (_ []byte, err error) {
	if content == nil {
		return append(to, "null"...), nil
	}
	keys := make([]string, 0, len(content))
	for key := range content {
		if !slices.Contains(without, key) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	to = append(to, '{')
	for i, key := range keys {
		if i > 0 {
			to = append(to, ',')
		}
		if to, err = appendString(to, key); err != nil {
			return nil, err
		}
		to = append(to, ':')
		if to, err = appendContent(to, content[key]); err != nil {
			return nil, err
		}
	}
	return append(to, '}'), nil
}

func appendContent(to []byte, value any) (_ []byte, err error) {
	switch typed := value.(type) {
	case nil:
		return append(to, "null"...), nil
	case bool:
		return strconv.AppendBool(to, typed), nil
	case int64:
		return strconv.AppendInt(to, typed, 10), nil
	case string:
		return appendString(to, typed)
	case map[string]any:
		return appendFields(to, typed, nil)
	case []any:
		if typed == nil {
			return append(to, "null"...), nil
		}
		to = append(to, '[')
		for i, item := range typed {
			if i > 0 {
				to = append(to, ',')
			}
			if to, err = appendContent(to, item); err != nil {
				return nil, err
			}
		}
		return append(to, ']'), nil
	default:
		return appendOther(to, value)
	}
}

func appendString(to []byte, text string) ([]byte, error) {
	for i := range len(text) {
		switch b := text[i]; {
		case b < ' ', b > '~', b == '"', b == '\\', b == '<', b == '>', b == '&':
			return appendOther(to, text)
		}
	}
	to = append(to, '"')
	to = append(to, text...)
	return append(to, '"'), nil
}

// appendOther leaves what is less usual to the library.
func appendOther(to []byte, value any) ([]byte, error) {
	raw, err := json.Marshal(value)
	return append(to, raw...), err
}
