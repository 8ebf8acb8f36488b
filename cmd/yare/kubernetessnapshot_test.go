package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/yare-io/yare/apiserver/api"
	"github.com/yare-io/yare/apiserver/registry"
	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/etcd"
	"github.com/yare-io/yare/storage/faulttest/process"
	"github.com/yare-io/yare/test/yaretest"
)

// kubernetesEtcd is an etcd of the system with what kube-apiserver writes.
type kubernetesEtcd struct {
	t       *testing.T
	address string
	store   storage.Store
	// objects are those that can be read through the API.
	objects []storedObject
}

type storedObject struct {
	resource        schema.GroupVersionResource
	namespace, name string
	uid             string
}

// TestSnapshotOfKubernetesIsServed fills Debian's etcd as kube-apiserver does,
// lets etcdctl save it, restores that and reads all of it through the API.
func TestSnapshotOfKubernetesIsServed(t *testing.T) {
	e := newKubernetesEtcd(t)
	e.putPublished()
	e.putCustom()
	e.putService()
	e.putExpiring()
	file := e.save()

	dir, err := os.MkdirTemp("", "yare")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if out, err := yare(t, "etcd-snapshot", "restore", file, "--data-dir", dir); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	socket := "unix://" + filepath.Join(dir, "s")
	restored, err := etcd.Open(t.Context(), etcd.Config{Dir: filepath.Join(dir, "etcd"), Listen: []string{socket}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = restored.Close() })
	server := yaretest.Start(t, yaretest.WithFlags("--etcd-servers="+socket))
	client := dynamic.NewForConfigOrDie(server.Config())
	for _, o := range e.objects {
		o.check(t, client)
	}
	if len(e.objects) < 55 {
		t.Errorf("only %d objects were stored", len(e.objects))
	}
	checkAddresses(t, kubernetes.NewForConfigOrDie(server.Config()))
}

func newKubernetesEtcd(t *testing.T) *kubernetesEtcd {
	t.Helper()
	binary, err := exec.LookPath("etcd")
	if err != nil {
		t.Skip("etcd is not installed")
	}
	e := &kubernetesEtcd{t: t, address: freeAddress(t)}
	command := exec.Command(binary, "--data-dir", t.TempDir(), "--listen-client-urls", e.address, "--advertise-client-urls", e.address,
		"--listen-peer-urls", freeAddress(t), "--unsafe-no-fsync", "--log-level", "error")
	running, err := process.Start(command)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = running.Kill() })
	err = wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		conn, err := net.Dial("tcp", strings.TrimPrefix(e.address, "http://"))
		if err == nil {
			_ = conn.Close()
		}
		return err == nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if e.store, err = etcd.Open(t.Context(), etcd.Config{Endpoints: []string{e.address}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.store.Close() })
	return e
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return "http://" + listener.Addr().String()
}

func (e *kubernetesEtcd) put(key string, value []byte, ttl time.Duration) {
	e.t.Helper()
	if _, err := e.store.Create(e.t.Context(), "/registry/"+key, value, ttl); err != nil {
		e.t.Fatal(err)
	}
}

// putPublished writes the objects that k8s.io/api publishes as the stored form of
// each kind. Those by which the API server would judge its own writes stay out.
func (e *kubernetesEtcd) putPublished() {
	e.t.Helper()
	out, err := exec.CommandContext(e.t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/api").Output()
	if err != nil {
		e.t.Fatal(err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "testdata", "HEAD")
	for _, row := range api.Resources(api.Deps{}) {
		if row.StoragePrefix == "" || row.StoredAs != nil || row.Kind.Group == "admissionregistration.k8s.io" {
			continue
		}
		group := row.Kind.Group
		if group == "" {
			group = "core"
		}
		value, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("%s.%s.%s.pb", group, row.Kind.Version, row.Kind.Kind)))
		if err != nil {
			continue // a kind that is not in k8s.io/api
		}
		object, _, err := scheme.Codecs.UniversalDeserializer().Decode(value, nil, nil)
		if err != nil {
			e.t.Fatalf("%s: %v", row.Kind, err)
		}
		e.putAs(row, object.(metav1.Object), value)
	}
}

