package apiserver

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	genericrequest "k8s.io/apiserver/pkg/endpoints/request"
)

// impersonate lets a user act as another, if it may impersonate every part of
// that identity.
func (s *Server) impersonate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wish, asked, err := impersonation(r.Header)
		if err != nil {
			s.fail(w, r, apierrors.NewBadRequest(err.Error()))
			return
		}
		if !asked {
			next.ServeHTTP(w, r)
			return
		}
		if err := s.mayImpersonate(r.Context(), wish); err != nil {
			s.fail(w, r, err)
			return
		}
		for name := range r.Header {
			if strings.HasPrefix(name, "Impersonate-") {
				r.Header.Del(name)
			}
		}
		next.ServeHTTP(w, r.WithContext(genericrequest.WithUser(r.Context(), completeUser(wish))))
	})
}

// impersonation reads the identity that a client asks for.
func impersonation(header http.Header) (*user.DefaultInfo, bool, error) {
	wish := &user.DefaultInfo{
		Name:   header.Get(authenticationv1.ImpersonateUserHeader),
		UID:    header.Get(authenticationv1.ImpersonateUIDHeader),
		Groups: header.Values(authenticationv1.ImpersonateGroupHeader),
	}
	for name, values := range header {
		key, ok := strings.CutPrefix(name, authenticationv1.ImpersonateUserExtraHeaderPrefix)
		if !ok {
			continue
		}
		key, err := url.PathUnescape(strings.ToLower(key))
		if err != nil {
			return nil, false, err
		}
		if wish.Extra == nil {
			wish.Extra = make(map[string][]string)
		}
		wish.Extra[key] = append(wish.Extra[key], values...)
	}
	if wish.Name != "" {
		return wish, true, nil
	}
	if wish.UID != "" || len(wish.Groups) > 0 || len(wish.Extra) > 0 {
		return nil, false, errors.New("requested impersonation of a group, UID or extra field without impersonating a user")
	}
	return nil, false, nil
}

// mayImpersonate asks for each part of the identity whether the user may take
// it on.
func (s *Server) mayImpersonate(ctx context.Context, wish *user.DefaultInfo) error {
	base := authorizer.AttributesRecord{User: userOf(ctx), Verb: "impersonate", APIVersion: "v1", Resource: "users", Name: wish.Name, ResourceRequest: true}
	if namespace, name, err := serviceaccount.SplitUsername(wish.Name); err == nil {
		base.Resource, base.Namespace, base.Name = "serviceaccounts", namespace, name
	}
	parts := []authorizer.AttributesRecord{base}
	part := func(group, resource, subresource, name string) {
		parts = append(parts, authorizer.AttributesRecord{
			User: base.User, Verb: "impersonate", APIGroup: group, APIVersion: "v1",
			Resource: resource, Subresource: subresource, Name: name, ResourceRequest: true,
		})
	}
	for _, group := range wish.Groups {
		part("", "groups", "", group)
	}
	if wish.UID != "" {
		part(authenticationv1.GroupName, "uids", "", wish.UID)
	}
	for key, values := range wish.Extra {
		for _, value := range values {
			part(authenticationv1.GroupName, "userextras", key, value)
		}
	}
	for i := range parts {
		if err := s.allowed(ctx, &parts[i]); err != nil {
			return err
		}
	}
	return nil
}

// completeUser adds the groups that every user of a sort is in.
func completeUser(wish *user.DefaultInfo) user.Info {
	switch namespace, _, err := serviceaccount.SplitUsername(wish.Name); {
	case err == nil && len(wish.Groups) == 0:
		wish.Groups = serviceaccount.MakeGroupNames(namespace)
	case wish.Name == user.Anonymous && len(wish.Groups) == 0:
		wish.Groups = []string{user.AllUnauthenticated}
	}
	if wish.Name != user.Anonymous && !slices.Contains(wish.Groups, user.AllAuthenticated) && !slices.Contains(wish.Groups, user.AllUnauthenticated) {
		wish.Groups = append(wish.Groups[:len(wish.Groups):len(wish.Groups)], user.AllAuthenticated)
	}
	return wish
}
