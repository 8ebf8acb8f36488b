package impersonation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// mode is a constrained way to be another: the requestor needs the verb
// impersonate:MODE on the identity and impersonate-on:MODE:VERB on what is
// requested.
type mode struct {
	name string
	// applies says which identities the mode is for.
	applies func(asked *user.DefaultInfo, requestor user.Info) bool
	// anyNode: the right is one to be whichever node the requestor runs on.
	anyNode bool
}

// constrained are the modes in the order they are tried.
var constrained = []mode{
	{name: "associated-node", applies: isOwnNode, anyNode: true},
	{name: "arbitrary-node", applies: func(asked *user.DefaultInfo, _ user.Info) bool { return isNode(asked) && bare(asked) }},
	{name: "serviceaccount", applies: func(asked *user.DefaultInfo, _ user.Info) bool { return isAccount(asked) && bare(asked) }},
	{name: "user-info", applies: func(asked *user.DefaultInfo, _ user.Info) bool { return !isNode(asked) && !isAccount(asked) }},
}

const nodePrefix = "system:node:"

func isNode(asked *user.DefaultInfo) bool {
	name, ok := strings.CutPrefix(asked.Name, nodePrefix)
	return ok && len(validation.NameIsDNSSubdomain(name, false)) == 0
}

func isAccount(asked *user.DefaultInfo) bool {
	_, _, err := serviceaccount.SplitUsername(asked.Name)
	return err == nil
}

// bare: nothing but a name is asked for.
func bare(asked *user.DefaultInfo) bool {
	return asked.UID == "" && len(asked.Groups) == 0 && len(asked.Extra) == 0
}

// isOwnNode: a service account asks to be the node that its token says its pod
// runs on.
func isOwnNode(asked *user.DefaultInfo, requestor user.Info) bool {
	if _, _, err := serviceaccount.SplitUsername(requestor.GetName()); err != nil || !isNode(asked) || !bare(asked) {
		return false
	}
	nodes := requestor.GetExtra()[serviceaccount.NodeNameKey]
	return len(nodes) == 1 && nodePrefix+nodes[0] == asked.Name
}

func (m mode) verb() string { return "impersonate:" + m.name }

// onRequest is the request itself, under the verb that a mode needs on it.
type onRequest struct {
	authorizer.Attributes
	verb      string
	requestor user.Info
}

// GetVerb implements authorizer.Attributes.
func (o onRequest) GetVerb() string { return o.verb }

// GetUser implements authorizer.Attributes.
func (o onRequest) GetUser() user.Info { return o.requestor }

func (m mode) request(r authorizer.Attributes) authorizer.Attributes {
	return onRequest{r, "impersonate-on:" + m.name + ":" + r.GetVerb(), m.requestor(r.GetUser())}
}

// requestor is who asks, as authorizers see it: for anyNode without what
// differs from node to node.
func (m mode) requestor(who user.Info) user.Info {
	if !m.anyNode {
		return who
	}
	return &user.DefaultInfo{Name: who.GetName(), UID: who.GetUID(), Groups: who.GetGroups(), Extra: map[string][]string{
		"authentication.kubernetes.io/associated-node-keys": slices.Sorted(maps.Keys(who.GetExtra())),
	}}
}

// allowed checks every part of the identity.
func (m mode) allowed(ctx context.Context, asked *user.DefaultInfo, request authorizer.Attributes, authz authorizer.UnconditionalAuthorizer) error {
	if err := plausible(asked); err != nil {
		return apierrors.NewForbidden(schema.GroupResource{Group: authenticationv1.GroupName, Resource: "users"}, asked.Name, err)
	}
	for _, part := range parts(asked, authenticationv1.GroupName) {
		part.User, part.Verb, part.ResourceRequest = m.requestor(request.GetUser()), m.verb(), true
		if part.Resource == "users" && isNode(asked) {
			part.Resource, part.Name = "nodes", strings.TrimPrefix(asked.Name, nodePrefix)
			if m.anyNode {
				part.Name = "*"
			}
		}
		if err := authorize(ctx, authz, part); err != nil {
			return err
		}
	}
	return nil
}

// plausible refuses what no constrained mode gives away.
func plausible(asked *user.DefaultInfo) error {
	switch {
	case slices.Contains(asked.Groups, ""):
		return errors.New("impersonating the empty string group is not allowed")
	case slices.Contains(asked.Groups, user.SystemPrivilegedGroup):
		return errors.New("impersonating the system:masters group is not allowed")
	}
	for key, values := range asked.Extra {
		if err := utilvalidation.IsDomainPrefixedPath(field.NewPath("extra", "key"), key).ToAggregate(); err != nil {
			return fmt.Errorf("impersonating an invalid key in extra is not allowed: %w", err)
		}
		if len(values) == 0 || slices.Contains(values, "") {
			return errors.New("impersonating empty values in extra is not allowed")
		}
	}
	return nil
}

// complete adds the groups that the user would have had when logging in.
func (m mode) complete(asked *user.DefaultInfo) user.Info {
	if !isNode(asked) {
		return complete(asked)
	}
	return &user.DefaultInfo{Name: asked.Name, Groups: []string{user.NodesGroup, user.AllAuthenticated}}
}
