package secureserving

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/util/cert"
	clocktesting "k8s.io/utils/clock/testing"
)

func TestAuthoritiesAreReadUntilTheyAreThere(t *testing.T) {
	pem, _, err := cert.GenerateSelfSignedCertKey("authority", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := fake.NewClientset(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: publishedName}, Data: map[string]string{publishedKey: string(pem)},
	})
	asked := make(chan int, 100)
	client.PrependReactor("get", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
		asked <- 1
		if len(asked) == 1 {
			return true, nil, errors.New("not yet")
		}
		return false, nil, nil
	})
	clock := clocktesting.NewFakeClock(time.Now())
	a := &Authorities{ConfigMaps: client.CoreV1().ConfigMaps("kube-system"), Clock: clock, Logger: slog.New(slog.DiscardHandler)}
	ended := make(chan struct{})
	t.Cleanup(func() { <-ended }) // the test's context ends before
	go func() { a.Run(t.Context()); close(ended) }()
	deadline := time.After(20 * time.Second)
	for a.Pool() == nil {
		select {
		case <-deadline:
			t.Fatal("the authorities were never read")
		default:
		}
		if clock.HasWaiters() {
			clock.Step(retryPause)
		}
	}
	if len(asked) < 2 {
		t.Errorf("asked %d times", len(asked))
	}
}
