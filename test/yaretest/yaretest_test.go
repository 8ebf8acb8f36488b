package yaretest_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/yare-io/yare/test/yaretest"
)

func client(t *testing.T, config *rest.Config) kubernetes.Interface {
	t.Helper()
	c, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func eventually(t *testing.T, what string, done func(context.Context) (bool, error)) {
	t.Helper()
	if err := wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, 30*time.Second, true, done); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func TestAServerIsReadyOnceStarted(t *testing.T) {
	server := yaretest.Start(t)
	c := client(t, server.Config())
	if out, err := c.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(t.Context()); err != nil || string(out) != "ok" {
		t.Errorf("/readyz: %s %v", out, err)
	}
	if _, err := c.CoreV1().Namespaces().Get(t.Context(), "default", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	file, err := server.Kubeconfig()
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client(t, config).CoreV1().ConfigMaps("default").Create(t.Context(), configMap("a"), metav1.CreateOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := client(t, server.InProcess("root", "system:masters")).CoreV1().ConfigMaps("default").Get(t.Context(), "a", metav1.GetOptions{}); err != nil {
		t.Errorf("in the process: %v", err)
	}
}

func TestUsersMayDoWhatTheirRolesAllow(t *testing.T) {
	server := yaretest.Start(t)
	config, err := server.AddUser("jane", "developers")
	if err != nil {
		t.Fatal(err)
	}
	jane := client(t, config).CoreV1().ConfigMaps("default")
	if _, err := jane.Create(t.Context(), configMap("a"), metav1.CreateOptions{}); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), `"jane"`) {
		t.Fatalf("without a role: %v", err)
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "developers"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "developers"}},
	}
	if _, err := client(t, server.Config()).RbacV1().RoleBindings("default").Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the role", func(ctx context.Context) (bool, error) {
		_, err := jane.Create(ctx, configMap("a"), metav1.CreateOptions{})
		if apierrors.IsForbidden(err) {
			return false, nil
		}
		return err == nil, err
	})
}

func TestManyServersShareNothing(t *testing.T) {
	const many = 8
	var all sync.WaitGroup
	servers := make([]*yaretest.Server, many)
	for i := range many {
		all.Go(func() {
			var err error
			if servers[i], err = yaretest.New(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	t.Cleanup(func() {
		for _, server := range servers {
			if server != nil {
				_ = server.Close()
			}
		}
	})
	if t.Failed() {
		return
	}
	for i, server := range servers {
		if _, err := client(t, server.Config()).CoreV1().ConfigMaps("default").Create(t.Context(), configMap(fmt.Sprint("of-", i)), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := servers[0].Close(); err != nil {
		t.Fatal(err)
	}
	for i, server := range servers[1:] {
		list, err := client(t, server.Config()).CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range list.Items {
			if strings.HasPrefix(item.Name, "of-") && item.Name != fmt.Sprint("of-", i+1) {
				t.Errorf("server %d has %s", i+1, item.Name)
			}
		}
	}
}

func TestCustomResourcesAreServedOnceStarted(t *testing.T) {
	server := yaretest.Start(t, yaretest.WithCRDs("testdata/crds"))
	c, err := dynamic.NewForConfig(server.Config())
	if err != nil {
		t.Fatal(err)
	}
	greetings := c.Resource(schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "greetings"}).Namespace("default")
	made, err := greetings.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "example.com/v1", "kind": "Greeting", "metadata": map[string]any{"name": "hello"}, "spec": map[string]any{"text": "hello"},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if times, _, _ := unstructured.NestedInt64(made.Object, "spec", "times"); times != 1 {
		t.Errorf("no default: %v", made.Object)
	}
	// Installing again, as suites do that share a server, updates.
	if err := server.InstallCRDs(t.Context(), filepath.Join("testdata", "crds", "greetings.yaml")); err != nil {
		t.Error(err)
	}
}

func TestControllersRunBesideTheServer(t *testing.T) {
	server := yaretest.Start(t, yaretest.WithControllers("namespace", "garbagecollector", "serviceaccount"))
	c := client(t, server.Config())
	if _, err := c.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the default service account", func(ctx context.Context) (bool, error) {
		_, err := c.CoreV1().ServiceAccounts("team").Get(ctx, "default", metav1.GetOptions{})
		return err == nil, ignoreNotFound(err)
	})
	if err := c.CoreV1().Namespaces().Delete(t.Context(), "team", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of the namespace", func(ctx context.Context) (bool, error) {
		_, err := c.CoreV1().Namespaces().Get(ctx, "team", metav1.GetOptions{})
		return apierrors.IsNotFound(err), ignoreNotFound(err)
	})
}

func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func TestWhatCannotBeIsRefused(t *testing.T) {
	for name, option := range map[string]yaretest.Option{
		"unknown flag: --no-such-flag":         yaretest.WithFlags("--no-such-flag=1"),
		"unknown flag: --tls-cert-file":        yaretest.WithFlags("--tls-cert-file=mine.crt"),
		"not a flag":                           yaretest.WithFlags("stray"),
		"no-such-controller":                   yaretest.WithControllers("no-such-controller"),
		"no such file":                         yaretest.WithCRDs("testdata/nowhere"),
		"no CustomResourceDefinition":          yaretest.WithCRDs("testdata"),
		"admission plugin":                     yaretest.WithFlags("--enable-admission-plugins=NoSuchPlugin"),
		"--storage-backend must be etcd3":      yaretest.WithFlags("--storage-backend=paper"),
		"--service-cluster-ip-range is needed": yaretest.WithFlags("--service-cluster-ip-range="),
	} {
		if server, err := yaretest.New(option); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("want %q, got %v", name, err)
			if err == nil {
				_ = server.Close()
			}
		}
	}
}

// TestNothingIsLeft runs servers with all that they can have, with watches and
// connections open, and looks for what outlives them.
func TestNothingIsLeft(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	round := func() {
		server, err := yaretest.New(yaretest.WithCRDs("testdata/crds"), yaretest.WithControllers("*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, config := range []*rest.Config{server.Config(), server.InProcess("root", "system:masters")} {
			watch, err := client(t, config).CoreV1().ConfigMaps("").Watch(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				for range watch.ResultChan() { // it ends by itself
				}
			}()
		}
		if err := server.Close(); err != nil {
			t.Fatal(err)
		}
		if err := server.Close(); err != nil {
			t.Errorf("a second time: %v", err)
		}
	}
	round() // what a process starts once
	before := runtime.NumGoroutine()
	for range 3 {
		round()
	}
	if err := wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, 20*time.Second, true, func(context.Context) (bool, error) {
		return runtime.NumGoroutine() <= before, nil
	}); err != nil {
		t.Errorf("%d goroutines became %d", before, runtime.NumGoroutine())
		_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left in the temporary directory: %v %v", left, err)
	}
}