func (e *kubernetesEtcd) putAs(row *registry.Resource, object metav1.Object, value []byte) {
	e.t.Helper()
	o := storedObject{resource: row.Kind.GroupVersion().WithResource(row.Name), name: object.GetName(), uid: string(object.GetUID())}
	key := row.StoragePrefix + "/"
	if row.Namespaced {
		o.namespace = object.GetNamespace()
		key += o.namespace + "/"
	}
	e.put(key+o.name, value, 0)
	e.objects = append(e.objects, o)
}

// encoded is an object as kube-apiserver stores it.
func (e *kubernetesEtcd) encoded(object runtime.Object) []byte {
	e.t.Helper()
	kinds, _, err := scheme.Scheme.ObjectKinds(object)
	if err != nil {
		e.t.Fatal(err)
	}
	var out bytes.Buffer
	serializer := protobuf.NewSerializer(scheme.Scheme, scheme.Scheme)
	if err := scheme.Codecs.EncoderForVersion(serializer, kinds[0].GroupVersion()).Encode(object, &out); err != nil {
		e.t.Fatal(err)
	}
	return out.Bytes()
}

// putCustom writes a definition and an object of it, which are stored as JSON.
func (e *kubernetesEtcd) putCustom() {
	e.t.Helper()
	meta := func(name, namespace, uid string) map[string]any {
		m := map[string]any{"name": name, "uid": uid, "creationTimestamp": "2024-01-01T00:00:00Z", "generation": 1}
		if namespace != "" {
			m["namespace"] = namespace
		}
		return m
	}
	definition := map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": meta("ships.example.com", "", "crd-1"),
		"spec": map[string]any{
			"group": "example.com", "scope": "Namespaced", "conversion": map[string]any{"strategy": "None"},
			"names": map[string]any{"plural": "ships", "singular": "ship", "kind": "Ship", "listKind": "ShipList"},
			"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true, "schema": map[string]any{
				"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true},
			}}},
		},
		"status": map[string]any{
			"storedVersions": []any{"v1"}, "acceptedNames": map[string]any{"plural": "ships", "singular": "ship", "kind": "Ship", "listKind": "ShipList"},
			"conditions": []any{
				map[string]any{"type": "NamesAccepted", "status": "True", "lastTransitionTime": "2024-01-01T00:00:00Z", "reason": "NoConflicts", "message": "no conflicts found"},
				map[string]any{"type": "Established", "status": "True", "lastTransitionTime": "2024-01-01T00:00:00Z", "reason": "InitialNamesAccepted", "message": "ok"},
			},
		},
	}
	ship := map[string]any{"apiVersion": "example.com/v1", "kind": "Ship", "metadata": meta("argo", "default", "ship-1"), "spec": map[string]any{"oars": 50}}
	for key, object := range map[string]map[string]any{
		"apiextensions.k8s.io/customresourcedefinitions/ships.example.com": definition, "example.com/ships/default/argo": ship,
	} {
		value, err := json.Marshal(object)
		if err != nil {
			e.t.Fatal(err)
		}
		e.put(key, append(value, '\n'), 0)
	}
	e.objects = append(e.objects,
		storedObject{resource: schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}, name: "ships.example.com", uid: "crd-1"},
		storedObject{resource: schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "ships"}, namespace: "default", name: "argo", uid: "ship-1"})
}

const serviceAddress, servicePort = "10.96.0.77", 30077

