package certificates

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
	"github.com/yare-io/yare/apiserver/registry"
)

// maxTrustBundle is how large a bundle may be, in bytes.
const maxTrustBundle = 1 << 20

func trustBundles() *registry.Resource {
	return &registry.Resource{
		Kind: certificatesv1.SchemeGroupVersion.WithKind("ClusterTrustBundle"), Name: "clustertrustbundles", Singular: "clustertrustbundle",
		Verbs: row.AllVerbs(), StoragePrefix: "clustertrustbundles",
		New: row.New[certificatesv1.ClusterTrustBundle], NewList: row.New[certificatesv1.ClusterTrustBundleList],
		Strategy: registry.Strategy{
			Validate:       registry.Check(validateBundle),
			ValidateUpdate: registry.CheckUpdate(validateBundleUpdate),
			// The rule for names hangs on the signer: see validateBundleName.
			ValidName: func(string, bool) []string { return nil },
		},
		Columns: []registry.Column{
			row.NameColumn(),
			row.Text("SignerName", func(b *certificatesv1.ClusterTrustBundle) any { return row.Or(b.Spec.SignerName) }),
		},
		Fields: func(o runtime.Object) fields.Set {
			return fields.Set{"spec.signerName": o.(*certificatesv1.ClusterTrustBundle).Spec.SignerName}
		},
	}
}

func validateBundle(b *certificatesv1.ClusterTrustBundle) field.ErrorList {
	errs := validateBundleName(b)
	spec := field.NewPath("spec")
	if b.Spec.SignerName != "" {
		errs = append(errs, validateSigner(spec.Child("signerName"), b.Spec.SignerName)...)
	}
	return append(errs, validateAnchors(spec.Child("trustBundle"), b.Spec.TrustBundle)...)
}

// validateBundleName: a bundle that a signer vouches for has the signer's name
// before its own.
func validateBundleName(b *certificatesv1.ClusterTrustBundle) field.ErrorList {
	path, name := field.NewPath("metadata", "name"), b.Name
	if b.Spec.SignerName == "" {
		if strings.Contains(name, ":") {
			return field.ErrorList{field.Invalid(path, name, "ClusterTrustBundle without signer name must not have \":\" in its name")}
		}
		return rule.Invalid(path, name, validation.NameIsDNSSubdomain(name, false))
	}
	prefix := strings.ReplaceAll(b.Spec.SignerName, "/", ":") + ":"
	rest, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return field.ErrorList{field.Invalid(path, name, fmt.Sprintf("ClusterTrustBundle for signerName %s must be named with prefix %s", b.Spec.SignerName, prefix))}
	}
	return rule.Invalid(path, name, validation.NameIsDNSSubdomain(rest, false))
}

// validateAnchors wants authorities in PEM, each once.
func validateAnchors(path *field.Path, bundle string) field.ErrorList {
	if len(bundle) > maxTrustBundle {
		return field.ErrorList{field.TooLong(path, "", maxTrustBundle)}
	}
	var seen [][]byte
	data := []byte(bundle)
	refuse := func(format string, args ...any) field.ErrorList {
		return field.ErrorList{field.Invalid(path, "<value omitted>", fmt.Sprintf(format, args...))}
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return refuse("entry %d has bad block type: %v", len(seen), block.Type)
		}
		if len(block.Headers) != 0 {
			return refuse("entry %d has PEM block headers", len(seen))
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return refuse("entry %d does not parse as X.509", len(seen))
		}
		if !certificate.BasicConstraintsValid {
			return refuse("entry %d does not have basic constraints", len(seen))
		}
		if !certificate.IsCA {
			return refuse("entry %d does not have the CA bit set", len(seen))
		}
		for i, other := range seen {
			if bytes.Equal(other, block.Bytes) {
				return refuse("duplicate trust anchor (indices %d and %d)", i, len(seen))
			}
		}
		seen = append(seen, block.Bytes)
	}
	if len(seen) == 0 {
		return refuse("at least one trust anchor must be provided")
	}
	return nil
}

func validateBundleUpdate(b, old *certificatesv1.ClusterTrustBundle) field.ErrorList {
	var errs field.ErrorList
	if b.Spec.TrustBundle != old.Spec.TrustBundle {
		errs = validateAnchors(field.NewPath("spec", "trustBundle"), b.Spec.TrustBundle)
	}
	return append(errs, rule.Immutable(field.NewPath("spec", "signerName"), b.Spec.SignerName, old.Spec.SignerName)...)
}
