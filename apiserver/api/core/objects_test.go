package core

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/apiserver/api/rowtest"
)

func creates(t *testing.T, name, base string, cases rowtest.Cases) {
	t.Helper()
	rowtest.Creates(t, rowtest.Row(t, Resources(Deps{Clock: clock.RealClock{}}), name), base, cases)
}

func updates(t *testing.T, name, base string, cases rowtest.Cases) {
	t.Helper()
	r := rowtest.Row(t, Resources(Deps{Clock: clock.RealClock{}}), name)
	rowtest.Updates(t, r, &r.Strategy, base, cases)
}

func TestConfigMap(t *testing.T) {
	const base = "{metadata: {name: a, namespace: b}, data: {k: v}}"
	creates(t, "configmaps", base, rowtest.Cases{
		{"bad key", "data: {'a b': c}", []string{"Invalid data[a b]"}},
		{"key twice", "binaryData: {k: dg==}", []string{"Invalid data[k]"}},
		{"too large", "data: {k: " + strings.Repeat("x", 1<<20+1) + "}", []string{"TooLong []"}},
	})
	updates(t, "configmaps", "{metadata: {name: a, namespace: b}, data: {k: v}, immutable: true}", rowtest.Cases{
		{"other data", "data: {k: w}", []string{"Forbidden data"}},
		{"mutable again", "immutable: null", []string{"Forbidden immutable"}},
		{"a label", "metadata: {labels: {a: b}}", nil},
	})
}

func TestSecret(t *testing.T) {
	const base = "{metadata: {name: a, namespace: b}, stringData: {k: v}}"
	creates(t, "secrets", base, rowtest.Cases{
		{"TLS without a key", "{type: kubernetes.io/tls, stringData: {tls.crt: x}}", []string{"Required data[tls.key]"}},
		{"token of nobody", "type: kubernetes.io/service-account-token", []string{"Required metadata.annotations[kubernetes.io/service-account.name]"}},
		{"docker config that is none", "{type: kubernetes.io/dockerconfigjson, stringData: {.dockerconfigjson: x}}", []string{"Invalid data[.dockerconfigjson]"}},
		{"SSH without a key", "type: kubernetes.io/ssh-auth", []string{"Required data[ssh-privatekey]"}},
		{"basic auth without anything", "type: kubernetes.io/basic-auth", []string{"Required data[password]", "Required data[username]"}},
	})
	updates(t, "secrets", base, rowtest.Cases{
		{"another type", "type: example.com/x", []string{"Invalid type"}},
		{"other data", "stringData: {k: w}", nil},
	})
	r := rowtest.Row(t, Resources(Deps{}), "secrets")
	s := rowtest.Object(t, r, base, "").(*corev1.Secret)
	rowtest.Create(r, s)
	if string(s.Data["k"]) != "v" || s.StringData != nil || s.Type != corev1.SecretTypeOpaque {
		t.Errorf("text was not taken over: %+v", s)
	}
}

func TestNamespace(t *testing.T) {
	const base = "{metadata: {name: a}}"
	creates(t, "namespaces", base, rowtest.Cases{
		{"bad finalizer", "spec: {finalizers: ['a b']}", []string{"Invalid spec.finalizers[0]"}},
		{"finalizer without a domain", "spec: {finalizers: [mine]}", []string{"Invalid spec.finalizers[0]"}},
	})
	r := rowtest.Row(t, Resources(Deps{}), "namespaces")
	n := rowtest.Object(t, r, base, "").(*corev1.Namespace)
	rowtest.Create(r, n)
	if n.Labels[corev1.LabelMetadataName] != "a" || len(n.Spec.Finalizers) != 1 || n.Status.Phase != corev1.NamespaceActive {
		t.Errorf("new namespace: %+v", n)
	}
	if r.Delete.Finished(n) {
		t.Error("a namespace with a finalizer may go")
	}
	r.Delete.PrepareForDelete(t.Context(), n)
	if n.Status.Phase != corev1.NamespaceTerminating {
		t.Errorf("phase %s", n.Status.Phase)
	}
}

func TestNode(t *testing.T) {
	const base = "{metadata: {name: a}}"
	creates(t, "nodes", base, rowtest.Cases{
		{"taint twice", "spec: {taints: [{key: a, effect: NoSchedule}, {key: a, effect: NoSchedule, value: x}]}", []string{"Duplicate spec.taints[1]"}},
		{"bad effect", "spec: {taints: [{key: a, effect: Never}]}", []string{"NotSupported spec.taints[0].effect"}},
		{"two networks of a family", "spec: {podCIDRs: [10.0.0.0/24, 10.0.1.0/24]}", []string{"Invalid spec.podCIDRs"}},
	})
	updates(t, "nodes", "{metadata: {name: a}, spec: {podCIDR: 10.0.0.0/24, podCIDRs: [10.0.0.0/24], providerID: x}}", rowtest.Cases{
		{"cordon", "spec: {unschedulable: true}", nil},
		{"another network", "spec: {podCIDRs: [10.1.0.0/24]}", []string{"Forbidden spec.podCIDRs"}},
		{"another provider", "spec: {providerID: y}", []string{"Forbidden spec.providerID"}},
	})
	updates(t, "nodes", base, rowtest.Cases{{"a first network", "spec: {podCIDR: 10.0.0.0/24, podCIDRs: [10.0.0.0/24]}", nil}})
}

