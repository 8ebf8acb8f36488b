package env

import (
	"context"
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/yare-io/yare/kubelet/downward"
)

// Objects fetches what variables refer to. A missing object is an error for which apierrors.IsNotFound holds.
type Objects interface {
	ConfigMap(ctx context.Context, namespace, name string) (*v1.ConfigMap, error)
	Secret(ctx context.Context, namespace, name string) (*v1.Secret, error)
}

// Source is all that a container's environment is made from.
type Source struct {
	Pod         *v1.Pod
	Addresses   downward.Addresses
	Allocatable v1.ResourceList
	Services    map[string]string
	Objects     Objects
}

// Variable is one name with its value.
type Variable struct{ Name, Value string }

// Make returns the container's variables sorted by name. Its errors are the user's to fix.
func (s *Source) Make(ctx context.Context, c *v1.Container) ([]Variable, error) {
	result := map[string]string{}
	for _, from := range c.EnvFrom {
		if err := s.addAll(ctx, result, from); err != nil {
			return nil, err
		}
	}
	lookup := func(name string) (string, bool) {
		if value, ok := result[name]; ok {
			return value, true
		}
		value, ok := s.Services[name]
		return value, ok
	}
	for _, variable := range c.Env {
		if variable.ValueFrom == nil {
			result[variable.Name] = Expand(variable.Value, lookup)
			continue
		}
		value, ok, err := s.valueFrom(ctx, c, variable.ValueFrom)
		if err != nil {
			return nil, err
		}
		if ok {
			result[variable.Name] = value
		}
	}
	for name, value := range s.Services {
		if _, ok := result[name]; !ok {
			result[name] = value
		}
	}
	variables := make([]Variable, 0, len(result))
	for name, value := range result {
		variables = append(variables, Variable{Name: name, Value: value})
	}
	slices.SortFunc(variables, func(a, b Variable) int { return strings.Compare(a.Name, b.Name) })
	return variables, nil
}

// Lookup makes a lookup function over variables, for Expand.
func Lookup(variables []Variable) func(string) (string, bool) {
	byName := make(map[string]string, len(variables))
	for _, v := range variables {
		byName[v.Name] = v.Value
	}
	return func(name string) (string, bool) {
		value, ok := byName[name]
		return value, ok
	}
}

func (s *Source) addAll(ctx context.Context, result map[string]string, from v1.EnvFromSource) error {
	switch {
	case from.ConfigMapRef != nil:
		ref := from.ConfigMapRef
		object, err := s.Objects.ConfigMap(ctx, s.Pod.Namespace, ref.Name)
		if err != nil {
			return unlessOptional(err, ref.Optional)
		}
		for k, v := range object.Data {
			result[from.Prefix+k] = v
		}
	case from.SecretRef != nil:
		ref := from.SecretRef
		object, err := s.Objects.Secret(ctx, s.Pod.Namespace, ref.Name)
		if err != nil {
			return unlessOptional(err, ref.Optional)
		}
		for k, v := range object.Data {
			result[from.Prefix+k] = string(v)
		}
	}
	return nil
}

func unlessOptional(err error, optional *bool) error {
	if apierrors.IsNotFound(err) && optional != nil && *optional {
		return nil
	}
	return err
}

func (s *Source) valueFrom(ctx context.Context, c *v1.Container, from *v1.EnvVarSource) (string, bool, error) {
	switch {
	case from.FieldRef != nil:
		value, err := downward.Field(s.Pod, s.Addresses, from.FieldRef.FieldPath)
		return value, true, err
	case from.ResourceFieldRef != nil:
		value, err := downward.Resource(s.Pod, c, from.ResourceFieldRef, s.Allocatable)
		return value, true, err
	case from.ConfigMapKeyRef != nil:
		return s.configMapKey(ctx, from.ConfigMapKeyRef)
	case from.SecretKeyRef != nil:
		return s.secretKey(ctx, from.SecretKeyRef)
	}
	return "", false, fmt.Errorf("unsupported source of an environment variable")
}

func (s *Source) configMapKey(ctx context.Context, ref *v1.ConfigMapKeySelector) (string, bool, error) {
	object, err := s.Objects.ConfigMap(ctx, s.Pod.Namespace, ref.Name)
	if err != nil {
		return "", false, unlessOptional(err, ref.Optional)
	}
	value, ok := object.Data[ref.Key]
	if !ok && (ref.Optional == nil || !*ref.Optional) {
		return "", false, fmt.Errorf("couldn't find key %v in ConfigMap %v/%v", ref.Key, s.Pod.Namespace, ref.Name)
	}
	return value, ok, nil
}

func (s *Source) secretKey(ctx context.Context, ref *v1.SecretKeySelector) (string, bool, error) {
	object, err := s.Objects.Secret(ctx, s.Pod.Namespace, ref.Name)
	if err != nil {
		return "", false, unlessOptional(err, ref.Optional)
	}
	value, ok := object.Data[ref.Key]
	if !ok && (ref.Optional == nil || !*ref.Optional) {
		return "", false, fmt.Errorf("couldn't find key %v in Secret %v/%v", ref.Key, s.Pod.Namespace, ref.Name)
	}
	return string(value), ok, nil
}
