// Package node decides what nodes may do: all that the role system:node says,
// but of pods, and of secrets, volumes and accounts that pods use, only what
// concerns pods bound to the node that asks. It owns the graph that tells, and
// refuses to know how nodes authenticate.
package node

import (
	"slices"
	"strings"

	"k8s.io/apiserver/pkg/authentication/user"
)

const namePrefix = "system:node:"

// Identity returns the name of the node that a user is, and whether it is one.
// The name of a node that does not say which it is, is empty.
func Identity(info user.Info) (name string, isNode bool) {
	if info == nil {
		return "", false
	}
	name, ok := strings.CutPrefix(info.GetName(), namePrefix)
	if !ok || !slices.Contains(info.GetGroups(), user.NodesGroup) {
		return "", false
	}
	return name, true
}
