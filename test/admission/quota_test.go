package admission_test

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/yare-io/yare/admission/builtin"
)

// quota makes one whose use is known to be nothing.
func (h *harness) quota(name string, hard corev1.ResourceList, scopes ...corev1.ScopedResourceSelectorRequirement) {
	h.t.Helper()
	q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ResourceQuotaSpec{Hard: hard}}
	if len(scopes) > 0 {
		q.Spec.ScopeSelector = &corev1.ScopeSelector{MatchExpressions: scopes}
	}
	quotas := h.client.CoreV1().ResourceQuotas("default")
	created, err := quotas.Create(h.t.Context(), q, metav1.CreateOptions{})
	if err != nil {
		h.t.Fatal(err)
	}
	created.Status = corev1.ResourceQuotaStatus{Hard: hard, Used: corev1.ResourceList{}}
	for resourceName := range hard {
		created.Status.Used[resourceName] = resource.MustParse("0")
	}
	if _, err := quotas.UpdateStatus(h.t.Context(), created, metav1.UpdateOptions{}); err != nil {
		h.t.Fatal(err)
	}
	h.eventually("the quota is known", func() bool {
		known, err := h.factory.Core().V1().ResourceQuotas().Lister().ResourceQuotas("default").Get(name)
		return err == nil && len(known.Status.Used) == len(hard)
	})
}

func (h *harness) used(quota string, name corev1.ResourceName) string {
	h.t.Helper()
	q, err := h.client.CoreV1().ResourceQuotas("default").Get(h.t.Context(), quota, metav1.GetOptions{})
	if err != nil {
		h.t.Fatal(err)
	}
	amount := q.Status.Used[name]
	return amount.String()
}

func list(pairs ...string) corev1.ResourceList {
	out := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		out[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return out
}

func pod(name string, requests, limits corev1.ResourceList) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{Containers: []corev1.Container{{
		Name: "c", Image: "x", Resources: corev1.ResourceRequirements{Requests: requests, Limits: limits},
	}}}}
}

func (h *harness) create(p *corev1.Pod) error {
	_, err := h.client.CoreV1().Pods("default").Create(h.t.Context(), p, metav1.CreateOptions{})
	return err
}

func TestQuotaIsExactUnderConcurrency(t *testing.T) {
	h := start(t, only("ResourceQuota"))
	h.quota("few", list("configmaps", "10", "count/configmaps", "12"))
	var made atomic.Int32
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			if _, err := h.configMap(fmt.Sprintf("c%d", i), nil); err == nil {
				made.Add(1)
			}
		})
	}
	all.Wait()
	if made.Load() != 10 || h.used("few", "configmaps") != "10" {
		t.Errorf("made %d, used %s", made.Load(), h.used("few", "configmaps"))
	}
	_, err := h.configMap("more", nil)
	refused(t, err, http.StatusForbidden, `configmaps "more" is forbidden: exceeded quota: few, requested: configmaps=1, used: configmaps=10, limited: configmaps=10`)
}

func TestQuotaOfPods(t *testing.T) {
	h := start(t, only("ResourceQuota"))
	h.quota("compute", list("requests.cpu", "1", "limits.memory", "1Gi", "pods", "3", "requests.example.com/gpu", "1"))
	refused(t, h.create(pod("silent", nil, nil)), http.StatusForbidden, "failed quota: compute: must specify limits.memory for: c; requests.cpu for: c")
	if err := h.create(pod("a", list("cpu", "600m"), list("memory", "512Mi"))); err != nil {
		t.Fatal(err)
	}
	refused(t, h.create(pod("b", list("cpu", "500m"), list("memory", "1Mi"))), http.StatusForbidden,
		"exceeded quota: compute, requested: requests.cpu=500m, used: requests.cpu=600m, limited: requests.cpu=1")
	gpus := list("cpu", "1m", "example.com/gpu", "2")
	refused(t, h.create(pod("c", gpus, list("memory", "1Mi", "example.com/gpu", "2"))), http.StatusForbidden, "requests.example.com/gpu=2")
	if got := h.used("compute", "pods"); got != "1" {
		t.Errorf("used %s pods after refusals", got)
	}
}

