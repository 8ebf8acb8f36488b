package builtin

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

var signingRequests = certificatesv1.Resource("certificatesigningrequests")

// mayUseSigner asks for a verb on a signer: by its name, or by its domain.
func mayUseSigner(ctx context.Context, authz authorizer.UnconditionalAuthorizer, info user.Info, verb, signer string) bool {
	domain, _, _ := strings.Cut(signer, "/")
	for _, name := range []string{signer, domain + "/*"} {
		decision, _, err := authz.Authorize(ctx, authorizer.AttributesRecord{
			User: info, Verb: verb, APIGroup: certificatesv1.GroupName, APIVersion: "*",
			Resource: "signers", Name: name, ResourceRequest: true,
		})
		if err == nil && decision == authorizer.DecisionAllow {
			return true
		}
	}
	return false
}

// parseSigningRequest reads the PEM of a request.
func parseSigningRequest(data []byte) (*x509.CertificateRequest, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return nil, errors.New("PEM block type must be CERTIFICATE REQUEST")
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parsing certificate request: %w", err)
	}
	return request, nil
}

// conditionsOf are the conditions of some types that a request carries.
func conditionsOf(request *certificatesv1.CertificateSigningRequest, types ...certificatesv1.RequestConditionType) []certificatesv1.CertificateSigningRequestCondition {
	var some []certificatesv1.CertificateSigningRequestCondition
	for _, condition := range request.Status.Conditions {
		if slices.Contains(types, condition.Type) {
			some = append(some, condition)
		}
	}
	return some
}
