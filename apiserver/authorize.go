package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/yare-io/yare/apiserver/audit"
	"github.com/yare-io/yare/apiserver/request"
)

// Keys of the annotations that say in an audit event what was decided and why.
const (
	decisionKey = "authorization.k8s.io/decision"
	reasonKey   = "authorization.k8s.io/reason"
)

// authorize asks whether the user may do what the request is about.
func (s *Server) authorize(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.allowed(r.Context(), attributesOf(r.Context())); err != nil {
			audit.From(r.Context()).Annotate(decisionKey, "forbid")
			s.fail(w, r, err)
			return
		}
		audit.From(r.Context()).Annotate(decisionKey, "allow")
		next.ServeHTTP(w, r)
	})
}

// allowed returns nil or the Forbidden that a client gets.
func (s *Server) allowed(ctx context.Context, a authorizer.Attributes) error {
	decision, reason, err := s.config.Authorizer.Authorize(ctx, a)
	audit.From(ctx).Annotate(reasonKey, reason)
	if decision == authorizer.DecisionAllow {
		return nil
	}
	if err != nil {
		s.logger.Error("authorization failed", "user", a.GetUser().GetName(), "verb", a.GetVerb(), "resource", a.GetResource(), "path", a.GetPath(), "error", err)
	}
	return forbidden(a, reason)
}

func attributesOf(ctx context.Context) *authorizer.AttributesRecord {
	info := request.From(ctx)
	a := &authorizer.AttributesRecord{
		User:            userOf(ctx),
		Verb:            info.Verb,
		Namespace:       info.Namespace,
		APIGroup:        info.Group,
		APIVersion:      info.Version,
		Resource:        info.Resource,
		Subresource:     info.Subresource,
		Name:            info.Name,
		ResourceRequest: info.IsResource,
		Path:            info.Path,
	}
	if info.FieldSelector != "" {
		if selector, err := fields.ParseSelector(info.FieldSelector); err != nil {
			a.FieldSelectorParsingErr = err
		} else {
			a.FieldSelectorRequirements = selector.Requirements()
		}
	}
	if info.LabelSelector != "" {
		a.LabelSelectorRequirements, a.LabelSelectorParsingErr = labels.ParseToRequirements(info.LabelSelector)
	}
	return a
}

// sanitize keeps names that look like HTML from being shown as such.
var sanitize = strings.NewReplacer(`&`, "&amp;", `<`, "&lt;", `>`, "&gt;")

func forbidden(a authorizer.Attributes, reason string) error {
	text := sanitize.Replace(forbiddenText(a))
	if reason != "" {
		text += ": " + reason
	}
	resource := schema.GroupResource{Group: a.GetAPIGroup(), Resource: a.GetResource()}
	return apierrors.NewForbidden(resource, a.GetName(), errors.New(text))
}

func forbiddenText(a authorizer.Attributes) string {
	name := ""
	if who := a.GetUser(); who != nil {
		name = who.GetName()
	}
	if !a.IsResourceRequest() {
		return fmt.Sprintf("User %q cannot %s path %q", name, a.GetVerb(), a.GetPath())
	}
	resource := a.GetResource()
	if a.GetSubresource() != "" {
		resource += "/" + a.GetSubresource()
	}
	where := "at the cluster scope"
	if a.GetNamespace() != "" {
		where = fmt.Sprintf("in the namespace %q", a.GetNamespace())
	}
	return fmt.Sprintf("User %q cannot %s resource %q in API group %q %s", name, a.GetVerb(), resource, a.GetAPIGroup(), where)
}

func privileged(who user.Info) bool {
	if who == nil {
		return false
	}
	for _, group := range who.GetGroups() {
		if group == user.SystemPrivilegedGroup {
			return true
		}
	}
	return false
}
