package node

import (
	"context"
	"errors"
	"fmt"
	"slices"

	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/yare-io/yare/apiserver/authz/rbac"
)

// Authorizer decides for nodes and has no opinion on anybody else. It is safe
// for concurrent use.
type Authorizer struct {
	rules *rbac.Rules
	graph *graph
	// narrow holds, for resources of which a node may only have a part, what
	// that part is: "" or why not.
	narrow map[schema.GroupResource]func(node string, a authorizer.Attributes) string
}

var (
	_ authorizer.Authorizer   = (*Authorizer)(nil)
	_ authorizer.RuleResolver = (*Authorizer)(nil)
)

// New returns an authorizer that never allows more than the rules, which are
// those of system:node. Its graph is empty until Follow fills it.
func New(rules []rbacv1.PolicyRule) *Authorizer {
	a := &Authorizer{rules: rbac.CompileRules(rules), graph: newGraph()}
	a.narrow = map[schema.GroupResource]func(string, authorizer.Attributes) string{
		corev1.Resource("secrets"):                        a.read(Secret),
		corev1.Resource("configmaps"):                     a.read(ConfigMap),
		corev1.Resource("persistentvolumeclaims"):         a.claim,
		corev1.Resource("persistentvolumes"):              a.volume,
		corev1.Resource("serviceaccounts"):                a.serviceAccount,
		corev1.Resource("nodes"):                          self,
		corev1.Resource("pods"):                           a.pod,
		storagev1.Resource("volumeattachments"):           a.attachment,
		storagev1.Resource("csinodes"):                    csiNode,
		coordinationv1.Resource("leases"):                 lease,
		resourcev1.Resource("resourceclaims"):             a.resourceClaim,
		resourcev1.Resource("resourceslices"):             onlySelected,
		certificatesv1.Resource("podcertificaterequests"): certificateRequest,
	}
	return a
}

// Authorize implements authorizer.Authorizer. It allows or has no opinion.
func (a *Authorizer) Authorize(_ context.Context, attributes authorizer.Attributes) (authorizer.Decision, string, error) {
	node, isNode := Identity(attributes.GetUser())
	if !isNode {
		return authorizer.DecisionNoOpinion, "", nil
	}
	if node == "" {
		return authorizer.DecisionNoOpinion, fmt.Sprintf("unknown node for user %q", attributes.GetUser().GetName()), nil
	}
	if attributes.IsResourceRequest() {
		resource := schema.GroupResource{Group: attributes.GetAPIGroup(), Resource: attributes.GetResource()}
		if narrow, ok := a.narrow[resource]; ok {
			if why := narrow(node, attributes); why != "" {
				return authorizer.DecisionNoOpinion, why, nil
			}
		}
	}
	if a.rules.Allow(attributes) {
		return authorizer.DecisionAllow, "", nil
	}
	return authorizer.DecisionNoOpinion, "", nil
}

// ConditionsAwareAuthorize implements authorizer.Authorizer.
func (a *Authorizer) ConditionsAwareAuthorize(ctx context.Context, attributes authorizer.Attributes) authorizer.ConditionsAwareDecision {
	return authorizer.ConditionsAwareDecisionFromParts(a.Authorize(ctx, attributes))
}

// EvaluateConditions implements authorizer.Authorizer; there are no conditions.
func (a *Authorizer) EvaluateConditions(context.Context, authorizer.ConditionsAwareDecision, authorizer.ConditionsData) (authorizer.Decision, string, error) {
	return authorizer.DecisionDeny, "", authorizer.ErrorConditionEvaluationNotSupported
}

// RulesFor implements authorizer.RuleResolver. What a node may do hangs on its
// pods and cannot be listed; others get nothing here, and that is all.
func (a *Authorizer) RulesFor(_ context.Context, info user.Info, _ string) ([]authorizer.ResourceRuleInfo, []authorizer.NonResourceRuleInfo, bool, error) {
	if _, isNode := Identity(info); isNode {
		return nil, nil, true, errors.New("node authorizer does not support user rule resolution")
	}
	return nil, nil, false, nil
}

func unrelated(node string) string {
	return fmt.Sprintf("no relationship found between node '%s' and this object", node)
}

// read is for objects that pods refer to, which may be read one by one.
func (a *Authorizer) read(kind Kind) func(string, authorizer.Attributes) string {
	return func(node string, r authorizer.Attributes) string {
		switch {
		case !slices.Contains([]string{"get", "list", "watch"}, r.GetVerb()):
			return "can only read resources of this type"
		case r.GetSubresource() != "":
			return "cannot read subresource"
		case r.GetNamespace() == "":
			return "can only read namespaced object of this type"
		}
		return a.reach(node, kind, r)
	}
}

func (a *Authorizer) reach(node string, kind Kind, r authorizer.Attributes) string {
	name := objectName(r)
	if name == "" {
		return "No Object name found"
	}
	if !a.graph.uses(node, vertex{kind, r.GetNamespace(), name}) {
		return unrelated(node)
	}
	return ""
}

