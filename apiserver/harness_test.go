package apiserver_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/yare-io/yare/apiserver"
	"github.com/yare-io/yare/apiserver/registry"
	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/memory"
)

var allVerbs = []string{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}

// rows are small rows of real kinds: enough to meet every rule of the server,
// and no rule of the kinds themselves.
func rows() []*registry.Resource {
	return []*registry.Resource{configMaps(), namespaces(), pods(), deployments(), subjectReviews()}
}

func configMaps() *registry.Resource {
	return &registry.Resource{
		Kind: corev1.SchemeGroupVersion.WithKind("ConfigMap"),
		Name: "configmaps", Singular: "configmap", ShortNames: []string{"cm"}, Namespaced: true, Verbs: allVerbs,
		New:           func() runtime.Object { return &corev1.ConfigMap{} },
		NewList:       func() runtime.Object { return &corev1.ConfigMapList{} },
		StoragePrefix: "configmaps",
		Strategy: registry.Strategy{
			Validate: registry.Check(func(c *corev1.ConfigMap) field.ErrorList {
				if c.Data["bad"] != "" {
					return field.ErrorList{field.Invalid(field.NewPath("data").Key("bad"), c.Data["bad"], "must be good")}
				}
				return nil
			}),
			CreateOnUpdate: true,
		},
	}
}

func namespaces() *registry.Resource {
	return &registry.Resource{
		Kind: corev1.SchemeGroupVersion.WithKind("Namespace"),
		Name: "namespaces", Singular: "namespace", Verbs: allVerbs,
		New:           func() runtime.Object { return &corev1.Namespace{} },
		NewList:       func() runtime.Object { return &corev1.NamespaceList{} },
		StoragePrefix: "namespaces",
		Delete: registry.DeleteStrategy{
			Finished: func(o runtime.Object) bool { return len(o.(*corev1.Namespace).Spec.Finalizers) == 0 },
			PrepareForDelete: func(_ context.Context, o runtime.Object) {
				o.(*corev1.Namespace).Status.Phase = corev1.NamespaceTerminating
			},
		},
		Subresources: []registry.Subresource{{
			Name: "finalize", Verbs: []string{"update"},
			Part: &registry.Strategy{PrepareForUpdate: registry.PrepareUpdate(func(n, old *corev1.Namespace) { n.Status = old.Status })},
		}},
	}
}

func pods() *registry.Resource {
	return &registry.Resource{
		Kind: corev1.SchemeGroupVersion.WithKind("Pod"),
		Name: "pods", Singular: "pod", Namespaced: true, Verbs: allVerbs,
		New:           func() runtime.Object { return &corev1.Pod{} },
		NewList:       func() runtime.Object { return &corev1.PodList{} },
		StoragePrefix: "pods",
		Fields: func(o runtime.Object) fields.Set {
			pod := o.(*corev1.Pod)
			return fields.Set{"spec.nodeName": pod.Spec.NodeName, "status.phase": string(pod.Status.Phase)}
		},
		Indexed: []string{"spec.nodeName"},
		Columns: []registry.Column{
			{Name: "Name", Type: "string", Format: "name", Cell: registry.Cell(func(p *corev1.Pod) any { return p.Name })},
			{Name: "Node", Type: "string", Priority: 1, Cell: registry.Cell(func(p *corev1.Pod) any { return p.Spec.NodeName })},
		},
		Delete: registry.DeleteStrategy{
			ReturnObject: true,
			GracePeriod: func(_ context.Context, o runtime.Object, options *metav1.DeleteOptions) (int64, bool) {
				pod := o.(*corev1.Pod)
				switch {
				case pod.Spec.NodeName == "":
					return 0, true
				case options.GracePeriodSeconds != nil:
					return *options.GracePeriodSeconds, true
				}
				return 30, true
			},
		},
		Subresources: []registry.Subresource{
			{Name: "status", Verbs: []string{"get", "patch", "update"}, Part: &registry.Strategy{
				PrepareForUpdate: registry.PrepareUpdate(func(p, old *corev1.Pod) { p.Spec = old.Spec }),
			}},
			{Name: "binding", Verbs: []string{"create"}, Kind: corev1.SchemeGroupVersion.WithKind("Binding"),
				New:    func() runtime.Object { return &corev1.Binding{} },
				Action: bind},
		},
	}
}

func bind(ctx context.Context, call registry.Call) (runtime.Object, error) {
	binding := call.Object.(*corev1.Binding)
	_, err := call.Objects.Update(ctx, call.Resource, call.Namespace, call.Name, func(o runtime.Object) error {
		o.(*corev1.Pod).Spec.NodeName = binding.Target.Name
		return nil
	})
	return &metav1.Status{Status: metav1.StatusSuccess}, err
}

