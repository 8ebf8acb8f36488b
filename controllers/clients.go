package controllers

import (
	"fmt"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
)

// NewClients makes clients from rest configurations, one for each identity.
// configFor may return the same transport every time; a config without a QPS is
// not limited on the client's side: the API server's flow control decides. A
// config without user agent gets one that names the identity. Typed clients
// speak protobuf unless the config names a content type.
func NewClients(configFor func(identity string) (*rest.Config, error)) Clients {
	return restClients{configFor}
}

type restClients struct {
	configFor func(identity string) (*rest.Config, error)
}

func (c restClients) config(identity string) (*rest.Config, error) {
	config, err := c.configFor(identity)
	if err != nil {
		return nil, fmt.Errorf("client config of %s: %w", identity, err)
	}
	config = rest.CopyConfig(config)
	if config.QPS == 0 {
		config.QPS = -1
	}
	if config.UserAgent == "" {
		config.UserAgent = "kube-controller-manager/" + identity
	}
	return config, nil
}

func (c restClients) Kubernetes(identity string) (kubernetes.Interface, error) {
	config, err := c.config(identity)
	if err != nil {
		return nil, err
	}
	if config.ContentType == "" {
		config.ContentType = "application/vnd.kubernetes.protobuf"
		config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	}
	return kubernetes.NewForConfig(config)
}

func (c restClients) Metadata(identity string) (metadata.Interface, error) {
	config, err := c.config(identity)
	if err != nil {
		return nil, err
	}
	return metadata.NewForConfig(config)
}
