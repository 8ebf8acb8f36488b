package audit

import (
	"bytes"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	upstream "k8s.io/apiserver/pkg/audit"
)

// Format is how a log writes events.
type Format string

// The formats of --audit-log-format.
const (
	JSON   Format = "json"
	Legacy Format = "legacy"
)

// line returns an event as a line.
func (f Format) line(event *auditinternal.Event) ([]byte, error) {
	if f == Legacy {
		return []byte(upstream.EventString(event) + "\n"), nil
	}
	return encode(event)
}

// encode returns an event or a list of them in audit.k8s.io/v1, with a newline.
func encode(object runtime.Object) ([]byte, error) {
	raw, err := runtime.Encode(upstream.Codecs.LegacyCodec(auditv1.SchemeGroupVersion), object)
	if err != nil {
		return nil, fmt.Errorf("encode audit event: %w", err)
	}
	return append(bytes.TrimRight(raw, "\n"), '\n'), nil
}

// withoutManagedFields drops metadata.managedFields of an object, or of the
// items of a list; what is no object stays.
func withoutManagedFields(body []byte) []byte {
	var object map[string]json.RawMessage
	if json.Unmarshal(body, &object) != nil {
		return body
	}
	changed := dropManaged(object)
	var items []map[string]json.RawMessage
	if raw, ok := object["items"]; ok && json.Unmarshal(raw, &items) == nil {
		for _, item := range items {
			changed = dropManaged(item) || changed
		}
		if raw, err := json.Marshal(items); err == nil {
			object["items"] = raw
		}
	}
	if !changed {
		return body
	}
	out, err := json.Marshal(object)
	if err != nil {
		return body
	}
	return out
}

func dropManaged(object map[string]json.RawMessage) bool {
	var metadata map[string]json.RawMessage
	if json.Unmarshal(object["metadata"], &metadata) != nil || metadata["managedFields"] == nil {
		return false
	}
	delete(metadata, "managedFields")
	raw, err := json.Marshal(metadata)
	if err == nil {
		object["metadata"] = raw
	}
	return err == nil
}
