package fieldmanager

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kjson "sigs.k8s.io/json"

	"github.com/yare-io/yare/apiserver/codec"
)

// Objects without a Go type have their record as JSON. The accessors of
// apimachinery take it through reflection and copy it; these take it as it is,
// and leave what is unusual to them.

// recordHeld is m.GetManagedFields.
func recordHeld(m metav1.Object) []metav1.ManagedFieldsEntry {
	u, ok := m.(*unstructured.Unstructured)
	if !ok {
		return m.GetManagedFields()
	}
	metadata, _ := u.Object["metadata"].(map[string]any)
	items, ok := metadata["managedFields"].([]any)
	if !ok {
		return m.GetManagedFields()
	}
	entries := make([]metav1.ManagedFieldsEntry, len(items))
	for i, item := range items {
		content, _ := item.(map[string]any)
		if content == nil || !readEntry(content, &entries[i]) {
			return m.GetManagedFields()
		}
	}
	return entries
}

// readEntry returns false for an entry that has anything unusual.
func readEntry(content map[string]any, into *metav1.ManagedFieldsEntry) bool {
	for name, value := range content {
		if fields, ok := value.(map[string]any); ok && name == "fieldsV1" {
			raw, err := codec.MarshalContent(fields)
			if err != nil {
				return false
			}
			into.FieldsV1 = &metav1.FieldsV1{}
			into.FieldsV1.SetRawBytes(raw)
			continue
		}
		text, ok := value.(string)
		if !ok {
			return false
		}
		switch name {
		case "manager":
			into.Manager = text
		case "operation":
			into.Operation = metav1.ManagedFieldsOperationType(text)
		case "apiVersion":
			into.APIVersion = text
		case "fieldsType":
			into.FieldsType = text
		case "subresource":
			into.Subresource = text
		case "time":
			at, err := time.Parse(time.RFC3339, text)
			if err != nil {
				return false
			}
			into.Time = &metav1.Time{Time: at.Local()}
		default:
			return false
		}
	}
	return true
}

// putRecord is m.SetManagedFields.
func putRecord(m metav1.Object, entries []metav1.ManagedFieldsEntry) {
	u, ok := m.(*unstructured.Unstructured)
	if !ok || entries == nil {
		m.SetManagedFields(entries)
		return
	}
	metadata, ok := u.Object["metadata"].(map[string]any)
	if !ok {
		m.SetManagedFields(entries)
		return
	}
	items := make([]any, len(entries))
	for i := range entries {
		item, ok := writtenEntry(&entries[i])
		if !ok {
			m.SetManagedFields(entries)
			return
		}
		items[i] = item
	}
	metadata["managedFields"] = items
}

func writtenEntry(e *metav1.ManagedFieldsEntry) (map[string]any, bool) {
	out := make(map[string]any, 7)
	for name, text := range map[string]string{
		"manager": e.Manager, "operation": string(e.Operation), "apiVersion": e.APIVersion,
		"fieldsType": e.FieldsType, "subresource": e.Subresource,
	} {
		if text != "" {
			out[name] = text
		}
	}
	if e.Time != nil {
		if e.Time.IsZero() {
			return nil, false
		}
		out["time"] = e.Time.UTC().Format(time.RFC3339)
	}
	if e.FieldsV1 != nil {
		var fields map[string]any
		if err := kjson.UnmarshalCaseSensitivePreserveInts(e.FieldsV1.GetRawBytes(), &fields); err != nil || fields == nil {
			return nil, false
		}
		out["fieldsV1"] = fields
	}
	return out, true
}