func TestADryRunUsesNothing(t *testing.T) {
	h := start(t, only("ResourceQuota"))
	h.quota("one", list("configmaps", "1"))
	dry := metav1.CreateOptions{DryRun: []string{"All"}}
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a"}}
	if _, err := h.client.CoreV1().ConfigMaps("default").Create(t.Context(), object, dry); err != nil {
		t.Fatal(err)
	}
	if got := h.used("one", "configmaps"); got != "0" {
		t.Errorf("used %s", got)
	}
	if _, err := h.configMap("a", nil); err != nil {
		t.Fatal(err)
	}
	object.Name = "b"
	_, err := h.client.CoreV1().ConfigMaps("default").Create(t.Context(), object, dry)
	refused(t, err, http.StatusForbidden, "exceeded quota: one")
}

func TestQuotaScopes(t *testing.T) {
	h := start(t, only("ResourceQuota"))
	h.quota("best-effort", list("pods", "1"), corev1.ScopedResourceSelectorRequirement{ScopeName: corev1.ResourceQuotaScopeBestEffort, Operator: corev1.ScopeSelectorOpExists})
	h.quota("important", list("pods", "0"), corev1.ScopedResourceSelectorRequirement{
		ScopeName: corev1.ResourceQuotaScopePriorityClass, Operator: corev1.ScopeSelectorOpIn, Values: []string{"high"},
	})
	if err := h.create(pod("a", nil, nil)); err != nil {
		t.Fatal(err)
	}
	refused(t, h.create(pod("b", nil, nil)), http.StatusForbidden, "exceeded quota: best-effort")
	if err := h.create(pod("c", list("cpu", "1"), nil)); err != nil {
		t.Errorf("not best effort: %v", err)
	}
	high := pod("d", list("cpu", "1"), nil)
	high.Spec.PriorityClassName = "high"
	refused(t, h.create(high), http.StatusForbidden, "exceeded quota: important")
}

func TestQuotaChargesAllOrNothing(t *testing.T) {
	h := start(t, only("ResourceQuota"))
	h.quota("a-roomy", list("configmaps", "5"))
	h.quota("b-full", list("count/configmaps", "0"))
	_, err := h.configMap("a", nil)
	refused(t, err, http.StatusForbidden, "exceeded quota: b-full")
	if got := h.used("a-roomy", "configmaps"); got != "0" {
		t.Errorf("%s stays charged", got)
	}
}

func TestQuotaOfClaimsByClassAndOfServices(t *testing.T) {
	h := start(t, only("ResourceQuota"))
	h.quota("storage", list("gold.storageclass.storage.k8s.io/requests.storage", "10Gi", "services.nodeports", "1"))
	claim := func(name, class, size string) error {
		_, err := h.client.CoreV1().PersistentVolumeClaims("default").Create(t.Context(), &corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: corev1.PersistentVolumeClaimSpec{
				StorageClassName: ptr.To(class), AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
				Resources: corev1.VolumeResourceRequirements{Requests: list("storage", size)},
			},
		}, metav1.CreateOptions{})
		return err
	}
	if err := claim("a", "gold", "8Gi"); err != nil {
		t.Fatal(err)
	}
	if err := claim("b", "silver", "80Gi"); err != nil {
		t.Error(err)
	}
	refused(t, claim("c", "gold", "3Gi"), http.StatusForbidden, "gold.storageclass.storage.k8s.io/requests.storage=3Gi")
}

func TestQuotaOfUnknownUseRefuses(t *testing.T) {
	h := start(t, only("ResourceQuota"))
	_, err := h.client.CoreV1().ResourceQuotas("default").Create(t.Context(), &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "new"}, Spec: corev1.ResourceQuotaSpec{Hard: list("configmaps", "1")},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	h.eventually("the quota is known", func() bool {
		_, err := h.factory.Core().V1().ResourceQuotas().Lister().ResourceQuotas("default").Get("new")
		return err == nil
	})
	_, err = h.configMap("a", nil)
	refused(t, err, http.StatusForbidden, "status unknown for quota: new, resources: configmaps")
}

func TestLimitedResourcesNeedAQuota(t *testing.T) {
	h := start(t, only("ResourceQuota"), func(h *harness) {
		h.builtin.LimitedResources = []builtin.LimitedResource{{Resource: "configmaps", MatchContains: []string{"count/"}}}
	})
	_, err := h.configMap("a", nil)
	refused(t, err, http.StatusForbidden, "insufficient quota to consume: count/configmaps")
	h.quota("some", list("count/configmaps", "1"))
	if _, err := h.configMap("a", nil); err != nil {
		t.Error(err)
	}
}
