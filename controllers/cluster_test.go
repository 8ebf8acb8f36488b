package controllers_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/yare-io/yare/admission/builtin"
	"github.com/yare-io/yare/apiserver"
	"github.com/yare-io/yare/apiserver/allocation"
	"github.com/yare-io/yare/apiserver/api"
	"github.com/yare-io/yare/apiserver/authz"
	"github.com/yare-io/yare/apiserver/authz/rbac"
	rbacbootstrap "github.com/yare-io/yare/apiserver/authz/rbac/bootstrap"
	"github.com/yare-io/yare/apiserver/bootstrap"
	"github.com/yare-io/yare/apiserver/discovery"
	"github.com/yare-io/yare/apiserver/registry"
	"github.com/yare-io/yare/apiserver/request"
	"github.com/yare-io/yare/controllers"
	"github.com/yare-io/yare/openapi"
	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/memory"
)

const serviceNetwork = "10.96.0.0/16"

// cluster is an API server in this process, with the built-in resources,
// Kubernetes' roles and admission: what a controller may not do fails here.
type cluster struct {
	*testing.T
	client kubernetes.Interface
	server *apiserver.Server
	store  storage.Store
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{T: t}
	c.client = c.as("admin", user.SystemPrivilegedGroup)
	store := memory.New(memory.Config{})
	c.store = store
	services, err := allocation.New(allocation.Config{Store: store, Networks: []netip.Prefix{netip.MustParsePrefix(serviceNetwork)}})
	if err != nil {
		t.Fatal(err)
	}
	factory := informers.NewSharedInformerFactory(c.client, 0)
	roles := rbac.New()
	rolesSynced, err := roles.Follow(factory)
	if err != nil {
		t.Fatal(err)
	}
	gate, err := authz.New(authz.Config{Modes: []authz.Mode{authz.RBAC}, Authorizers: map[authz.Mode]authorizer.Authorizer{authz.RBAC: roles}})
	if err != nil {
		t.Fatal(err)
	}
	admission, err := builtin.Plugins(builtin.Deps{Client: c.client, Informers: factory, Authorizer: gate}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	rows := api.Resources(api.Deps{Services: services, Authorizer: gate, Rules: gate})
	c.server, err = apiserver.New(apiserver.Config{
		Store: store, Rows: rows, Authorizer: gate, Admission: admission, Connect: unconnected(rows),
		Authenticator: authenticator.RequestFunc(func(*http.Request) (*authenticator.Response, bool, error) { return nil, false, nil }),
		Documents: func(rows func() []*registry.Resource) map[string]http.Handler {
			described, schemas := discovery.New(discovery.Config{Rows: rows}), openapi.New(openapi.Config{Rows: rows})
			return map[string]http.Handler{"/api": described, "/apis": described, "/openapi/v3": schemas}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("API server: %v", err)
		}
		factory.Shutdown()
		_ = store.Close()
	})
	c.eventually("the API server is ready", func() error { return c.server.Ready(ctx) })
	factory.StartWithContext(ctx)
	factory.WaitForCacheSyncWithContext(ctx)
	c.furnish()
	c.eventually("the roles are known", func() error {
		if !rolesSynced() {
			return errors.New("not synced")
		}
		_, err := c.as("system:"+controllers.ManagerIdentity).CoreV1().Pods("").List(ctx, metav1.ListOptions{})
		return err
	})
	return c
}

// furnish makes what every cluster has, and lets the certificate controller
// approve serving certificates, which Kubernetes' own role does not.
func (c *cluster) furnish() {
	c.Helper()
	policy, err := rbacbootstrap.Load(rbacbootstrap.DefaultGates)
	if err != nil {
		c.Fatal(err)
	}
	if err := errors.Join(policy.Reconcile(c.Context(), c.client), bootstrap.Ensure(c.Context(), c.client, bootstrap.Options{ServiceCIDRs: []string{serviceNetwork}})); err != nil {
		c.Fatal(err)
	}
	c.bind("approve-serving", rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: "kube-system", Name: "certificate-controller"},
		rbacv1.PolicyRule{APIGroups: []string{"certificates.k8s.io"}, Resources: []string{"signers"}, ResourceNames: []string{"kubernetes.io/kubelet-serving"}, Verbs: []string{"approve"}})
	c.bind("request", rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: user.AllAuthenticated},
		rbacv1.PolicyRule{APIGroups: []string{"certificates.k8s.io"}, Resources: []string{"certificatesigningrequests"}, Verbs: []string{"create"}})
}

func (c *cluster) bind(name string, subject rbacv1.Subject, rule rbacv1.PolicyRule) {
	c.Helper()
	_, err := c.client.RbacV1().ClusterRoles().Create(c.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{rule}}, metav1.CreateOptions{})
	if err != nil {
		c.Fatal(err)
	}
	_, err = c.client.RbacV1().ClusterRoleBindings().Create(c.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Subjects: []rbacv1.Subject{subject},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
	}, metav1.CreateOptions{})
	if err != nil {
		c.Fatal(err)
	}
}

// unconnected stands behind streams that no controller opens.
func unconnected(rows []*registry.Resource) map[string]request.Connector {
	connect := map[string]request.Connector{}
	for _, row := range rows {
		for _, sub := range row.Subresources {
			if sub.Connect {
				connect[row.Name+"/"+sub.Name] = noConnector{}
			}
		}
	}
	return connect
}

type noConnector struct{}

func (noConnector) Options(request.Target) runtime.Object { return nil }

func (noConnector) Connect(http.ResponseWriter, *http.Request, request.Target) error {
	return errors.New("there are no streams in this cluster")
}

// asUser is a transport to the cluster's server, which may not be there yet.
type asUser struct {
	cluster *cluster
	user    user.Info
}

func (a asUser) RoundTrip(r *http.Request) (*http.Response, error) {
	return a.cluster.server.Transport(a.user).RoundTrip(r)
}

// as returns a client that is somebody.
func (c *cluster) as(name string, groups ...string) kubernetes.Interface {
	c.Helper()
	info := &user.DefaultInfo{Name: name, Groups: append(groups, user.AllAuthenticated)}
	client, err := kubernetes.NewForConfig(&rest.Config{Host: "http://yare", Transport: asUser{c, info}, QPS: -1})
	if err != nil {
		c.Fatal(err)
	}
	return client
}

func (c *cluster) configFor(identity string) (*rest.Config, error) {
	info := &user.DefaultInfo{
		Name:   "system:serviceaccount:kube-system:" + identity,
		Groups: []string{"system:serviceaccounts", "system:serviceaccounts:kube-system", user.AllAuthenticated},
	}
	if identity == controllers.ManagerIdentity {
		info = &user.DefaultInfo{Name: "system:" + identity, Groups: []string{user.AllAuthenticated}}
	}
	return &rest.Config{Host: "http://yare", Transport: asUser{c, info}}, nil
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
				if pod := &pods.Items[i]; pod.Status.Phase == corev1.PodPending {
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
