package operator_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/yare-io/yare/test/operator"
)

var k8s client.Client

func TestMain(m *testing.M) { os.Exit(run(m)) }

// run sets up the environment as suites made by kubebuilder do.
func run(m *testing.M) int {
	log.SetLogger(zap.New(zap.WriteTo(os.Stderr), zap.UseDevMode(true)))
	scheme := clientgoscheme.Scheme
	if err := operator.AddToScheme(scheme); err != nil {
		panic(err)
	}
	environment := &envtest.Environment{
		CRDDirectoryPaths: []string{"crds"}, ErrorIfCRDPathMissing: true, Scheme: scheme,
		WebhookInstallOptions: envtest.WebhookInstallOptions{Paths: []string{"webhooks"}},
	}
	begun := time.Now()
	config, err := environment.Start()
	if err != nil {
		panic(err)
	}
	log.Log.Info("environment started", "after", time.Since(begun))
	defer func() {
		begun := time.Now()
		if err := environment.Stop(); err != nil {
			panic(err)
		}
		log.Log.Info("environment stopped", "after", time.Since(begun))
	}()
	hooks := environment.WebhookInstallOptions
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme, Metrics: server.Options{BindAddress: "0"},
		WebhookServer: webhook.NewServer(webhook.Options{Host: hooks.LocalServingHost, Port: hooks.LocalServingPort, CertDir: hooks.LocalServingCertDir}),
	})
	if err != nil {
		panic(err)
	}
	if err := (&operator.Reconciler{Client: manager.GetClient()}).SetupWithManager(manager); err != nil {
		panic(err)
	}
	if err := operator.SetupWebhooks(manager); err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- manager.Start(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			panic(err)
		}
	}()
	if k8s, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		panic(err)
	}
	if err := wait.PollUntilContextTimeout(ctx, 10*time.Millisecond, 20*time.Second, true, func(context.Context) (bool, error) {
		return manager.GetWebhookServer().StartedChecker()(nil) == nil, nil
	}); err != nil {
		panic(err)
	}
	return m.Run()
}

func eventually(t *testing.T, what string, done func(context.Context) (bool, error)) {
	t.Helper()
	if err := wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, 20*time.Second, true, done); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func namespace(t *testing.T) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "suite-"}}
	if err := k8s.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	return ns.Name
}

func backup(t *testing.T, ns string) *operator.Backup {
	t.Helper()
	b := &operator.Backup{ObjectMeta: metav1.ObjectMeta{Name: "nightly", Namespace: ns}, Spec: operator.BackupSpec{Source: "db"}}
	if err := k8s.Create(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestABackupIsPlanned(t *testing.T) {
	ns := namespace(t)
	b := backup(t, ns)
	if b.Spec.Retention != 7 {
		t.Errorf("no default: %+v", b.Spec)
	}
	plan := &corev1.ConfigMap{}
	eventually(t, "the plan", func(ctx context.Context) (bool, error) {
		err := k8s.Get(ctx, client.ObjectKeyFromObject(b), plan)
		return err == nil, client.IgnoreNotFound(err)
	})
	if plan.Data["retention"] != "7" || len(plan.OwnerReferences) != 1 {
		t.Errorf("%+v", plan)
	}
	eventually(t, "the status", func(ctx context.Context) (bool, error) {
		err := k8s.Get(ctx, client.ObjectKeyFromObject(b), b)
		return b.Status.Phase == "Planned", err
	})
	b.Spec.Retention = 3
	if err := k8s.Update(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the change", func(ctx context.Context) (bool, error) {
		err := k8s.Get(ctx, client.ObjectKeyFromObject(b), plan)
		return plan.Data["retention"] == "3", err
	})
}

func TestABadBackupIsRefused(t *testing.T) {
	ns := namespace(t)
	b := backup(t, ns)
	eventually(t, "the refusal", func(ctx context.Context) (bool, error) {
		if err := k8s.Get(ctx, client.ObjectKeyFromObject(b), b); err != nil {
			return false, err
		}
		b.Spec.Source = "other"
		err := k8s.Update(ctx, b)
		if apierrors.IsConflict(err) {
			return false, nil
		}
		if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "source cannot change") {
			t.Errorf("%v", err)
		}
		return true, nil
	})
	empty := &operator.Backup{ObjectMeta: metav1.ObjectMeta{Name: "empty", Namespace: ns}}
	if err := k8s.Create(t.Context(), empty); !apierrors.IsInvalid(err) {
		t.Errorf("no source: %v", err)
	}
}

