// Package handler carries out, once, what probes and lifecycle hooks are made of: an HTTP request, a TCP connection or a gRPC
// health check against a container. It knows how Kubernetes spells them; it refuses to judge the outcome over time.
package handler

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// maxBody bounds what is read of an answer.
const maxBody = 10 << 10

// Port returns the number of a port given by number or by one of the container's port names.
func Port(port intstr.IntOrString, c *v1.Container) (int, error) {
	n := port.IntValue()
	if port.Type == intstr.String {
		for _, p := range c.Ports {
			if p.Name == port.StrVal {
				n = int(p.ContainerPort)
			}
		}
	}
	if n < 1 || n > 65535 {
		return 0, fmt.Errorf("invalid port number: %v", port.String())
	}
	return n, nil
}

// Request builds the HTTP request of an action against host (usually the pod's address).
func Request(ctx context.Context, action *v1.HTTPGetAction, c *v1.Container, host, agent string) (*http.Request, error) {
	port, err := Port(action.Port, c)
	if err != nil {
		return nil, err
	}
	if action.Host != "" {
		host = action.Host
	}
	target, err := url.Parse(action.Path)
	if err != nil {
		target = &url.URL{Path: action.Path}
	}
	target.Scheme = strings.ToLower(string(action.Scheme))
	if target.Scheme == "" {
		target.Scheme = "http"
	}
	target.Host = net.JoinHostPort(host, strconv.Itoa(port))
	if target.Path != "" && !strings.HasPrefix(target.Path, "/") {
		target.Path = "/" + target.Path
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, err
	}
	setHeaders(request, action.HTTPHeaders, agent)
	return request, nil
}

func setHeaders(request *http.Request, headers []v1.HTTPHeader, agent string) {
	for _, h := range headers {
		request.Header.Add(h.Name, h.Value)
		if http.CanonicalHeaderKey(h.Name) == "Host" {
			request.Host = h.Value
		}
	}
	if _, ok := request.Header["User-Agent"]; !ok {
		request.Header.Set("User-Agent", agent)
	}
	if _, ok := request.Header["Accept"]; !ok {
		request.Header.Set("Accept", "*/*")
	}
}

// errLeftHost stops redirects that leave the container.
var errLeftHost = errors.New("redirect to another host")

// client makes one connection for each request: a container is not to be kept busy by idle connections.
var client = &http.Client{
	Transport: &http.Transport{
		DisableKeepAlives:  true,
		DisableCompression: true,
		TLSClientConfig:    &tls.Config{InsecureSkipVerify: true}, // containers are checked by address, not by name
	},
	CheckRedirect: func(request *http.Request, via []*http.Request) error {
		if request.URL.Hostname() != via[0].URL.Hostname() {
			return errLeftHost
		}
		if len(via) >= 10 {
			return errors.New("stopped after 10 redirects")
		}
		return nil
	},
}

// HTTP sends the request and returns the status code and the beginning of the body. A redirect to another host
// counts as the answer it is.
func HTTP(request *http.Request) (int, string, error) {
	response, err := client.Do(request)
	if errors.Is(err, errLeftHost) && response != nil {
		return response.StatusCode, "", nil
	}
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return 0, "", err
	}
	return response.StatusCode, string(body), nil
}

// TCP opens a connection and closes it.
func TCP(ctx context.Context, host string, port int) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return err
	}
	return conn.Close()
}

// GRPC asks the health service about a service and returns an error unless it is serving.
func GRPC(ctx context.Context, host string, port int, service, agent string, timeout time.Duration) error {
	conn, err := grpc.NewClient("passthrough:///"+net.JoinHostPort(host, strconv.Itoa(port)),
		grpc.WithUserAgent(agent), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	response, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{Service: service}, grpc.WaitForReady(true))
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("timeout: failed to connect service %q within %v: %w", net.JoinHostPort(host, strconv.Itoa(port)), timeout, err)
		}
		return err
	}
	if response.Status != healthpb.HealthCheckResponse_SERVING {
		return fmt.Errorf("service unhealthy (responded with %q)", response.Status)
	}
	return nil
}
