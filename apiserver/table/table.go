// Package table shows objects as rows of cells, as kubectl get prints them. It
// computes no cell itself: columns are the registry's.
package table

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/yare-io/yare/apiserver/codec"
	"github.com/yare-io/yare/apiserver/registry"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Source is one object to show.
type Source struct {
	Object runtime.Object
	// Full returns the object in its JSON envelope; it is called only when the
	// client wants whole objects.
	Full func() ([]byte, error)
}

// Maker makes tables of one resource's objects for one request.
type Maker struct {
	Columns []registry.Column
	// Conditions mark rows; it may be nil.
	Conditions func(runtime.Object) []metav1.TableRowCondition
	Include    metav1.IncludeObjectPolicy
	Version    string // of meta.k8s.io
	Now        time.Time
}

// Columns returns a kind's own columns, or those of a kind that has none.
func Columns(own []registry.Column) []registry.Column {
	if len(own) > 0 {
		return own
	}
	return defaultColumns
}

var defaultColumns = []registry.Column{
	{Name: "Name", Type: "string", Format: "name", Description: metav1.ObjectMeta{}.SwaggerDoc()["name"], Cell: cellName},
	{Name: "Created At", Type: "date", Description: metav1.ObjectMeta{}.SwaggerDoc()["creationTimestamp"], Cell: cellCreated},
}

func cellName(obj runtime.Object, _ time.Time) any {
	accessor, err := meta.Accessor(obj)
	if err != nil {
		return nil
	}
	return accessor.GetName()
}

func cellCreated(obj runtime.Object, _ time.Time) any {
	accessor, err := meta.Accessor(obj)
	if err != nil {
		return nil
	}
	return accessor.GetCreationTimestamp().UTC().Format(time.RFC3339)
}

// ParseInclude reads the includeObject parameter.
func ParseInclude(value string) (metav1.IncludeObjectPolicy, error) {
	switch policy := metav1.IncludeObjectPolicy(value); policy {
	case "":
		return metav1.IncludeMetadata, nil
	case metav1.IncludeNone, metav1.IncludeMetadata, metav1.IncludeObject:
		return policy, nil
	default:
		return "", fmt.Errorf("includeObject: Invalid value: %q: must be 'Metadata', 'Object', 'None', or empty", value)
	}
}

// Make returns a table in its JSON envelope. Without header it has no column
// definitions, as the later events of a watch.
func (m Maker) Make(list metav1.ListMeta, sources []Source, header bool) ([]byte, error) {
	out := metav1.Table{ListMeta: list, Rows: make([]metav1.TableRow, 0, len(sources))}
	out.SetGroupVersionKind(schema.GroupVersionKind{Group: metav1.GroupName, Version: m.Version, Kind: "Table"})
	if header {
		out.ColumnDefinitions = m.definitions()
	}
	for _, source := range sources {
		row, err := m.row(source)
		if err != nil {
			return nil, err
		}
		out.Rows = append(out.Rows, row)
	}
	raw, err := json.Marshal(&out)
	if err != nil {
		return nil, fmt.Errorf("encode table: %w", err)
	}
	return append(raw, '\n'), nil
}

func (m Maker) definitions() []metav1.TableColumnDefinition {
	out := make([]metav1.TableColumnDefinition, len(m.Columns))
	for i, c := range m.Columns {
		out[i] = metav1.TableColumnDefinition{Name: c.Name, Type: c.Type, Format: c.Format, Description: c.Description, Priority: c.Priority}
	}
	return out
}

func (m Maker) row(source Source) (metav1.TableRow, error) {
	row := metav1.TableRow{Cells: make([]any, len(m.Columns))}
	for i, c := range m.Columns {
		row.Cells[i] = c.Cell(source.Object, m.Now)
	}
	if m.Conditions != nil {
		row.Conditions = m.Conditions(source.Object)
	}
	raw, err := m.object(source)
	row.Object = runtime.RawExtension{Raw: raw}
	return row, err
}

func (m Maker) object(source Source) ([]byte, error) {
	switch m.Include {
	case metav1.IncludeNone:
		return nil, nil
	case metav1.IncludeObject:
		return source.Full()
	}
	partial, err := codec.Partial(source.Object)
	if err != nil {
		return nil, err
	}
	partial.SetGroupVersionKind(schema.GroupVersionKind{Group: metav1.GroupName, Version: m.Version, Kind: "PartialObjectMetadata"})
	return json.Marshal(partial)
}
