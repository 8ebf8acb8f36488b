package core

import (
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
	"github.com/yare-io/yare/apiserver/registry"
)

func secrets() *registry.Resource {
	return &registry.Resource{
		Kind: kind("Secret"), Name: "secrets", Singular: "secret", Namespaced: true,
		Verbs: row.AllVerbs(), StoragePrefix: "secrets", New: row.New[corev1.Secret], NewList: row.New[corev1.SecretList],
		Strategy: registry.Strategy{
			Default: registry.Do(defaultSecret),
			PrepareForUpdate: registry.PrepareUpdate(func(s, old *corev1.Secret) {
				if s.Type == "" {
					s.Type = old.Type
				}
			}),
			Validate:       registry.Check(validateSecret),
			ValidateUpdate: registry.CheckUpdate(validateSecretUpdate),
		},
		Columns: []registry.Column{
			row.NameColumn(),
			row.Text("Type", func(s *corev1.Secret) any { return string(s.Type) }),
			row.Text("Data", func(s *corev1.Secret) any { return int64(len(s.Data)) }),
			row.AgeColumn(),
		},
		Fields: func(o runtime.Object) fields.Set { return fields.Set{"type": string(o.(*corev1.Secret).Type)} },
	}
}

// defaultSecret also moves what was sent as text to where it is kept.
func defaultSecret(s *corev1.Secret) {
	if len(s.StringData) > 0 && s.Data == nil {
		s.Data = map[string][]byte{}
	}
	for key, value := range s.StringData {
		s.Data[key] = []byte(value)
	}
	s.StringData = nil
	if s.Type == "" {
		s.Type = corev1.SecretTypeOpaque
	}
}

func validateSecret(s *corev1.Secret) field.ErrorList {
	var errs field.ErrorList
	data := field.NewPath("data")
	total := 0
	for key, value := range s.Data {
		errs = append(errs, rule.Invalid(data.Key(key), key, validation.IsConfigMapKey(key))...)
		total += len(value)
	}
	if total > maxDataSize {
		errs = append(errs, field.TooLong(data, "", maxDataSize))
	}
	return append(errs, validateSecretType(data, s)...)
}

// validateSecretType wants the keys that each of Kubernetes' own types is read
// by.
func validateSecretType(data *field.Path, s *corev1.Secret) field.ErrorList {
	need := func(keys ...string) field.ErrorList {
		var errs field.ErrorList
		for _, key := range keys {
			if _, ok := s.Data[key]; !ok {
				errs = append(errs, field.Required(data.Key(key), ""))
			}
		}
		return errs
	}
	switch s.Type {
	case corev1.SecretTypeServiceAccountToken:
		if s.Annotations[corev1.ServiceAccountNameKey] == "" {
			return field.ErrorList{field.Required(field.NewPath("metadata", "annotations").Key(corev1.ServiceAccountNameKey), "")}
		}
	case corev1.SecretTypeDockercfg:
		return validateDockerConfig(data, s.Data, corev1.DockerConfigKey)
	case corev1.SecretTypeDockerConfigJson:
		return validateDockerConfig(data, s.Data, corev1.DockerConfigJsonKey)
	case corev1.SecretTypeBasicAuth:
		_, name := s.Data[corev1.BasicAuthUsernameKey]
		_, password := s.Data[corev1.BasicAuthPasswordKey]
		if !name && !password {
			return need(corev1.BasicAuthUsernameKey, corev1.BasicAuthPasswordKey)
		}
	case corev1.SecretTypeSSHAuth:
		if len(s.Data[corev1.SSHAuthPrivateKey]) == 0 {
			return field.ErrorList{field.Required(data.Key(corev1.SSHAuthPrivateKey), "")}
		}
	case corev1.SecretTypeTLS:
		return need(corev1.TLSCertKey, corev1.TLSPrivateKeyKey)
	}
	return nil
}

func validateDockerConfig(data *field.Path, content map[string][]byte, key string) field.ErrorList {
	raw, ok := content[key]
	if !ok {
		return field.ErrorList{field.Required(data.Key(key), "")}
	}
	if err := json.Unmarshal(raw, &map[string]any{}); err != nil {
		return field.ErrorList{field.Invalid(data.Key(key), "<secret contents redacted>", err.Error())}
	}
	return nil
}

func validateSecretUpdate(s, old *corev1.Secret) field.ErrorList {
	errs := rule.Immutable(field.NewPath("type"), s.Type, old.Type)
	if old.Immutable != nil && *old.Immutable {
		errs = append(errs, stillImmutable(s.Immutable)...)
		errs = append(errs, unchanged("data", s.Data, old.Data)...)
	}
	return append(errs, validateSecret(s)...)
}
