package builtin_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/builtin"
)

// allowing allows the requests it lists as "user verb resource[/sub] name".
type allowing []string

func (l allowing) Authorize(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	resource := a.GetResource()
	if a.GetSubresource() != "" {
		resource += "/" + a.GetSubresource()
	}
	if slices.Contains(l, strings.Join([]string{a.GetUser().GetName(), a.GetVerb(), resource, a.GetName()}, " ")) {
		return authorizer.DecisionAllow, "", nil
	}
	return authorizer.DecisionNoOpinion, "no", nil
}

// world is one plugin among the objects of a cluster.
type world struct {
	t      *testing.T
	client *fake.Clientset
	chain  *admission.Chain
}

type setup struct {
	plugin  string
	objects []runtime.Object
	allowed allowing
	change  func(*builtin.Deps)
}

func (s setup) build(t *testing.T) *world {
	t.Helper()
	client := fake.NewClientset(s.objects...)
	factory := informers.NewSharedInformerFactory(client, 0)
	deps := builtin.Deps{Client: client, Informers: factory, Authorizer: s.allowed}
	if s.change != nil {
		s.change(&deps)
	}
	var enable, disable []string
	for _, name := range builtin.Names() {
		if name == s.plugin {
			enable = []string{name}
		} else {
			disable = append(disable, name)
		}
	}
	plugins, err := builtin.Plugins(deps, enable, disable)
	if err != nil {
		t.Fatal(err)
	}
	if len(plugins) != 1 || plugins[0].Name() != s.plugin {
		t.Fatalf("got %d plugins", len(plugins))
	}
	ctx, cancel := context.WithCancel(t.Context())
	factory.Start(ctx.Done())
	t.Cleanup(func() { cancel(); factory.Shutdown() })
	factory.WaitForCacheSync(ctx.Done())
	return &world{t, client, admission.NewChain(plugins...)}
}

var alice = &user.DefaultInfo{Name: "alice", Groups: []string{"system:authenticated"}}

func node(name string) user.Info {
	return &user.DefaultInfo{Name: "system:node:" + name, Groups: []string{"system:nodes", "system:authenticated"}}
}

// request is a create of the object, whose resource is guessed from its kind.
func request(object runtime.Object, resource schema.GroupVersionResource) *admission.Attributes {
	a := &admission.Attributes{Operation: admission.Create, Resource: resource, Object: object, User: alice}
	if m, ok := object.(metav1.Object); ok {
		a.Namespace, a.Name = m.GetNamespace(), m.GetName()
	}
	return a
}

func core(resource string) schema.GroupVersionResource {
	return corev1.SchemeGroupVersion.WithResource(resource)
}

// run sends a request through the chain.
func (w *world) run(a *admission.Attributes) error {
	if err := w.chain.Admit(w.t.Context(), a); err != nil {
		return err
	}
	return w.chain.Validate(w.t.Context(), a)
}

func (w *world) pass(a *admission.Attributes) {
	w.t.Helper()
	if err := w.run(a); err != nil {
		w.t.Fatalf("refused: %v", err)
	}
}

// refuse expects an error with these words.
func (w *world) refuse(a *admission.Attributes, words string) error {
	w.t.Helper()
	err := w.run(a)
	if err == nil {
		w.t.Fatalf("passed, want: %s", words)
	}
	if !strings.Contains(err.Error(), words) {
		w.t.Fatalf("refused with: %v\nwant: %s", err, words)
	}
	if apierrors.ReasonForError(err) == metav1.StatusReasonUnknown {
		w.t.Errorf("not a status: %v", err)
	}
	return err
}

func pod(change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "web", UID: "pod-1"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "x"}}},
	}
	for _, c := range change {
		c(p)
	}
	return p
}

func newPod(change ...func(*corev1.Pod)) *admission.Attributes {
	return request(pod(change...), core("pods"))
}

func namespace(name string, annotations map[string]string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations}}
}

// elsewhere is a plugin that another package builds.
type elsewhere string

func (e elsewhere) Name() string                   { return string(e) }
func (elsewhere) Handles(admission.Operation) bool { return false }

func TestSelectionOfPlugins(t *testing.T) {
	build := func(enable, disable []string) ([]string, error) {
		client := fake.NewClientset()
		deps := builtin.Deps{Client: client, Informers: informers.NewSharedInformerFactory(client, 0), Authorizer: allowing{}, Given: map[string]admission.Plugin{}}
		for _, name := range []string{"MutatingAdmissionPolicy", "MutatingAdmissionWebhook", "ValidatingAdmissionPolicy", "ValidatingAdmissionWebhook"} {
			deps.Given[name] = elsewhere(name)
		}
		plugins, err := builtin.Plugins(deps, enable, disable)
		var names []string
		for _, p := range plugins {
			names = append(names, p.Name())
		}
		return names, err
	}
	names, err := build(nil, nil)
	if err != nil || !slices.Equal(names, builtin.DefaultNames()) {
		t.Errorf("by default %v, %v", names, err)
	}
	names, err = build([]string{"NodeRestriction"}, []string{"LimitRanger"})
	if err != nil || slices.Contains(names, "LimitRanger") || slices.Index(names, "NodeRestriction") != slices.Index(names, "ServiceAccount")+1 {
		t.Errorf("with changes %v, %v", names, err)
	}
	for _, bad := range [][2][]string{
		{{"Magic"}, nil}, {nil, {"Magic"}}, {{"Priority"}, {"Priority"}},
		{{"EventRateLimit"}, nil}, {{"OwnerReferencesPermissionEnforcement"}, nil},
	} {
		if _, err := build(bad[0], bad[1]); err == nil {
			t.Errorf("taken: %v", bad)
		}
	}
}