func getOnly(r authorizer.Attributes) string {
	switch {
	case r.GetVerb() != "get":
		return "can only get individual resources of this type"
	case r.GetSubresource() != "":
		return "cannot get subresource"
	}
	return ""
}

func (a *Authorizer) claim(node string, r authorizer.Attributes) string {
	if r.GetSubresource() == "status" {
		if !slices.Contains([]string{"get", "update", "patch"}, r.GetVerb()) {
			return "can only get/update/patch this type"
		}
	} else if why := getOnly(r); why != "" {
		return why
	}
	return a.reach(node, PersistentVolumeClaim, r)
}

func (a *Authorizer) volume(node string, r authorizer.Attributes) string {
	if why := getOnly(r); why != "" {
		return why
	}
	if !a.graph.usesVolume(node, r.GetName()) {
		return unrelated(node)
	}
	return ""
}

func (a *Authorizer) attachment(node string, r authorizer.Attributes) string {
	if why := getOnly(r); why != "" {
		return why
	}
	if !a.graph.attachedTo(node, r.GetName()) {
		return unrelated(node)
	}
	return ""
}

func (a *Authorizer) resourceClaim(node string, r authorizer.Attributes) string {
	if why := getOnly(r); why != "" {
		return why
	}
	return a.reach(node, ResourceClaim, r)
}

func (a *Authorizer) serviceAccount(node string, r authorizer.Attributes) string {
	switch {
	case r.GetVerb() == "get" && r.GetSubresource() == "":
	case r.GetVerb() != "create" || r.GetName() == "":
		return "can only create tokens for individual service accounts"
	case r.GetSubresource() != "token":
		return "can only create token subresource of service account"
	}
	return a.reach(node, ServiceAccount, r)
}

// pod: which pods a node may create, delete and update the status of is for
// admission to say, which sees the pod.
func (a *Authorizer) pod(node string, r authorizer.Attributes) string {
	if r.GetSubresource() != "" {
		return ""
	}
	switch r.GetVerb() {
	case "get":
		if !a.graph.runsPod(node, r.GetNamespace(), r.GetName()) {
			return unrelated(node)
		}
	case "list", "watch":
		if name := objectName(r); name != "" && a.graph.runsPod(node, r.GetNamespace(), name) {
			return ""
		}
		if !selects(r, "spec.nodeName", node) {
			return "can only list/watch pods with spec.nodeName field selector"
		}
	}
	return ""
}

// self: which changes a node may make to itself is for admission to say.
func self(node string, r authorizer.Attributes) string {
	if !slices.Contains([]string{"get", "list", "watch"}, r.GetVerb()) || objectName(r) == node {
		return ""
	}
	return fmt.Sprintf("node '%s' cannot read all nodes, only its own Node object", node)
}

func lease(node string, r authorizer.Attributes) string {
	switch {
	case !slices.Contains([]string{"get", "create", "update", "patch", "delete"}, r.GetVerb()):
		return "can only get, create, update, patch, or delete a node lease"
	case r.GetNamespace() != corev1.NamespaceNodeLease:
		return fmt.Sprintf("can only access leases in the %q system namespace", corev1.NamespaceNodeLease)
	case r.GetVerb() != "create" && r.GetName() != node:
		return "can only access node lease with the same name as the requesting node"
	}
	return ""
}

func csiNode(node string, r authorizer.Attributes) string {
	switch {
	case !slices.Contains([]string{"get", "create", "update", "patch", "delete"}, r.GetVerb()):
		return "can only get, create, update, patch, or delete a CSINode"
	case r.GetSubresource() != "" && r.GetSubresource() != "status":
		return fmt.Sprintf("cannot authorize CSINode subresource %q", r.GetSubresource())
	case r.GetVerb() != "create" && r.GetName() != node:
		return "can only access CSINode with the same name as the requesting node"
	}
	return ""
}

// onlySelected is for objects that say in spec.nodeName whose they are.
func onlySelected(node string, r authorizer.Attributes) string {
	if !selects(r, "spec.nodeName", node) {
		return "can only access objects of this type with a spec.nodeName field selector"
	}
	return ""
}

func certificateRequest(node string, r authorizer.Attributes) string {
	if r.GetVerb() == "create" {
		return "" // admission sees for which node
	}
	return onlySelected(node, r)
}

// objectName is the one object a request is for, also when it is a list or
// watch that selects it.
func objectName(r authorizer.Attributes) string {
	if r.GetName() != "" {
		return r.GetName()
	}
	requirements, err := r.GetFieldSelector()
	if err != nil {
		return ""
	}
	for _, q := range requirements {
		if q.Field == "metadata.name" && (q.Operator == selection.Equals || q.Operator == selection.DoubleEquals) {
			return q.Value
		}
	}
	return ""
}

func selects(r authorizer.Attributes, field, value string) bool {
	requirements, err := r.GetFieldSelector()
	if err != nil {
		return false
	}
	for _, q := range requirements {
		if q.Field == field && q.Value == value && (q.Operator == selection.Equals || q.Operator == selection.DoubleEquals) {
			return true
		}
	}
	return false
}
