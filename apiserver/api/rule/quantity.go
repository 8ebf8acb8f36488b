package rule

import (
	"regexp"
	"strconv"

	"k8s.io/apimachinery/pkg/api/resource"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Quantity refuses amounts below zero.
func Quantity(path *field.Path, q resource.Quantity) field.ErrorList {
	if q.Sign() >= 0 {
		return nil
	}
	return field.ErrorList{field.Invalid(path, q.String(), apivalidation.IsNegativeErrorMsg)}
}

// PositiveQuantity refuses zero and amounts below.
func PositiveQuantity(path *field.Path, q resource.Quantity) field.ErrorList {
	if q.Sign() > 0 {
		return nil
	}
	return field.ErrorList{field.Invalid(path, q.String(), NotPositive)}
}

// CountOrPercent wants a number from zero up, or a percentage.
func CountOrPercent(path *field.Path, v intstr.IntOrString) field.ErrorList {
	switch v.Type {
	case intstr.String:
		return Invalid(path, v, validation.IsValidPercent(v.StrVal))
	case intstr.Int:
		return NonNegative(path, v.IntVal)
	}
	return field.ErrorList{field.Invalid(path, v, "must be an integer or percentage (e.g '5%%')")}
}

// AtMostAll refuses more than a hundred percent.
func AtMostAll(path *field.Path, v intstr.IntOrString) field.ErrorList {
	if percent, ok := Percent(v); ok && percent > 100 {
		return field.ErrorList{field.Invalid(path, v, "must not be greater than 100%")}
	}
	return nil
}

var percentage = regexp.MustCompile(`^[0-9]+%$`)

// Percent returns the number of a percentage, and false for what is none.
func Percent(v intstr.IntOrString) (int, bool) {
	if v.Type != intstr.String || !percentage.MatchString(v.StrVal) {
		return 0, false
	}
	n, err := strconv.Atoi(v.StrVal[:len(v.StrVal)-1])
	return n, err == nil
}

// CountOrZero returns the number v is, or zero when it is a percentage.
func CountOrZero(v intstr.IntOrString) int {
	if n, ok := Percent(v); ok {
		return n
	}
	return v.IntValue()
}

// PortOrName wants a port number or a port's name.
func PortOrName(path *field.Path, v intstr.IntOrString) field.ErrorList {
	if v.Type == intstr.String {
		return Invalid(path, v.StrVal, validation.IsValidPortName(v.StrVal))
	}
	return Invalid(path, v.IntValue(), validation.IsValidPortNum(v.IntValue()))
}