// putService writes a service with its address and port, and the objects by which
// kube-apiserver remembers that these are taken.
func (e *kubernetesEtcd) putService() {
	e.t.Helper()
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default", UID: "service-1"},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeNodePort, ClusterIP: serviceAddress, ClusterIPs: []string{serviceAddress},
			IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol}, IPFamilyPolicy: new(corev1.IPFamilyPolicySingleStack),
			SessionAffinity: corev1.ServiceAffinityNone,
			Ports:           []corev1.ServicePort{{Protocol: corev1.ProtocolTCP, Port: 80, NodePort: servicePort}},
		},
	}
	address := &networkingv1.IPAddress{
		ObjectMeta: metav1.ObjectMeta{Name: serviceAddress, UID: "address-1", Labels: map[string]string{
			networkingv1.LabelIPAddressFamily: "IPv4", networkingv1.LabelManagedBy: "ipallocator.k8s.io",
		}},
		Spec: networkingv1.IPAddressSpec{ParentRef: &networkingv1.ParentReference{Resource: "services", Namespace: "default", Name: "web"}},
	}
	taken := func(bits ...int) []byte {
		set := new(big.Int)
		for _, bit := range bits {
			set.SetBit(set, bit, 1)
		}
		return set.Bytes()
	}
	e.put("services/specs/default/web", e.encoded(service), 0)
	e.put("ipaddresses/"+serviceAddress, e.encoded(address), 0)
	e.put("ranges/serviceips", e.encoded(&corev1.RangeAllocation{Range: "10.96.0.0/12", Data: taken(76)}), 0)
	e.put("ranges/servicenodeports", e.encoded(&corev1.RangeAllocation{Range: "30000-32767", Data: taken(servicePort - 30000)}), 0)
	e.objects = append(e.objects,
		storedObject{resource: corev1.SchemeGroupVersion.WithResource("services"), namespace: "default", name: "web", uid: "service-1"},
		storedObject{resource: networkingv1.SchemeGroupVersion.WithResource("ipaddresses"), name: serviceAddress, uid: "address-1"})
}

// putExpiring writes what has a lease of etcd.
func (e *kubernetesEtcd) putExpiring() {
	e.t.Helper()
	event := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Name: "web.1", Namespace: "default", UID: "event-1"},
		InvolvedObject: corev1.ObjectReference{Kind: "Service", Namespace: "default", Name: "web"}, Reason: "Tested", Type: corev1.EventTypeNormal,
	}
	e.put("events/default/web.1", e.encoded(event), time.Hour)
	e.objects = append(e.objects, storedObject{resource: corev1.SchemeGroupVersion.WithResource("events"), namespace: "default", name: "web.1", uid: "event-1"})
	e.put("masterleases/10.0.0.9", e.encoded(&corev1.Endpoints{
		Subsets: []corev1.EndpointSubset{{Addresses: []corev1.EndpointAddress{{IP: "10.0.0.9"}}}},
	}), 15*time.Second)
}

func (e *kubernetesEtcd) save() string {
	e.t.Helper()
	etcdctl, err := exec.LookPath("etcdctl")
	if err != nil {
		e.t.Skip("etcdctl is not installed")
	}
	file := filepath.Join(e.t.TempDir(), "snapshot.db")
	command := exec.CommandContext(e.t.Context(), etcdctl, "--endpoints", e.address, "snapshot", "save", file)
	command.Env = append(os.Environ(), "ETCDCTL_API=3")
	if out, err := command.CombinedOutput(); err != nil {
		e.t.Fatalf("etcdctl: %v\n%s", err, out)
	}
	return file
}

// check reads the object by its name and in a list.
func (o storedObject) check(t *testing.T, client dynamic.Interface) {
	t.Helper()
	objects := client.Resource(o.resource).Namespace(o.namespace)
	one, err := objects.Get(t.Context(), o.name, metav1.GetOptions{})
	if err != nil || string(one.GetUID()) != o.uid {
		t.Errorf("%s %s/%s: %v", o.resource, o.namespace, o.name, err)
		return
	}
	list, err := objects.List(t.Context(), metav1.ListOptions{})
	if err != nil || !slices.ContainsFunc(list.Items, func(u unstructured.Unstructured) bool { return string(u.GetUID()) == o.uid }) {
		t.Errorf("the list of %s has no %s: %v", o.resource, o.name, err)
	}
}

// checkAddresses finds that what the stored service has is taken.
func checkAddresses(t *testing.T, client kubernetes.Interface) {
	t.Helper()
	for what, spec := range map[string]corev1.ServiceSpec{
		"address": {ClusterIP: serviceAddress, Ports: []corev1.ServicePort{{Port: 80}}},
		"port":    {Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{{Port: 80, NodePort: servicePort}}},
	} {
		_, err := client.CoreV1().Services("default").Create(t.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "other-" + what}, Spec: spec}, metav1.CreateOptions{})
		if !apierrors.IsInvalid(err) {
			t.Errorf("another service with the same %s: %v", what, err)
		}
	}
}
