package core

import (
	"context"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

func serviceAccounts(d Deps) *registry.Resource {
	return &registry.Resource{
		Kind: kind("ServiceAccount"), Name: "serviceaccounts", Singular: "serviceaccount", ShortNames: []string{"sa"}, Namespaced: true,
		Verbs: row.AllVerbs(), StoragePrefix: "serviceaccounts", New: row.New[corev1.ServiceAccount], NewList: row.New[corev1.ServiceAccountList],
		Delete:  registry.DeleteStrategy{ReturnObject: true},
		Columns: []registry.Column{row.NameColumn(), row.AgeColumn()},
		Subresources: []registry.Subresource{{
			Name: "token", Kind: authenticationv1.SchemeGroupVersion.WithKind("TokenRequest"),
			New: row.New[authenticationv1.TokenRequest], Verbs: row.CreateOnly(), Action: issueToken(d.IssueToken),
		}},
	}
}

// issueToken checks what is sent against the URL and leaves the rest to the
// issuer.
func issueToken(issue registry.Action) registry.Action {
	return func(ctx context.Context, call registry.Call) (runtime.Object, error) {
		if issue == nil {
			return nil, apierrors.NewMethodNotSupported(corev1.Resource("serviceaccounts/token"), "create")
		}
		request := call.Object.(*authenticationv1.TokenRequest)
		if request.Name != "" && request.Name != call.Name {
			return nil, apierrors.NewBadRequest("name in URL does not match name of token request")
		}
		if request.Namespace != "" && request.Namespace != call.Namespace {
			return nil, apierrors.NewBadRequest("namespace in URL does not match namespace of token request")
		}
		return issue(ctx, call)
	}
}
