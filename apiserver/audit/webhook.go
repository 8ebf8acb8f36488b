package audit

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// WebhookConfig says where events are sent.
type WebhookConfig struct {
	// Kubeconfig is the path of a file that names the receiver.
	Kubeconfig string
	// Backoff is the first pause before a failed batch is sent again; it
	// grows by half each time. Zero: 10 s.
	Backoff time.Duration
	// Strict makes requests fail whose events cannot be delivered, where
	// nothing batches them.
	Strict bool
}

// Webhook sends events to a server, as an audit.k8s.io/v1 EventList.
type Webhook struct {
	config WebhookConfig
	url    string
	client *http.Client
}

// attempts bounds how often one batch is sent.
const attempts = 5

// sendTimeout bounds one of them.
const sendTimeout = 30 * time.Second

// NewWebhook reads the configuration.
func NewWebhook(config WebhookConfig) (*Webhook, error) {
	if config.Backoff == 0 {
		config.Backoff = 10 * time.Second
	}
	loaded, err := clientcmd.BuildConfigFromFlags("", config.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("audit webhook: %w", err)
	}
	client, err := rest.HTTPClientFor(loaded)
	if err != nil {
		return nil, fmt.Errorf("audit webhook: %w", err)
	}
	client.Timeout = sendTimeout
	return &Webhook{config: config, url: loaded.Host + loaded.APIPath, client: client}, nil
}

// Take implements Backend: it sends the events, in one request, before it
// returns.
func (w *Webhook) Take(ctx context.Context, events ...*auditinternal.Event) error {
	list := &auditinternal.EventList{Items: make([]auditinternal.Event, len(events))}
	for i, event := range events {
		list.Items[i] = *event
	}
	if err := w.deliver(ctx, list); len(events) > 1 || w.config.Strict {
		return err
	}
	return nil
}

func (w *Webhook) deliver(ctx context.Context, list *auditinternal.EventList) error {
	body, err := encode(list)
	if err != nil {
		return err
	}
	pause := w.config.Backoff
	for attempt := 1; ; attempt++ {
		retry, err := w.post(body)
		if err == nil || !retry || attempt == attempts {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
		pause += pause / 2
	}
}

// post sends once, and says whether it may help to send again.
func (w *Webhook) post(body []byte) (retry bool, err error) {
	response, err := w.client.Post(w.url, "application/json", bytes.NewReader(body))
	if err != nil {
		return true, fmt.Errorf("audit webhook: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	_, _ = io.CopyN(io.Discard, response.Body, 1<<20)
	if response.StatusCode >= 300 {
		retry := response.StatusCode >= 500 || response.StatusCode == http.StatusTooManyRequests
		return retry, fmt.Errorf("audit webhook answered %s", response.Status)
	}
	return false, nil
}

// Run implements Backend.
func (w *Webhook) Run(ctx context.Context) error {
	<-ctx.Done()
	w.client.CloseIdleConnections()
	return nil
}
