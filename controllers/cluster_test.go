package controllers_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"github.com/yare-io/yare/apiserver"
	"github.com/yare-io/yare/apiserver/discovery"
	"github.com/yare-io/yare/apiserver/registry"
	"github.com/yare-io/yare/controllers"
	"github.com/yare-io/yare/storage/memory"
)

var verbs = []string{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}

// row serves a kind by no rules but these: what is below /status is written
// there alone, and the generation counts changes of the spec.
func row(group schema.GroupVersion, kind, plural string, namespaced bool, subresources ...string) *registry.Resource {
	gvk := group.WithKind(kind)
	r := &registry.Resource{
		Kind: gvk, Name: plural, Namespaced: namespaced, Verbs: verbs, StoragePrefix: plural,
		New:     func() runtime.Object { return must(scheme.Scheme.New(gvk)) },
		NewList: func() runtime.Object { return must(scheme.Scheme.New(group.WithKind(kind + "List"))) },
		Strategy: registry.Strategy{
			PrepareForCreate: func(_ context.Context, o runtime.Object) { setGeneration(o, 1) },
			PrepareForUpdate: func(_ context.Context, o, old runtime.Object) {
				if len(subresources) > 0 {
					copyField(o, old, "Status")
				}
				generation := must(meta.Accessor(old)).GetGeneration()
				if differs(o, old, "Spec") || differs(o, old, "Endpoints") {
					generation++
				}
				setGeneration(o, generation)
			},
		},
	}
	for _, name := range subresources {
		r.Subresources = append(r.Subresources, registry.Subresource{
			Name: name, Verbs: []string{"get", "patch", "update"},
			Part: &registry.Strategy{PrepareForUpdate: func(_ context.Context, o, old runtime.Object) {
				if name != "finalize" {
					copyField(o, old, "Spec")
				}
			}},
		})
	}
	return r
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func fieldOf(o runtime.Object, name string) reflect.Value {
	return reflect.ValueOf(o).Elem().FieldByName(name)
}

func copyField(to, from runtime.Object, name string) {
	if f := fieldOf(to, name); f.IsValid() {
		f.Set(fieldOf(from.DeepCopyObject(), name))
	}
}

func differs(a, b runtime.Object, name string) bool {
	f := fieldOf(a, name)
	return f.IsValid() && !equality.Semantic.DeepEqual(f.Interface(), fieldOf(b, name).Interface())
}

func setGeneration(o runtime.Object, generation int64) {
	must(meta.Accessor(o)).SetGeneration(generation)
}

func rows() []*registry.Resource {
	core, apps := corev1.SchemeGroupVersion, appsv1.SchemeGroupVersion
	namespaces := row(core, "Namespace", "namespaces", false, "status", "finalize")
	namespaces.Strategy.PrepareForCreate = registry.Prepare(func(n *corev1.Namespace) {
		n.Spec.Finalizers = []corev1.FinalizerName{corev1.FinalizerKubernetes}
	})
	namespaces.Delete.Finished = func(o runtime.Object) bool { return len(o.(*corev1.Namespace).Spec.Finalizers) == 0 }
	csrs := row(certificatesv1.SchemeGroupVersion, "CertificateSigningRequest", "certificatesigningrequests", false, "status", "approval")
	secrets := row(core, "Secret", "secrets", true)
	secrets.Fields = func(o runtime.Object) fields.Set { return fields.Set{"type": string(o.(*corev1.Secret).Type)} }
	reviews := &registry.Resource{
		Kind: authorizationv1.SchemeGroupVersion.WithKind("SubjectAccessReview"), Name: "subjectaccessreviews", Verbs: []string{"create"},
		New: func() runtime.Object { return &authorizationv1.SubjectAccessReview{} },
		Creator: func(_ context.Context, call registry.Call) (runtime.Object, error) {
			review := call.Object.(*authorizationv1.SubjectAccessReview)
			review.Status.Allowed = review.Spec.User == "system:bootstrap:abcdef" && review.Spec.ResourceAttributes.Subresource == "nodeclient"
			return review, nil
		},
	}
	return []*registry.Resource{
		namespaces, csrs, secrets, reviews,
		row(core, "Pod", "pods", true, "status"), row(core, "Node", "nodes", false, "status"),
		row(core, "Service", "services", true, "status"), row(core, "Endpoints", "endpoints", true),
		row(core, "ConfigMap", "configmaps", true), row(core, "ServiceAccount", "serviceaccounts", true), row(core, "Event", "events", true),
		row(apps, "Deployment", "deployments", true, "status"), row(apps, "ReplicaSet", "replicasets", true, "status"),
		row(discoveryv1.SchemeGroupVersion, "EndpointSlice", "endpointslices", true),
		row(coordinationv1.SchemeGroupVersion, "Lease", "leases", true),
		row(rbacv1.SchemeGroupVersion, "ClusterRole", "clusterroles", false),
	}
}

// cluster is an API server in this process, with whatever managers are started.
type cluster struct {
	*testing.T
	client kubernetes.Interface
	server *apiserver.Server
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	store := memory.New(memory.Config{})
	server, err := apiserver.New(apiserver.Config{
		Store: store, Rows: rows(),
		Authenticator: authenticator.RequestFunc(func(*http.Request) (*authenticator.Response, bool, error) { return nil, false, nil }),
		Authorizer: authorizer.AuthorizerFunc(func(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
			return authorizer.DecisionAllow, "", nil
		}),
		Documents: func(rows func() []*registry.Resource) map[string]http.Handler {
			handler := discovery.New(discovery.Config{Rows: rows})
			return map[string]http.Handler{"/api": handler, "/apis": handler}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("API server: %v", err)
		}
		_ = store.Close()
	})
	c := &cluster{T: t, server: server}
	c.client = must(kubernetes.NewForConfig(must(c.configFor("admin"))))
	c.eventually("the API server is ready", func() error { return server.Ready(ctx) })
	for _, name := range []string{"default", "kube-system", "kube-public", "kube-node-lease"} {
		_, err := c.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func (c *cluster) configFor(identity string) (*rest.Config, error) {
	transport := c.server.Transport(&user.DefaultInfo{Name: identity})
	return &rest.Config{Host: "http://yare", Transport: transport, QPS: -1}, nil
}

// startManager runs a manager until the test ends or stop is called, which
// returns when it has stopped.
func (c *cluster) startManager(config controllers.Config) (stop func()) {
	c.Helper()
	config.Clients = controllers.NewClients(c.configFor)
	config.Log = slog.New(slog.NewTextHandler(c.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	manager, err := controllers.New(config)
	if err != nil {
		c.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- manager.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			c.Errorf("manager: %v", err)
		}
	}
	c.Cleanup(stop)
	return stop
}

// eventually waits until check returns nil.
func (c *cluster) eventually(what string, check func() error) {
	c.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-deadline.C:
			c.Fatalf("waiting until %s: %v", what, err)
		case <-again.C:
		}
	}
}

// kubelet makes every pod run and be ready, until the test ends.
func (c *cluster) kubelet() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	c.Cleanup(func() { cancel(); <-ended })
	go func() {
		defer close(ended)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ctx.Err() == nil; <-tick.C {
			pods, err := c.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
			if err != nil {
				continue
			}
			for i := range pods.Items {
				if pod := &pods.Items[i]; pod.Status.Phase == "" {
					n++
					c.run(ctx, pod, n)
				}
			}
		}
	}()
}

func (c *cluster) run(ctx context.Context, pod *corev1.Pod, n int) {
	pod.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: fmt.Sprintf("10.244.0.%d", n), PodIPs: []corev1.PodIP{{IP: fmt.Sprintf("10.244.0.%d", n)}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}},
	}
	_, _ = c.client.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, pod, metav1.UpdateOptions{})
}