func TestEndpoints(t *testing.T) {
	creates(t, "endpoints", "{metadata: {name: a, namespace: b}, subsets: [{addresses: [{ip: 10.0.0.1}], ports: [{port: 80}]}]}", rowtest.Cases{
		{"nobody", "subsets: [{ports: [{port: 80}]}]", []string{"Required subsets[0]"}},
		{"loopback", "subsets: [{addresses: [{ip: 127.0.0.1}]}]", []string{"Invalid subsets[0].addresses[0].ip"}},
		{"address that is none", "subsets: [{addresses: [{ip: x}]}]", []string{"Invalid subsets[0].addresses[0].ip"}},
		{"ports without names", "subsets: [{addresses: [{ip: 10.0.0.1}], ports: [{port: 80}, {port: 81, name: b}]}]", []string{"Required subsets[0].ports[0].name"}},
	})
}

func TestEvent(t *testing.T) {
	creates(t, "events", "{metadata: {name: a, namespace: b}, involvedObject: {namespace: b}}", rowtest.Cases{
		{"of another namespace", "involvedObject: {namespace: c}", []string{"Invalid involvedObject.namespace"}},
		{"of the cluster, elsewhere", "involvedObject: {namespace: ''}", []string{"Invalid involvedObject.namespace"}},
		{"of the cluster, in default", "{metadata: {namespace: default}, involvedObject: {namespace: ''}}", nil},
	})
}

func TestLimitRange(t *testing.T) {
	const base = "{metadata: {name: a, namespace: b}, spec: {limits: [{type: Container, max: {cpu: 2}, min: {cpu: 1}}]}}"
	creates(t, "limitranges", base, rowtest.Cases{
		{"type twice", "spec: {limits: [{type: Pod}, {type: Pod}]}", []string{"Duplicate spec.limits[1].type"}},
		{"min above max", "spec: {limits: [{type: Pod, max: {cpu: 1}, min: {cpu: 2}}]}", []string{"Invalid spec.limits[0].min[cpu]"}},
		{"default of pods", "spec: {limits: [{type: Pod, default: {cpu: 1}}]}", []string{"Forbidden spec.limits[0].default"}},
		{"claims without storage", "spec: {limits: [{type: PersistentVolumeClaim}]}", []string{"Required spec.limits[0].limits"}},
	})
	r := rowtest.Row(t, Resources(Deps{}), "limitranges")
	l := rowtest.Object(t, r, base, "").(*corev1.LimitRange)
	rowtest.Create(r, l)
	item := l.Spec.Limits[0]
	if cpu := item.Default[corev1.ResourceCPU]; cpu.String() != "2" {
		t.Errorf("default %s, want the maximum", cpu.String())
	}
	if cpu := item.DefaultRequest[corev1.ResourceCPU]; cpu.String() != "2" {
		t.Errorf("default request %s, want the default", cpu.String())
	}
}

func TestResourceQuota(t *testing.T) {
	const base = "{metadata: {name: a, namespace: b}, spec: {hard: {pods: 3}}}"
	creates(t, "resourcequotas", base, rowtest.Cases{
		{"half a pod", "spec: {hard: {pods: 500m}}", []string{"Invalid spec.hard[pods]"}},
		{"negative", "spec: {hard: {pods: -1}}", []string{"Invalid spec.hard[pods]"}},
		{"scopes that exclude each other", "spec: {scopes: [BestEffort, NotBestEffort]}", []string{"Invalid spec.scopes"}},
		{"unknown scope", "spec: {scopes: [Best]}", []string{"Invalid spec.scopes"}},
	})
	updates(t, "resourcequotas", base, rowtest.Cases{
		{"more", "spec: {hard: {pods: 4}}", nil},
		{"another scope", "spec: {scopes: [BestEffort]}", []string{"Invalid spec.scopes"}},
	})
}

