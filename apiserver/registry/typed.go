package registry

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The functions below let a row be written in terms of its Go type:
//
//	Strategy: registry.Strategy{
//		Default:  registry.Do(defaultDeployment),
//		Validate: registry.Check(validateDeployment),
//	}
//
// An object of another type is a programmer's mistake and panics.

// Do adapts a function of one typed object.
func Do[T runtime.Object](f func(T)) func(runtime.Object) {
	return func(o runtime.Object) { f(o.(T)) }
}

// Prepare adapts a Strategy.PrepareForCreate.
func Prepare[T runtime.Object](f func(T)) func(context.Context, runtime.Object) {
	return func(_ context.Context, o runtime.Object) { f(o.(T)) }
}

// PrepareUpdate adapts a Strategy.PrepareForUpdate.
func PrepareUpdate[T runtime.Object](f func(obj, old T)) func(_ context.Context, obj, old runtime.Object) {
	return func(_ context.Context, obj, old runtime.Object) { f(obj.(T), old.(T)) }
}

// Check adapts a Strategy.Validate.
func Check[T runtime.Object](f func(T) field.ErrorList) func(context.Context, runtime.Object) field.ErrorList {
	return func(_ context.Context, o runtime.Object) field.ErrorList { return f(o.(T)) }
}

// CheckUpdate adapts a Strategy.ValidateUpdate.
func CheckUpdate[T runtime.Object](f func(obj, old T) field.ErrorList) func(_ context.Context, obj, old runtime.Object) field.ErrorList {
	return func(_ context.Context, obj, old runtime.Object) field.ErrorList { return f(obj.(T), old.(T)) }
}

// Cell adapts a Column.Cell.
func Cell[T runtime.Object](f func(T) any) func(runtime.Object, time.Time) any {
	return func(o runtime.Object, _ time.Time) any { return f(o.(T)) }
}

// Conditions adapts Resource.Conditions.
func Conditions[T runtime.Object](f func(T) []metav1.TableRowCondition) func(runtime.Object) []metav1.TableRowCondition {
	return func(o runtime.Object) []metav1.TableRowCondition { return f(o.(T)) }
}
