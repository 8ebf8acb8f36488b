package controllers_test

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/yare-io/yare/controllers"
)

func (c *cluster) configMap(name string, owners ...*corev1.ConfigMap) *corev1.ConfigMap {
	c.Helper()
	block := true
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, owner := range owners {
		object.OwnerReferences = append(object.OwnerReferences, metav1.OwnerReference{
			APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID, BlockOwnerDeletion: &block,
		})
	}
	created, err := c.client.CoreV1().ConfigMaps("default").Create(c.Context(), object, metav1.CreateOptions{})
	if err != nil {
		c.Fatal(err)
	}
	return created
}

func (c *cluster) wantGone(name string) {
	c.Helper()
	c.eventually(name+" is gone", func() error {
		_, err := c.client.CoreV1().ConfigMaps("default").Get(c.Context(), name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New("still there"), err)
	})
}

func (c *cluster) deleteConfigMap(name string, policy metav1.DeletionPropagation) {
	c.Helper()
	err := c.client.CoreV1().ConfigMaps("default").Delete(c.Context(), name, metav1.DeleteOptions{PropagationPolicy: &policy})
	if err != nil {
		c.Fatal(err)
	}
}

func TestDependentsFollowTheirOwners(t *testing.T) {
	c := newCluster(t)
	c.startManager(controllers.Config{Controllers: []string{"garbagecollector"}})
	t.Run("in the background, whole trees", func(*testing.T) {
		root := c.configMap("background-root")
		c.configMap("background-leaf", c.configMap("background-middle", root))
		c.deleteConfigMap(root.Name, metav1.DeletePropagationBackground)
		c.wantGone("background-middle")
		c.wantGone("background-leaf")
	})
	t.Run("in the foreground, before the owner", func(t *testing.T) {
		root := c.configMap("foreground-root")
		child := c.configMap("foreground-child", root)
		child.Finalizers = []string{"example.com/hold"}
		if _, err := c.client.CoreV1().ConfigMaps("default").Update(t.Context(), child, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		c.deleteConfigMap(root.Name, metav1.DeletePropagationForeground)
		c.eventually("the child is being deleted", func() error {
			held, err := c.client.CoreV1().ConfigMaps("default").Get(t.Context(), child.Name, metav1.GetOptions{})
			if err == nil && held.DeletionTimestamp == nil {
				return errors.New("not yet")
			}
			child = held
			return err
		})
		if _, err := c.client.CoreV1().ConfigMaps("default").Get(t.Context(), root.Name, metav1.GetOptions{}); err != nil {
			t.Fatalf("the owner did not wait: %v", err)
		}
		child.Finalizers = nil
		if _, err := c.client.CoreV1().ConfigMaps("default").Update(t.Context(), child, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		c.wantGone(child.Name)
		c.wantGone(root.Name)
	})
	t.Run("not when orphaned, nor with another owner", func(t *testing.T) {
		root, other := c.configMap("orphan-root"), c.configMap("orphan-other")
		c.configMap("orphan-child", root)
		c.configMap("orphan-shared", root, other)
		c.deleteConfigMap(root.Name, metav1.DeletePropagationOrphan)
		c.wantGone(root.Name)
		child, err := c.client.CoreV1().ConfigMaps("default").Get(t.Context(), "orphan-child", metav1.GetOptions{})
		if err != nil || len(child.OwnerReferences) != 0 {
			t.Errorf("the child: %v, %v", child.OwnerReferences, err)
		}
		shared, err := c.client.CoreV1().ConfigMaps("default").Get(t.Context(), "orphan-shared", metav1.GetOptions{})
		if err != nil || len(shared.OwnerReferences) != 1 || shared.OwnerReferences[0].Name != other.Name {
			t.Errorf("the shared child: %v, %v", shared.OwnerReferences, err)
		}
	})
	t.Run("at once when the owner never was", func(*testing.T) {
		c.configMap("absent-child", &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "never", UID: "no-such-uid"}})
		c.wantGone("absent-child")
	})
}