func TestWebhooksDefaultAndValidate(t *testing.T) {
	ns := namespace(t)
	b := backup(t, ns)
	if b.Spec.Schedule != "@daily" {
		t.Errorf("the webhook gave no default: %+v", b.Spec)
	}
	bad := &operator.Backup{ObjectMeta: metav1.ObjectMeta{Name: "bad", Namespace: ns}, Spec: operator.BackupSpec{Source: "db", Schedule: "sometimes"}}
	if err := k8s.Create(t.Context(), bad); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "sometimes is no schedule") {
		t.Errorf("a bad schedule: %v", err)
	}
	kept := &operator.Backup{ObjectMeta: metav1.ObjectMeta{
		Name: "kept", Namespace: ns, Annotations: map[string]string{operator.KeepAnnotation: "true"},
	}, Spec: operator.BackupSpec{Source: "db"}}
	if err := k8s.Create(t.Context(), kept); err != nil {
		t.Fatal(err)
	}
	if err := k8s.Delete(t.Context(), kept); !apierrors.IsForbidden(err) {
		t.Errorf("one to keep was deleted: %v", err)
	}
}

func TestVersionsAreConverted(t *testing.T) {
	ns := namespace(t)
	old := &operator.BetaBackup{ObjectMeta: metav1.ObjectMeta{Name: "old", Namespace: ns}, Spec: operator.BetaBackupSpec{Database: "db", KeepDays: 30}}
	if err := k8s.Create(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	b := &operator.Backup{}
	if err := k8s.Get(t.Context(), client.ObjectKeyFromObject(old), b); err != nil {
		t.Fatal(err)
	}
	if b.Spec.Source != "db" || b.Spec.Retention != 30 {
		t.Errorf("v1beta1 became %+v", b.Spec)
	}
	current := backup(t, ns)
	if err := k8s.Get(t.Context(), client.ObjectKeyFromObject(current), old); err != nil {
		t.Fatal(err)
	}
	if old.Spec.Database != "db" || old.Spec.KeepDays != 7 || old.Spec.Schedule != "@daily" {
		t.Errorf("v1 became %+v", old.Spec)
	}
}

func TestADeletedBackupGoesAway(t *testing.T) {
	b := backup(t, namespace(t))
	eventually(t, "the finalizer", func(ctx context.Context) (bool, error) {
		err := k8s.Get(ctx, client.ObjectKeyFromObject(b), b)
		return len(b.Finalizers) == 1, err
	})
	if err := k8s.Delete(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end", func(ctx context.Context) (bool, error) {
		err := k8s.Get(ctx, client.ObjectKeyFromObject(b), b)
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	})
}

// TestWhatSuitesMiss needs the controllers that Kubernetes' own binaries do not
// bring: it runs where the environment says that it has them.
func TestWhatSuitesMiss(t *testing.T) {
	if os.Getenv("SUITE_HAS_CONTROLLERS") == "" {
		t.Skip("this environment runs no controllers")
	}
	ns := namespace(t)
	b := backup(t, ns)
	plan := &corev1.ConfigMap{}
	eventually(t, "the plan", func(ctx context.Context) (bool, error) {
		err := k8s.Get(ctx, client.ObjectKeyFromObject(b), plan)
		return err == nil, client.IgnoreNotFound(err)
	})
	eventually(t, "the default service account", func(ctx context.Context) (bool, error) {
		err := k8s.Get(ctx, client.ObjectKey{Namespace: ns, Name: "default"}, &corev1.ServiceAccount{})
		return err == nil, client.IgnoreNotFound(err)
	})
	if err := k8s.Delete(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the plan follows its owner", func(ctx context.Context) (bool, error) {
		err := k8s.Get(ctx, client.ObjectKeyFromObject(plan), plan)
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	})
	if err := k8s.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the namespace is gone", func(ctx context.Context) (bool, error) {
		err := k8s.Get(ctx, client.ObjectKey{Name: ns}, &corev1.Namespace{})
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	})
}