func TestPersistentVolume(t *testing.T) {
	const base = "{metadata: {name: a}, spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /a}}}"
	creates(t, "persistentvolumes", base, rowtest.Cases{
		{"no size", "spec: {capacity: null}", []string{"Required spec.capacity"}},
		{"no mode", "spec: {accessModes: []}", []string{"Required spec.accessModes"}},
		{"no source", "spec: {hostPath: null}", []string{"Required spec"}},
		{"exclusive and shared", "spec: {accessModes: [ReadWriteOncePod, ReadWriteOnce]}", []string{"Forbidden spec.accessModes"}},
		{"recycling the root", "spec: {hostPath: {path: /}, persistentVolumeReclaimPolicy: Recycle}", []string{"Forbidden spec.persistentVolumeReclaimPolicy"}},
		{"local without a node", "spec: {hostPath: null, local: {path: /a}}", []string{"Required spec.nodeAffinity"}},
	})
	updates(t, "persistentvolumes", base, rowtest.Cases{
		{"another source", "spec: {hostPath: {path: /b}}", []string{"Forbidden spec.persistentvolumesource"}},
		{"another policy", "spec: {persistentVolumeReclaimPolicy: Delete}", nil},
		{"a block device", "spec: {volumeMode: Block}", []string{"Invalid spec.volumeMode"}},
	})
}

func TestPersistentVolumeClaim(t *testing.T) {
	const base = "{metadata: {name: a, namespace: b}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}"
	creates(t, "persistentvolumeclaims", base, rowtest.Cases{
		{"no size", "spec: {resources: null}", []string{"Required spec.resources[storage]"}},
		{"zero size", "spec: {resources: {requests: {storage: 0}}}", []string{"Invalid spec.resources[storage]"}},
		{"bad mode", "spec: {accessModes: [Sometimes]}", []string{"NotSupported spec.accessModes"}},
		{"from a kind of no group", "spec: {dataSource: {kind: Pod, name: x}}", []string{"Invalid spec.dataSource", "Invalid spec.dataSourceRef"}},
	})
	updates(t, "persistentvolumeclaims", base, rowtest.Cases{
		{"bound", "spec: {volumeName: v}", nil},
		{"grown while unbound", "spec: {resources: {requests: {storage: 2Gi}}}", []string{"Forbidden spec"}},
	})
	bound := "{metadata: {name: a, namespace: b}, status: {phase: Bound, capacity: {storage: 1Gi}}, spec: {volumeName: v, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}"
	updates(t, "persistentvolumeclaims", bound, rowtest.Cases{
		{"grown", "spec: {resources: {requests: {storage: 2Gi}}}", nil},
		{"shrunk", "spec: {resources: {requests: {storage: 500Mi}}}", []string{"Forbidden spec.resources.requests.storage"}},
		{"another volume", "spec: {volumeName: w}", []string{"Forbidden spec"}},
	})
}

func TestReplicationController(t *testing.T) {
	const base = "{metadata: {name: a, namespace: b}, spec: {template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}}"
	creates(t, "replicationcontrollers", base, rowtest.Cases{
		{"no template", "spec: {template: null, selector: {a: b}}", []string{"Required spec.template"}},
		{"selector of others", "spec: {selector: {a: c}}", []string{"Invalid spec.template.metadata.labels"}},
		{"fewer than none", "spec: {replicas: -1}", []string{"Invalid spec.replicas"}},
		{"pods that end", "spec: {template: {spec: {restartPolicy: Never}}}", []string{"NotSupported spec.template.spec.restartPolicy"}},
	})
}

func TestGenerations(t *testing.T) {
	r := podRow(t)
	old := rowtest.Object(t, r, pod, "").(*corev1.Pod)
	rowtest.Create(r, old)
	if old.Generation != 1 || old.Status.Phase != corev1.PodPending || old.Status.QOSClass != corev1.PodQOSBestEffort {
		t.Errorf("new pod: generation %d, status %+v", old.Generation, old.Status)
	}
	for change, want := range map[string]int64{"metadata: {labels: {a: b}}": 1, "status: {phase: Running}": 1, "spec: {activeDeadlineSeconds: 4}": 2} {
		p := rowtest.Object(t, r, pod, change).(*corev1.Pod)
		p.Generation = 7
		rowtest.Expect(t, rowtest.Update(&r.Strategy, p, old))
		if p.Generation != want || p.Status.Phase != corev1.PodPending {
			t.Errorf("%s: generation %d, want %d; phase %s", change, p.Generation, want, p.Status.Phase)
		}
	}
}

func TestPodGrace(t *testing.T) {
	ten, minus := int64(10), int64(-5)
	for name, c := range map[string]struct {
		change string
		ask    *int64
		want   int64
	}{
		"unscheduled":        {"", nil, 0},
		"its own":            {"spec: {nodeName: n}", nil, 30},
		"the client's":       {"spec: {nodeName: n}", &ten, 10},
		"negative":           {"spec: {nodeName: n}", &minus, 1},
		"already ended":      {"{spec: {nodeName: n}, status: {phase: Succeeded}}", &ten, 0},
		"unscheduled, asked": {"", &ten, 0},
	} {
		r := podRow(t)
		p := rowtest.Object(t, r, pod, c.change)
		r.Strategy.Default(p)
		got, graceful := r.Delete.GracePeriod(t.Context(), p, &metav1.DeleteOptions{GracePeriodSeconds: c.ask})
		if got != c.want || !graceful {
			t.Errorf("%s: %d seconds, want %d", name, got, c.want)
		}
	}
}
