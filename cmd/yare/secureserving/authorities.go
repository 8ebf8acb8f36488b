package secureserving

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
)

const (
	publishedName = "extension-apiserver-authentication"
	publishedKey  = "client-ca-file"
	refreshPeriod = time.Minute
	retryPause    = 2 * time.Second
)

// ConfigMaps reads config maps of kube-system; client-go's
// CoreV1().ConfigMaps("kube-system") is one.
type ConfigMaps interface {
	Get(ctx context.Context, name string, options metav1.GetOptions) (*corev1.ConfigMap, error)
}

// Authorities are those of client certificates, as the API server publishes
// them in kube-system/extension-apiserver-authentication.
type Authorities struct {
	ConfigMaps ConfigMaps
	Clock      clock.Clock
	Logger     *slog.Logger

	pool atomic.Pointer[x509.CertPool]
}

// Pool is what is known at this moment; nil before the first answer.
func (a *Authorities) Pool() *x509.CertPool { return a.pool.Load() }

// Run reads them again and again until ctx ends.
func (a *Authorities) Run(ctx context.Context) {
	for ctx.Err() == nil {
		pause := refreshPeriod
		if err := a.read(ctx); err != nil && ctx.Err() == nil {
			a.Logger.Debug("authorities of client certificates not read", "error", err)
			pause = retryPause
		}
		select {
		case <-ctx.Done():
		case <-a.Clock.After(pause):
		}
	}
}

func (a *Authorities) read(ctx context.Context) error {
	published, err := a.ConfigMaps.Get(ctx, publishedName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(published.Data[publishedKey])) {
		return errors.New("no certificate in " + publishedName + "/" + publishedKey)
	}
	a.pool.Store(pool)
	return nil
}