func deployments() *registry.Resource {
	return &registry.Resource{
		Kind: appsv1.SchemeGroupVersion.WithKind("Deployment"),
		Name: "deployments", Singular: "deployment", Namespaced: true, Verbs: allVerbs,
		New:           func() runtime.Object { return &appsv1.Deployment{} },
		NewList:       func() runtime.Object { return &appsv1.DeploymentList{} },
		StoragePrefix: "deployments",
		Strategy: registry.Strategy{
			PrepareForCreate: registry.Prepare(func(d *appsv1.Deployment) { d.Generation = 1 }),
			PrepareForUpdate: registry.PrepareUpdate(func(d, old *appsv1.Deployment) {
				d.Status = old.Status
				if *d.Spec.Replicas != *old.Spec.Replicas {
					d.Generation++
				}
			}),
			Default: registry.Do(func(d *appsv1.Deployment) {
				if d.Spec.Replicas == nil {
					one := int32(1)
					d.Spec.Replicas = &one
				}
			}),
		},
		Subresources: []registry.Subresource{{
			Name: "scale", Verbs: []string{"get", "patch", "update"},
			Kind:       autoscalingv1.SchemeGroupVersion.WithKind("Scale"),
			New:        func() runtime.Object { return &autoscalingv1.Scale{} },
			Projection: scale(),
		}},
	}
}

func scale() *registry.Projection {
	return &registry.Projection{
		From: func(o runtime.Object) (runtime.Object, error) {
			d := o.(*appsv1.Deployment)
			return &autoscalingv1.Scale{
				ObjectMeta: metav1.ObjectMeta{Name: d.Name, Namespace: d.Namespace, UID: d.UID, ResourceVersion: d.ResourceVersion, CreationTimestamp: d.CreationTimestamp},
				Spec:       autoscalingv1.ScaleSpec{Replicas: *d.Spec.Replicas},
			}, nil
		},
		Into: func(projection, o runtime.Object) error {
			replicas := projection.(*autoscalingv1.Scale).Spec.Replicas
			o.(*appsv1.Deployment).Spec.Replicas = &replicas
			return nil
		},
		Validate: func(projection runtime.Object) field.ErrorList {
			if n := projection.(*autoscalingv1.Scale).Spec.Replicas; n < 0 {
				return field.ErrorList{field.Invalid(field.NewPath("spec", "replicas"), n, "must be greater than or equal to 0")}
			}
			return nil
		},
	}
}

// subjectReviews stands for rows that store nothing.
func subjectReviews() *registry.Resource {
	return &registry.Resource{
		Kind: schema.GroupVersionKind{Version: "v1", Kind: "Binding"},
		Name: "bindings", Singular: "binding", Namespaced: true, Verbs: []string{"create"},
		New: func() runtime.Object { return &corev1.Binding{} },
		Creator: func(_ context.Context, call registry.Call) (runtime.Object, error) {
			return call.Object, nil
		},
	}
}

// harness is a server over a memory store, and clients of it.
type harness struct {
	server *apiserver.Server
	store  storage.Store
	http   *httptest.Server
	client kubernetes.Interface
}

// change edits a harness's configuration.
type change func(*apiserver.Config)

func start(t testing.TB, changes ...change) *harness {
	t.Helper()
	store := memory.New(memory.Config{})
	config := apiserver.Config{
		Store: store, Rows: rows(), Authenticator: byHeader{}, Authorizer: allButMallory(),
		Logger: slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelError + 1})),
	}
	for _, change := range changes {
		change(&config)
	}
	server, err := apiserver.New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	h := &harness{server: server, store: store, http: httptest.NewServer(server.Handler())}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		h.http.Close()
		_ = store.Close()
	})
	h.client = kubernetes.NewForConfigOrDie(&rest.Config{Host: h.http.URL, QPS: -1})
	h.waitReady(t)
	return h
}

func (h *harness) waitReady(t testing.TB) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, 10*time.Second, true, func(ctx context.Context) (bool, error) {
		last = h.server.Ready(ctx)
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("not ready: %v", last)
	}
}

// byHeader takes the user from the User header; without one it is an
// administrator, and "nobody" is nobody.
type byHeader struct{}

func (byHeader) AuthenticateRequest(r *http.Request) (*authenticator.Response, bool, error) {
	switch name := r.Header.Get("User"); name {
	case "nobody":
		return nil, false, nil
	case "":
		return &authenticator.Response{User: &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup}}}, true, nil
	default:
		return &authenticator.Response{User: &user.DefaultInfo{Name: name}}, true, nil
	}
}

func allButMallory() authorizer.Authorizer {
	return authorizer.AuthorizerFunc(func(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
		if a.GetUser().GetName() == "mallory" {
			return authorizer.DecisionNoOpinion, "", nil
		}
		return authorizer.DecisionAllow, "", nil
	})
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// response is an answer read to its end.
type response struct {
	code   int
	header http.Header
	body   string
}

func (r response) status(t testing.TB) metav1.Status {
	t.Helper()
	var status metav1.Status
	if err := json.Unmarshal([]byte(r.body), &status); err != nil || status.Kind != "Status" || status.APIVersion != "v1" {
		t.Fatalf("not a Status (%v): %s", err, r.body)
	}
	return status
}

// do sends a request; headers are name, value pairs.
func (h *harness) do(t testing.TB, method, path, body string, headers ...string) response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, h.http.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	// Nothing is unpacked behind the test's back.
	client := &http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response{code: answer.StatusCode, header: answer.Header, body: string(raw)}
}

func (h *harness) configMap(t testing.TB, name string) *corev1.ConfigMap {
	t.Helper()
	created, err := h.client.CoreV1().ConfigMaps("default").Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": name}},
		Data:       map[string]string{"key": "value"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return created
}

func admin() user.Info {
	return &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup}}
}

func mallory() user.Info { return &user.DefaultInfo{Name: "mallory"} }
