// Package serviceaccount issues and verifies the tokens of service accounts:
// signed JWTs that say for which account, and bound to which pod, node or
// secret, they were made. It owns the form of the tokens, the keys and their
// OpenID discovery; it refuses to know how objects are stored, and asks a
// Getter for those that a token names.
package serviceaccount

import (
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// algorithms are those a token may be signed with.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.ES384, jose.ES512}

// Ref names an object and the one incarnation of it that is meant.
type Ref struct {
	Name string `json:"name,omitempty"`
	UID  string `json:"uid,omitempty"`
}

// Binding is what a token is for. Pod, Secret and Node are nil unless the
// token is bound to them; Node beside Pod says where that pod runs.
type Binding struct {
	Namespace      string
	ServiceAccount Ref
	Pod            *Ref
	Secret         *Ref
	Node           *Ref
}

// privateClaims are the claims beside the registered ones.
type privateClaims struct {
	Kubernetes kubernetesClaims `json:"kubernetes.io,omitempty"`
}

type kubernetesClaims struct {
	Namespace      string           `json:"namespace,omitempty"`
	Node           *Ref             `json:"node,omitempty"`
	Pod            *Ref             `json:"pod,omitempty"`
	Secret         *Ref             `json:"secret,omitempty"`
	ServiceAccount Ref              `json:"serviceaccount,omitempty"`
	WarnAfter      *jwt.NumericDate `json:"warnafter,omitempty"`
}
