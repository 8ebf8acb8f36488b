// Package review asks servers outside of the cluster about tokens and access:
// it posts a review to the server of a kubeconfig and reads the answer. What is
// asked, and what the answer means, is the callers' matter.
package review

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// maxAnswer bounds an answer in bytes.
const maxAnswer = 1 << 20

// defaultTimeout bounds one request.
const defaultTimeout = 30 * time.Second

// Client posts reviews. It is safe for concurrent use.
type Client struct {
	url    string
	client *http.Client
}

// New reads a kubeconfig: the server of its current context, and how to show
// who asks. timeout bounds one request; zero means 30 s.
func New(kubeconfig string, timeout time.Duration) (*Client, error) {
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: kubeconfig}, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kubeconfig, err)
	}
	if config.ExecProvider != nil || config.AuthProvider != nil {
		return nil, fmt.Errorf("%s: exec and auth provider plugins are not supported here", kubeconfig)
	}
	if timeout == 0 {
		timeout = defaultTimeout
	}
	config.Timeout = timeout
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kubeconfig, err)
	}
	// A redirect would show the token, or the question, to somebody else.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{url: config.Host + config.APIPath, client: client}, nil
}

const (
	attempts   = 5
	firstPause = 500 * time.Millisecond
)

// errRefused: the server answered, and asking again will not help.
var errRefused = errors.New("the server refused the review")

// Ask posts a review and decodes the answer into it, again when the server
// cannot be reached or says that it fails.
func (c *Client) Ask(ctx context.Context, review any) error {
	document, err := json.Marshal(review)
	if err != nil {
		return err
	}
	pause := firstPause
	for attempt := 1; ; attempt++ {
		err := c.post(ctx, document, review)
		if err == nil || errors.Is(err, errRefused) || attempt == attempts || ctx.Err() != nil {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
		pause += pause / 2
	}
}

func (c *Client) post(ctx context.Context, document []byte, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(document))
	if err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	answer, err := c.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	switch {
	case answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode >= http.StatusInternalServerError:
		return fmt.Errorf("the server answered with %d", answer.StatusCode)
	case answer.StatusCode < 200 || answer.StatusCode > 299:
		return fmt.Errorf("%w: it answered with %d", errRefused, answer.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil {
		return err
	}
	if len(data) > maxAnswer {
		return fmt.Errorf("%w: its answer is larger than %d bytes", errRefused, maxAnswer)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%w: its answer is no review: %w", errRefused, err)
	}
	return nil
}
