package controllers_test

import (
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/yare-io/yare/controllers"
)

func webDeployment(replicas int32) *appsv1.Deployment {
	one, none, deadline, history := intstr.FromInt32(1), intstr.FromInt32(0), int32(600), int32(10)
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "demo", Image: "demo:v1"}}},
			},
			Strategy: appsv1.DeploymentStrategy{
				Type: appsv1.RollingUpdateDeploymentStrategyType, RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &one, MaxUnavailable: &none},
			},
			ProgressDeadlineSeconds: &deadline, RevisionHistoryLimit: &history,
		},
	}
}

func webService() *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": "web"}, ClusterIP: "10.96.0.10", IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
			Ports: []corev1.ServicePort{{Port: 80, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromInt32(8080)}},
		},
	}
}

// wantWeb waits until the deployment is complete at a size and an image, and
// the service's endpoints show just these pods.
func (c *cluster) wantWeb(replicas int32, image string) {
	c.Helper()
	c.eventually(fmt.Sprintf("web has %d pods of %s", replicas, image), func() error {
		d, err := c.client.AppsV1().Deployments("default").Get(c.Context(), "web", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if s := d.Status; s.Replicas != replicas || s.UpdatedReplicas != replicas || s.AvailableReplicas != replicas || s.ObservedGeneration != d.Generation {
			return fmt.Errorf("status is %+v", s)
		}
		pods, err := c.client.CoreV1().Pods("default").List(c.Context(), metav1.ListOptions{LabelSelector: "app=web"})
		if err != nil {
			return err
		}
		addresses := map[string]bool{}
		for _, pod := range pods.Items {
			if pod.Spec.Containers[0].Image != image {
				return fmt.Errorf("pod %s runs %s", pod.Name, pod.Spec.Containers[0].Image)
			}
			addresses[pod.Status.PodIP] = true
		}
		return c.serves(addresses)
	})
}

func (c *cluster) serves(addresses map[string]bool) error {
	slices, err := c.client.DiscoveryV1().EndpointSlices("default").List(c.Context(), metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=web"})
	if err != nil {
		return err
	}
	ready := 0
	for _, slice := range slices.Items {
		for _, endpoint := range slice.Endpoints {
			if !addresses[endpoint.Addresses[0]] || !*endpoint.Conditions.Ready || *slice.Ports[0].Port != 8080 {
				return fmt.Errorf("slice %s has %v", slice.Name, endpoint)
			}
			ready++
		}
	}
	old, err := c.client.CoreV1().Endpoints("default").Get(c.Context(), "web", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if len(old.Subsets) != 1 || len(old.Subsets[0].Addresses) != len(addresses) || ready != len(addresses) {
		return fmt.Errorf("%d pods, %d in slices, Endpoints %v", len(addresses), ready, old.Subsets)
	}
	return nil
}

func (c *cluster) editWeb(change func(*appsv1.Deployment)) {
	c.Helper()
	c.eventually("web can be edited", func() error {
		d, err := c.client.AppsV1().Deployments("default").Get(c.Context(), "web", metav1.GetOptions{})
		if err != nil {
			return err
		}
		change(d)
		_, err = c.client.AppsV1().Deployments("default").Update(c.Context(), d, metav1.UpdateOptions{})
		return err
	})
}

func TestDeploymentFromFirstPodToLast(t *testing.T) {
	c := newCluster(t)
	c.startManager(controllers.Config{})
	c.kubelet()
	if _, err := c.client.CoreV1().Services("default").Create(t.Context(), webService(), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.client.AppsV1().Deployments("default").Create(t.Context(), webDeployment(3), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.wantWeb(3, "demo:v1")
	c.wantEvent("ScalingReplicaSet")
	c.wantEvent("SuccessfulCreate")

	pods, err := c.client.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.client.CoreV1().Pods("default").Delete(t.Context(), pods.Items[0].Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.wantWeb(3, "demo:v1")
	for _, size := range []int32{5, 2} {
		c.editWeb(func(d *appsv1.Deployment) { d.Spec.Replicas = &size })
		c.wantWeb(size, "demo:v1")
	}
	c.editWeb(func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = "demo:v2" })
	c.wantWeb(2, "demo:v2")
	c.editWeb(func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = "demo:v1" })
	c.wantWeb(2, "demo:v1")
	d, err := c.client.AppsV1().Deployments("default").Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil || d.Annotations["deployment.kubernetes.io/revision"] != "3" {
		t.Errorf("after the rollback: %v, %v", d.Annotations, err)
	}

	if err := c.client.CoreV1().Services("default").Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.client.AppsV1().Deployments("default").Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.wantNothingLeft()
}

func (c *cluster) wantEvent(reason string) {
	c.Helper()
	c.eventually("there is an event "+reason, func() error {
		events, err := c.client.CoreV1().Events("default").List(c.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, event := range events.Items {
			if event.Reason == reason {
				return nil
			}
		}
		return fmt.Errorf("there are %d others", len(events.Items))
	})
}

func (c *cluster) wantNothingLeft() {
	c.Helper()
	c.eventually("nothing is left", func() error {
		pods, err := c.client.CoreV1().Pods("default").List(c.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		sets, err := c.client.AppsV1().ReplicaSets("default").List(c.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		slices, err := c.client.DiscoveryV1().EndpointSlices("default").List(c.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		endpoints, err := c.client.CoreV1().Endpoints("default").List(c.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		if n := len(pods.Items) + len(sets.Items) + len(slices.Items) + len(endpoints.Items); n > 0 {
			return fmt.Errorf("%d pods, %d sets, %d slices, %d endpoints", len(pods.Items), len(sets.Items), len(slices.Items), len(endpoints.Items))
		}
		return nil
	})
}

func TestNamespaceIsFurnishedAndEmptied(t *testing.T) {
	c := newCluster(t)
	c.startManager(controllers.Config{RootCA: []byte("a bundle")})
	ctx := t.Context()
	if _, err := c.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually("the default account is there", func() error {
		_, err := c.client.CoreV1().ServiceAccounts("team").Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	c.eventually("the root CA is there", func() error {
		published, err := c.client.CoreV1().ConfigMaps("team").Get(ctx, "kube-root-ca.crt", metav1.GetOptions{})
		if err == nil && published.Data["ca.crt"] != "a bundle" {
			return fmt.Errorf("data is %v", published.Data)
		}
		return err
	})
	for _, name := range []string{"free", "held"} {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if name == "held" {
			secret.Finalizers = []string{"example.com/hold"}
		}
		if _, err := c.client.CoreV1().Secrets("team").Create(ctx, secret, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.client.CoreV1().Namespaces().Delete(ctx, "team", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually("the namespace says what holds it", func() error {
		namespace, err := c.client.CoreV1().Namespaces().Get(ctx, "team", metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, condition := range namespace.Status.Conditions {
			if condition.Type == corev1.NamespaceFinalizersRemaining && condition.Message == "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances" {
				return nil
			}
		}
		return fmt.Errorf("conditions are %v", namespace.Status.Conditions)
	})
	c.eventually("the hold is let go", func() error {
		held, err := c.client.CoreV1().Secrets("team").Get(ctx, "held", metav1.GetOptions{})
		if err != nil {
			return err
		}
		held.Finalizers = nil
		_, err = c.client.CoreV1().Secrets("team").Update(ctx, held, metav1.UpdateOptions{})
		return err
	})
	c.eventually("the namespace is gone", func() error {
		namespace, err := c.client.CoreV1().Namespaces().Get(ctx, "team", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("still there: %v, %w", namespace.Status, err)
	})
}
