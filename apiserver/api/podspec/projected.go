package podspec

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/rule"
)

// Bounds of what a projected token or certificate may live.
const (
	minTokenSeconds       int64 = 10 * 60
	maxTokenSeconds       int64 = 1 << 32
	minCertificateSeconds int32 = 3600
	maxCertificateSeconds int32 = 91 * 24 * 3600
)

func validateProjected(at *field.Path, s *corev1.ProjectedVolumeSource) field.ErrorList {
	errs := validateMode(at.Child("defaultMode"), s.DefaultMode)
	paths := &uniquePaths{seen: sets.New[string]()}
	for i := range s.Sources {
		p := at.Child("sources").Index(i)
		errs = append(errs, validateProjection(p, &s.Sources[i], paths)...)
	}
	return errs
}

func validateProjection(at *field.Path, s *corev1.VolumeProjection, paths *uniquePaths) field.ErrorList {
	var errs field.ErrorList
	sources := []sourceCheck{
		{"secret", s.Secret != nil, func(p *field.Path) field.ErrorList {
			return projectKeys(p, s.Secret.Name, s.Secret.Items, paths)
		}},
		{"configMap", s.ConfigMap != nil, func(p *field.Path) field.ErrorList {
			return projectKeys(p, s.ConfigMap.Name, s.ConfigMap.Items, paths)
		}},
		{"downwardAPI", s.DownwardAPI != nil, func(p *field.Path) field.ErrorList {
			return projectDownward(p, s.DownwardAPI.Items, paths)
		}},
		{"serviceAccountToken", s.ServiceAccountToken != nil, func(p *field.Path) field.ErrorList {
			return projectToken(p, s.ServiceAccountToken, paths)
		}},
		{"clusterTrustBundle", s.ClusterTrustBundle != nil, func(p *field.Path) field.ErrorList {
			return projectBundle(p, s.ClusterTrustBundle, paths)
		}},
		{"podCertificate", s.PodCertificate != nil, func(p *field.Path) field.ErrorList {
			return projectCertificate(p, s.PodCertificate, paths)
		}},
	}
	given := 0
	for _, source := range sources {
		if !source.given {
			continue
		}
		if given++; given > 1 {
			errs = append(errs, field.Forbidden(at, "may not specify more than 1 volume type per source"))
			continue
		}
		errs = append(errs, source.check(at.Child(source.name))...)
	}
	if given == 0 {
		errs = append(errs, field.Required(at, "must specify a volume type"))
	}
	return errs
}

func projectKeys(at *field.Path, name string, items []corev1.KeyToPath, paths *uniquePaths) field.ErrorList {
	errs := rule.Required(at.Child("name"), name)
	errs = append(errs, validateItems(at.Child("items"), items)...)
	for _, item := range items {
		errs = append(errs, paths.add(at.Child("path"), item.Path)...)
	}
	return errs
}

func projectDownward(at *field.Path, items []corev1.DownwardAPIVolumeFile, paths *uniquePaths) field.ErrorList {
	errs := validateDownward(at, items)
	for _, item := range items {
		errs = append(errs, paths.add(at.Child("path"), item.Path)...)
	}
	return errs
}

func projectToken(at *field.Path, s *corev1.ServiceAccountTokenProjection, paths *uniquePaths) field.ErrorList {
	var errs field.ErrorList
	if e := s.ExpirationSeconds; e != nil {
		if *e < minTokenSeconds {
			errs = append(errs, field.Invalid(at.Child("expirationSeconds"), *e, "may not specify a duration less than 10 minutes"))
		}
		if *e > maxTokenSeconds {
			errs = append(errs, field.Invalid(at.Child("expirationSeconds"), *e, "may not specify a duration larger than 2^32 seconds"))
		}
	}
	return append(errs, projectFile(at.Child("path"), s.Path, paths)...)
}

func projectFile(at *field.Path, file string, paths *uniquePaths) field.ErrorList {
	if file == "" {
		return field.ErrorList{field.Required(at, "")}
	}
	return append(validateLocalFile(at, file), paths.add(at, file)...)
}

func projectBundle(at *field.Path, s *corev1.ClusterTrustBundleProjection, paths *uniquePaths) field.ErrorList {
	var errs field.ErrorList
	switch {
	case s.Name != nil && s.SignerName != nil:
		errs = append(errs, field.Invalid(at, s, "only one of name and signerName may be used"))
	case s.Name != nil && *s.Name == "":
		errs = append(errs, field.Required(at.Child("name"), "must be a valid object name"))
	case s.Name != nil && s.LabelSelector != nil:
		errs = append(errs, field.Invalid(at.Child("labelSelector"), s.LabelSelector, "labelSelector must be unset if name is specified"))
	case s.SignerName != nil && *s.SignerName == "":
		errs = append(errs, field.Required(at.Child("signerName"), "must be a valid signer name"))
	case s.Name == nil && s.SignerName == nil:
		errs = append(errs, field.Required(at, "either name or signerName must be specified"))
	}
	errs = append(errs, rule.Selector(at.Child("labelSelector"), s.LabelSelector)...)
	return append(errs, projectFile(at.Child("path"), s.Path, paths)...)
}

func projectCertificate(at *field.Path, s *corev1.PodCertificateProjection, paths *uniquePaths) field.ErrorList {
	errs := rule.Required(at.Child("signerName"), s.SignerName)
	errs = append(errs, rule.OneOf(at.Child("keyType"), s.KeyType,
		"RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519")...)
	if m := s.MaxExpirationSeconds; m != nil {
		if *m < minCertificateSeconds {
			errs = append(errs, field.Invalid(at.Child("maxExpirationSeconds"), *m, "if provided, maxExpirationSeconds must be >= 3600"))
		}
		if *m > maxCertificateSeconds {
			errs = append(errs, field.Invalid(at.Child("maxExpirationSeconds"), *m, "if provided, maxExpirationSeconds must be <= 7862400"))
		}
	}
	if s.CredentialBundlePath == "" && s.KeyPath == "" && s.CertificateChainPath == "" {
		errs = append(errs, field.Required(at, "specify at least one of credentialBundlePath, keyPath, and certificateChainPath"))
	}
	for _, f := range []struct{ name, path string }{
		{"credentialBundlePath", s.CredentialBundlePath}, {"keyPath", s.KeyPath}, {"certificateChainPath", s.CertificateChainPath},
	} {
		if f.path != "" {
			errs = append(errs, projectFile(at.Child(f.name), f.path, paths)...)
		}
	}
	return errs
}
