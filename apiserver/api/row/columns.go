package row

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/yare-io/yare/apiserver/registry"
)

// Unknown and None are what tables show for a missing time and a missing
// value.
const (
	Unknown = "<unknown>"
	None    = "<none>"
	Unset   = "<unset>"
)

// NameColumn is the column every table begins with.
func NameColumn() registry.Column {
	c := Text("Name", func(o runtime.Object) any { return accessor(o).GetName() })
	c.Format = "name"
	c.Description = metav1.ObjectMeta{}.SwaggerDoc()["name"]
	return c
}

// AgeColumn shows how long ago the object was created.
func AgeColumn() registry.Column {
	c := Aged("Age", func(o runtime.Object, now time.Time) any {
		return Age(accessor(o).GetCreationTimestamp(), now)
	})
	c.Description = metav1.ObjectMeta{}.SwaggerDoc()["creationTimestamp"]
	return c
}

// CreatedAtColumn shows when the object was created; it is what kinds without
// columns of their own have beside the name.
func CreatedAtColumn() registry.Column {
	return registry.Column{
		Name: "Created At", Type: "date",
		Description: metav1.ObjectMeta{}.SwaggerDoc()["creationTimestamp"],
		Cell: func(o runtime.Object, _ time.Time) any {
			return accessor(o).GetCreationTimestamp().UTC().Format(time.RFC3339)
		},
	}
}

// Text is a column of strings.
func Text[T runtime.Object](name string, cell func(T) any) registry.Column {
	return registry.Column{Name: name, Type: "string", Cell: registry.Cell(cell)}
}

// Integer is a column of int64.
func Integer[T runtime.Object](name string, cell func(T) any) registry.Column {
	return registry.Column{Name: name, Type: "integer", Cell: registry.Cell(cell)}
}

// Boolean is a column of bool.
func Boolean[T runtime.Object](name string, cell func(T) any) registry.Column {
	return registry.Column{Name: name, Type: "boolean", Cell: registry.Cell(cell)}
}

// Aged is a column of strings that change as time goes by.
func Aged[T runtime.Object](name string, cell func(obj T, now time.Time) any) registry.Column {
	return registry.Column{Name: name, Type: "string", Cell: func(o runtime.Object, now time.Time) any {
		return cell(o.(T), now)
	}}
}

// Wide makes a column one that only -o wide shows.
func Wide(c registry.Column) registry.Column {
	c.Priority = 1
	return c
}

// Age is the time since t in the shortest units, <unknown> for the zero time.
func Age(t metav1.Time, now time.Time) string {
	if t.IsZero() {
		return Unknown
	}
	return duration.HumanDuration(now.Sub(t.Time))
}

// accessor returns the object's metadata; rows have none without.
func accessor(o runtime.Object) metav1.Object {
	m, err := meta.Accessor(o)
	if err != nil {
		panic(err)
	}
	return m
}
