// Package clusterdns puts CoreDNS on a cluster: a Deployment like any other,
// behind the service address that the kubelets give to pods.
package clusterdns

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"text/template"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
)

//go:embed clusterdns.yaml
var manifest string

var manifestTemplate = template.Must(template.New("clusterdns").Parse(manifest))

// hashAnnotation tells which manifest an object was last written from, so that
// what people changed by hand stays until a new version brings another one.
const hashAnnotation = "yare.io/manifest-hash"

// Options of a cluster's DNS.
type Options struct {
	// ClusterIP is the service's address.
	ClusterIP netip.Addr
	// Domain is the cluster's, "cluster.local" by default.
	Domain string
	// Upstream is set when queries for other names can be passed on to the
	// name servers in the node's resolv.conf.
	Upstream bool
}

// Apply creates what cluster DNS consists of and replaces what an older
// version created.
func Apply(ctx context.Context, client dynamic.Interface, options Options) error {
	objects, err := render(options)
	if err != nil {
		return err
	}
	for _, object := range objects {
		if err := apply(ctx, client, object); err != nil {
			return fmt.Errorf("cluster DNS: %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	return nil
}

func render(options Options) ([]*unstructured.Unstructured, error) {
	var text bytes.Buffer
	if err := manifestTemplate.Execute(&text, options); err != nil {
		return nil, err
	}
	var objects []*unstructured.Unstructured
	documents := yaml.NewYAMLReader(bufio.NewReader(&text))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(document, object); err != nil {
			return nil, err
		}
		sum := sha256.Sum256(document)
		object.SetAnnotations(map[string]string{hashAnnotation: hex.EncodeToString(sum[:8])})
		objects = append(objects, object)
	}
}

func apply(ctx context.Context, client dynamic.Interface, object *unstructured.Unstructured) error {
	resource, _ := meta.UnsafeGuessKindToResource(object.GroupVersionKind())
	var objects dynamic.ResourceInterface = client.Resource(resource)
	if namespace := object.GetNamespace(); namespace != "" {
		objects = client.Resource(resource).Namespace(namespace)
	}
	have, err := objects.Get(ctx, object.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = objects.Create(ctx, object, metav1.CreateOptions{})
		return err
	}
	if err != nil || have.GetAnnotations()[hashAnnotation] == object.GetAnnotations()[hashAnnotation] {
		return err
	}
	object.SetResourceVersion(have.GetResourceVersion())
	_, err = objects.Update(ctx, object, metav1.UpdateOptions{})
	return err
}

// HasUpstream reports whether a resolv.conf names a server that a pod can
// reach: one that is not on the loopback interface.
func HasUpstream(file string) bool {
	data, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if address, err := netip.ParseAddr(fields[1]); err == nil && !address.IsLoopback() {
			return true
		}
	}
	return false
}
