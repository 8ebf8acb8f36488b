package staticpod_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/yare-io/yare/kubelet/staticpod"
)

const manifest = `
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  hostNetwork: true
  containers:
  - name: c
    image: example.com/app
    ports: [{containerPort: 80}]
    resources: {limits: {cpu: 100m}}
`

func TestDecodeMakesAStaticPod(t *testing.T) {
	pod, err := staticpod.Decode([]byte(manifest), "/p/web.yaml", "Node-1")
	if err != nil {
		t.Fatal(err)
	}
	if pod.Name != "web-node-1" || pod.Namespace != "default" || pod.Spec.NodeName != "Node-1" || pod.UID == "" {
		t.Errorf("pod: %+v", pod.ObjectMeta)
	}
	if pod.Annotations[staticpod.HashAnnotation] != string(pod.UID) || pod.Annotations[staticpod.SourceAnnotation] != "file" {
		t.Errorf("annotations: %v", pod.Annotations)
	}
	c := pod.Spec.Containers[0]
	if pod.Spec.RestartPolicy != v1.RestartPolicyAlways || c.ImagePullPolicy != v1.PullAlways || c.Ports[0].HostPort != 80 ||
		c.Ports[0].Protocol != v1.ProtocolTCP || c.Resources.Requests.Cpu().MilliValue() != 100 {
		t.Errorf("defaults: %+v", pod.Spec)
	}
	changed, err := staticpod.Decode([]byte(strings.Replace(manifest, "100m", "200m", 1)), "/p/web.yaml", "Node-1")
	if err != nil || changed.UID == pod.UID {
		t.Errorf("a changed file keeps its UID (%v)", err)
	}
}

func TestReadLeavesOutWhatIsNoPod(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.yaml": manifest, "same-again.yaml": manifest, ".hidden": manifest, "broken": "{", "service": "apiVersion: v1\nkind: Service",
		"typo":    strings.Replace(manifest, "containers", "contaners", 1),
		"account": strings.Replace(manifest, "hostNetwork: true", "serviceAccountName: x", 1),
		"volume":  strings.Replace(manifest, "hostNetwork: true", "volumes: [{name: ../x, emptyDir: {}}]", 1),
		"big":     strings.Repeat("#", 2<<20),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	pods, err := staticpod.Read(dir, "n")
	if len(pods) != 1 || pods[0].Name != "web-n" {
		t.Errorf("pods: %v", pods)
	}
	for _, name := range []string{"same-again.yaml", "broken", "service", "typo", "account", "volume", "big"} {
		if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, name)+": ") {
			t.Errorf("nothing is said of %s: %v", name, err)
		}
	}
	if pods, err := staticpod.Read(filepath.Join(dir, "none"), "n"); pods != nil || err != nil {
		t.Errorf("no directory: %v, %v", pods, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(manifest))
	f.Add([]byte(`{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"name":"a","image":"b"}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		pod, err := staticpod.Decode(data, "/p", "n")
		if err == nil && (pod.UID == "" || len(pod.Spec.Containers) == 0 || !strings.HasSuffix(pod.Name, "-n")) {
			t.Errorf("accepted: %+v", pod)
		}
	})
}
