package controlplane

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"

	"github.com/yare-io/yare/controllers/etcdmembers"
	"github.com/yare-io/yare/storage/etcd"
)

// Members is the etcd in the servers. Of their nodes it knows what the servers
// published, and keeps what it is told in the same secret.
type Members struct {
	Client kubernetes.Interface
	// Own is the name of this server's member.
	Own string
	// Etcd reaches this server's member, TLS the others.
	Etcd etcd.Config
	TLS  etcd.TLS
}

var _ etcdmembers.Members = (*Members)(nil)

// List implements etcdmembers.Members.
func (m *Members) List(ctx context.Context) ([]etcdmembers.Member, error) {
	members, err := etcd.Members(ctx, m.Etcd, m.TLS)
	if err != nil {
		return nil, err
	}
	secret, err := m.Client.CoreV1().Secrets(metav1.NamespaceSystem).Get(ctx, secretName, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("what servers run which nodes: %w", err)
	}
	all := make([]etcdmembers.Member, len(members))
	for i, one := range members {
		all[i] = etcdmembers.Member{
			Name: one.Name, Own: one.Name == m.Own, Voter: !one.Learner, Err: one.Err,
			Node: string(secret.Data[nodePrefix+one.Name]), Seen: types.UID(secret.Data[seenPrefix+one.Name]),
		}
	}
	return all, nil
}

// See implements etcdmembers.Members.
func (m *Members) See(ctx context.Context, name string, node types.UID) error {
	return m.edit(ctx, func(secret *corev1.Secret) { secret.Data[seenPrefix+name] = []byte(node) })
}

// Remove implements etcdmembers.Members. Servers that join ask the member no
// more.
func (m *Members) Remove(ctx context.Context, name string) error {
	if err := etcd.RemoveMember(ctx, m.Etcd, name); err != nil {
		return err
	}
	return m.edit(ctx, func(secret *corev1.Secret) {
		for _, prefix := range []string{memberPrefix, nodePrefix, seenPrefix} {
			delete(secret.Data, prefix+name)
		}
	})
}

func (m *Members) edit(ctx context.Context, change func(*corev1.Secret)) error {
	secrets := m.Client.CoreV1().Secrets(metav1.NamespaceSystem)
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		secret, err := secrets.Get(ctx, secretName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		change(secret)
		_, err = secrets.Update(ctx, secret, metav1.UpdateOptions{})
		return err
	})
}
