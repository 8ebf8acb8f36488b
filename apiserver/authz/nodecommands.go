package authz

import (
	"path"
	"slices"
	"strings"

	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// commands are the paths of kubelets at which something is run rather than
// looked at.
var commands = []string{"exec", "run", "attach", "portforward", "cri"}

// runsNodeCommand reports whether a request to look at a node through its proxy
// would run something there: WebSocket clients begin that with a GET.
func runsNodeCommand(a authorizer.Attributes) bool {
	if a.GetVerb() != "get" || a.GetAPIGroup() != "" || a.GetResource() != "nodes" || a.GetSubresource() != "proxy" {
		return false
	}
	parts := strings.Split(strings.Trim(path.Clean(a.GetPath()), "/"), "/")
	at := slices.Index(parts, "nodes")
	// nodes, the node's name, proxy, and what the kubelet is asked.
	return at >= 0 && len(parts) > at+3 && slices.Contains(commands, strings.ToLower(parts[at+3]))
}

// asCreate is the same request as one that makes something.
type asCreate struct{ authorizer.Attributes }

// GetVerb implements authorizer.Attributes.
func (asCreate) GetVerb() string { return "create" }

// IsReadOnly implements authorizer.Attributes.
func (asCreate) IsReadOnly() bool { return false }
