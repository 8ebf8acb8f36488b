package controlplane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
)

const (
	// secretName is of the secret in kube-system, and of the role that lets
	// holders of a server's token read it.
	secretName = "yare-control-plane"
	// Group is what the bootstrap token of a server is in, and no node's.
	Group = "system:bootstrappers:yare:servers"

	sealedKey    = "sealed"
	authorityKey = "authority"
	memberPrefix = "etcd-member."
	nodePrefix   = "etcd-node."
	seenPrefix   = "etcd-node-seen."
)

// keyFiles are the files below the directory of keys that servers share, named as
// kubeadm names them. All others each server makes for itself.
var keyFiles = []string{
	"ca.crt", "ca.key", "front-proxy-ca.crt", "front-proxy-ca.key", "sa.key", "sa.pub", "etcd/ca.crt", "etcd/ca.key",
}

// Shared is what the servers of one cluster have in common.
type Shared struct {
	// Keys by the name of their file.
	Keys map[string][]byte
	// Settings that must be the same on all servers, by the name of the flag.
	Settings map[string]string
	// NodeToken is what nodes join with.
	NodeToken string
	// Members are the client URLs of the members of etcd by their names, where
	// it runs in the servers. They are not sealed.
	Members map[string]string `json:"-"`
	// Nodes are the nodes that the servers of members run, by the members' names;
	// empty for one that runs none.
	Nodes map[string]string `json:"-"`
}

// ReadKeys fills in the keys from a directory.
func (s *Shared) ReadKeys(dir string) error {
	s.Keys = map[string][]byte{}
	for _, name := range keyFiles {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, os.ErrNotExist) && strings.HasPrefix(name, "etcd/") {
			continue // the objects are elsewhere
		}
		if err != nil {
			return err
		}
		s.Keys[name] = data
	}
	return nil
}

// WriteKeys writes the keys into a directory that has none.
func (s *Shared) WriteKeys(dir string) error {
	for _, name := range slices.Sorted(maps.Keys(s.Keys)) {
		if !slices.Contains(keyFiles, name) {
			return fmt.Errorf("the servers share a file %q, which is unknown here", name)
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, s.Keys[name], 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Differs says in what settings a server that wants to join is unlike the
// others, or nil.
func (s *Shared) Differs(settings map[string]string) error {
	var all []error
	for _, name := range slices.Sorted(maps.Keys(s.Settings)) {
		if own := settings[name]; own != s.Settings[name] {
			all = append(all, fmt.Errorf("%s is %q here and %q on the other servers", name, own, s.Settings[name]))
		}
	}
	return errors.Join(all...)
}

// Publish makes a token good for joining, and what the servers share known to
// who has it. Members are added to those that are known.
func Publish(ctx context.Context, client kubernetes.Interface, token Token, shared Shared) error {
	data, err := json.Marshal(shared)
	if err != nil {
		return err
	}
	if err := ensureReader(ctx, client); err != nil {
		return fmt.Errorf("let servers join: %w", err)
	}
	secrets := client.CoreV1().Secrets(metav1.NamespaceSystem)
	err = retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		secret, err := secrets.Get(ctx, secretName, metav1.GetOptions{})
		missing := apierrors.IsNotFound(err)
		if missing {
			secret, err = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: secretName}}, nil
		}
		if err != nil {
			return err
		}
		if err := update(secret, token, data, shared); err != nil {
			return err
		}
		if missing {
			_, err = secrets.Create(ctx, secret, metav1.CreateOptions{})
		} else {
			_, err = secrets.Update(ctx, secret, metav1.UpdateOptions{})
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("let servers join: %w", err)
	}
	return nil
}

// errOthers means that the store has another cluster in it.
var errOthers = errors.New("the datastore is that of a cluster with another authority: join it with --server and its token")

func update(secret *corev1.Secret, token Token, data []byte, shared Shared) error {
	if known := string(secret.Data[authorityKey]); known != "" && known != token.AuthorityHash() {
		return errOthers
	}
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	secret.Data[authorityKey] = []byte(token.AuthorityHash())
	if old, err := token.open(secret.Data[sealedKey]); err != nil || string(old) != string(data) {
		sealed, err := token.seal(data)
		if err != nil {
			return err
		}
		secret.Data[sealedKey] = sealed
	}
	for name, address := range shared.Members {
		secret.Data[memberPrefix+name] = []byte(address)
	}
	for name, node := range shared.Nodes {
		if string(secret.Data[nodePrefix+name]) != node {
			// What was seen was another one.
			delete(secret.Data, seenPrefix+name)
		}
		secret.Data[nodePrefix+name] = []byte(node)
	}
	return nil
}

// ensureReader lets holders of a server's token read the secret, and nothing
// else.
func ensureReader(ctx context.Context, client kubernetes.Interface) error {
	meta := metav1.ObjectMeta{Name: secretName, Namespace: metav1.NamespaceSystem}
	_, err := client.RbacV1().Roles(meta.Namespace).Create(ctx, &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{secretName}, Verbs: []string{"get"},
	}}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	_, err = client.RbacV1().RoleBindings(meta.Namespace).Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: secretName},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: Group}},
	}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// Fetch reads what the servers share, as one who has the token.
func Fetch(ctx context.Context, client kubernetes.Interface, token Token) (*Shared, error) {
	secret, err := client.CoreV1().Secrets(metav1.NamespaceSystem).Get(ctx, secretName, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	data, err := token.open(secret.Data[sealedKey])
	if err != nil {
		return nil, err
	}
	shared := &Shared{Members: map[string]string{}}
	if err := json.Unmarshal(data, shared); err != nil {
		return nil, err
	}
	for key, value := range secret.Data {
		if name, ok := strings.CutPrefix(key, memberPrefix); ok {
			shared.Members[name] = string(value)
		}
	}
	return shared, nil
}
