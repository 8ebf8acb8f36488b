package controllers_test

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/yare-io/yare/controllers"
)

func TestQuotasAreCountedAndGivenBack(t *testing.T) {
	c := newCluster(t)
	c.startManager(controllers.Config{Controllers: []string{"resourcequota-controller"}})
	hard := corev1.ResourceList{"count/secrets": resource.MustParse("5"), "services": resource.MustParse("5")}
	if _, err := c.client.CoreV1().Secrets("default").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "before"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err := c.client.CoreV1().ResourceQuotas("default").Create(t.Context(), &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "few"}, Spec: corev1.ResourceQuotaSpec{Hard: hard},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	used := func(want string) {
		t.Helper()
		c.eventually("the quota says "+want, func() error {
			q, err := c.client.CoreV1().ResourceQuotas("default").Get(t.Context(), "few", metav1.GetOptions{})
			if err != nil {
				return err
			}
			secrets, services := q.Status.Used["count/secrets"], q.Status.Used["services"]
			if got := fmt.Sprintf("%s secrets, %s services", secrets.String(), services.String()); got != want || len(q.Status.Hard) != 2 {
				return fmt.Errorf("it says %s", got)
			}
			return nil
		})
	}
	used("1 secrets, 0 services")
	if err := c.client.CoreV1().Secrets("default").Delete(t.Context(), "before", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	used("0 secrets, 0 services")
	// A request was charged, and its object never stored.
	quotas := c.client.CoreV1().ResourceQuotas("default")
	q, err := quotas.Get(t.Context(), "few", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	q.Status.Used["services"] = resource.MustParse("2")
	if _, err := quotas.UpdateStatus(t.Context(), q, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	used("0 secrets, 0 services")
}
