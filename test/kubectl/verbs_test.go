package kubectl

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	certutil "k8s.io/client-go/util/cert"

	"github.com/yare-io/yare/test/cluster"
)

// TestKubectlCommands runs what is not about one resource: the generators, and
// the commands that look at the cluster as a whole.
func TestKubectlCommands(t *testing.T) {
	node := cluster.StartServer(t, cluster.NewLAN(t).NewHost("one"), "--disable-agent", "--storage-backend=memory")
	waitForAccount(t, node)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "app.conf"), []byte("a=b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	kustomization := "configMapGenerator: [{name: generated, files: [app.conf]}]\n"
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(kustomization), 0o600); err != nil {
		t.Fatal(err)
	}
	writePair(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "kubectl-hello"), []byte("#!/bin/sh\necho a plugin\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	for _, step := range []struct{ command, want string }{
		{"create namespace made", "namespace/made created"},
		{"create configmap made --from-literal=a=b --from-file=" + dir + "/app.conf", "configmap/made created"},
		{"create secret generic made --from-literal=a=b", "secret/made created"},
		{"create secret docker-registry pull --docker-username=u --docker-password=p --docker-server=example.com", "secret/pull created"},
		{"create secret tls pair --cert=" + dir + "/tls.crt --key=" + dir + "/tls.key", "secret/pair created"},
		{"create serviceaccount made", "serviceaccount/made created"},
		{"create token made", "."},
		{"create role made --verb=get,list --resource=pods,services", "role.rbac.authorization.k8s.io/made created"},
		{"create rolebinding made --role=made --serviceaccount=default:made", "rolebinding.rbac.authorization.k8s.io/made created"},
		{"create clusterrole made --verb=get --resource=nodes", "clusterrole.rbac.authorization.k8s.io/made created"},
		{"create clusterrolebinding made --clusterrole=made --user=jane", "clusterrolebinding.rbac.authorization.k8s.io/made created"},
		{"create quota made --hard=configmaps=10", "resourcequota/made created"},
		{"create priorityclass made --value=7", "priorityclass.scheduling.k8s.io/made created"},
		{"create poddisruptionbudget made --selector=app=made --min-available=1", "poddisruptionbudget.policy/made created"},
		{"create deployment made --image=yare.local/demo:v1 --replicas=2", "deployment.apps/made created"},
		{"create job made --image=yare.local/demo:v1", "job.batch/made created"},
		{"create cronjob made --image=yare.local/demo:v1 --schedule=@yearly", "cronjob.batch/made created"},
		{"create job second --from=cronjob/made", "job.batch/second created"},
		{"create ingress made --rule=example.com/=made:80", "ingress.networking.k8s.io/made created"},
		{"create service clusterip one --tcp=80:8080", "service/one created"},
		{"create service nodeport two --tcp=80:8080", "service/two created"},
		{"create service externalname three --external-name=example.com", "service/three created"},
		{"create service loadbalancer five --tcp=80:8080", "service/five created"},
		{"run made --image=yare.local/demo:v1 --labels=app=made", "pod/made created"},
		{"expose pod made --port=80 --name=four", "service/four exposed"},
		{"expose deployment made --port=80", "service/made exposed"},
		{"autoscale deployment made --min=1 --max=3 --cpu=50%", "autoscaled"},
		{"scale deployment made --replicas=1 --current-replicas=2", "deployment.apps/made scaled"},
		{"set image deployment/made demo=yare.local/demo:v2", "deployment.apps/made image updated"},
		{"set env deployment/made A=B", "deployment.apps/made env updated"},
		{"set resources deployment/made --limits=cpu=100m,memory=64Mi", "resource requirements updated"},
		{"set serviceaccount deployment/made made", "serviceaccount updated"},
		{"set selector service/one app=made", "selector updated"},
		{"set subject clusterrolebinding/made --user=joe", "subjects updated"},
		{"annotate deployment/made note=yes", "annotated"},
		{`patch deployment/made --type=json -p [{"op":"replace","path":"/spec/replicas","value":1}]`, "patched"},
		{`patch deployment/made --type=strategic -p {"spec":{"minReadySeconds":1}}`, "patched"},
		{"get deployment/made -o jsonpath={.spec.minReadySeconds}", "1"},
		{"get deployment/made -o json", `"kind": "Deployment"`},
		{"wait --for=jsonpath={.spec.replicas}=1 deployment/made --timeout=10s", "condition met"},
		{"kustomize " + dir, "kind: ConfigMap"},
		{"apply -k " + dir, "created"},
		{"debug made --image=yare.local/demo:v1 --container=helper", ""},
		{"get pod made -o jsonpath={.spec.ephemeralContainers[0].name}", "helper"},
		{"debug made --image=yare.local/demo:v1 --copy-to=copied --container=second", ""},
		{"get pod copied -o jsonpath={.spec.containers[*].name}", "second"},
		{"config get-contexts", "admin@yare"},
		{"config view --minify", "DATA+OMITTED"},
		{"apply -f -", "configured"},
		{"apply view-last-applied configmap/made", "kind: ConfigMap"},
		{"apply set-last-applied -f -", "configured"},
		{"apply edit-last-applied configmap/made", "configmap/made edited"},
		{"apply view-last-applied configmap/made -o json", `"edited"`},
		{"auth can-i --list", "[*]"},
		{"auth can-i get pods --subresource=log", "yes"},
		{"auth can-i get /healthz", "yes"},
		{"auth whoami -o yaml", "kind: SelfSubjectReview"},
		{"create configmap files --from-env-file=" + dir + "/app.conf --append-hash", "configmap/files-"},
		{"create deployment many --image=a --image=b --port=80 --dry-run=server -o yaml", "containerPort: 80"},
		{"create clusterrole summed --aggregation-rule=a=b", "clusterrole.rbac.authorization.k8s.io/summed created"},
		{"create clusterrole paths --verb=get --non-resource-url=/logs/*", "clusterrole.rbac.authorization.k8s.io/paths created"},
		{"create poddisruptionbudget most --selector=app=made --max-unavailable=50%", "poddisruptionbudget.policy/most created"},
		{"create ingress secure --rule=example.com/*=made:80,tls=pair --default-backend=made:80 --annotation=a=b --class=none", "ingress.networking.k8s.io/secure created"},
		{"create priorityclass never --value=8 --preemption-policy=Never --description=d", "priorityclass.scheduling.k8s.io/never created"},
		{"create quota scoped --hard=pods=100 --scopes=BestEffort", "resourcequota/scoped created"},
		{"create secret generic typed --type=example.com/x --from-file=" + dir + "/app.conf", "secret/typed created"},
		{"create token made --audience=a --duration=10m --bound-object-kind=Secret --bound-object-name=made", "."},
		{"create -f -", "created"},
		{"patch deployment/made --subresource=scale --type=merge -p {\"spec\":{\"replicas\":1}}", "patched"},
		{"get deployment/made --subresource=scale -o jsonpath={.kind}", "Scale"},
		{"set env deployment/made --list", "A=B"},
		{"label pods --all tested=all --overwrite", "labeled"},
		{"annotate --overwrite -f - note=again", "annotated"},
		{"get pods -o name --chunk-size=1", "pod/made"},
		{"get pods -L app", "APP"},
		{"get pods -o go-template={{range.items}}{{.metadata.name}}{{end}}", "made"},
		{"options", "--kubeconfig"},
		{"completion bash", "__start_kubectl"},
		{"get configmaps made --watch --request-timeout=1s", "made"},
		{"plugin list", "kubectl-hello"},
		{"rollout history deployment/made", "REVISION"},
		{"rollout pause deployment/made", "paused"},
		{"rollout resume deployment/made", "resumed"},
		{"rollout restart deployment/made", "restarted"},
		{"rollout restart statefulset/sample", "restarted"},
		{"rollout restart daemonset/sample", "restarted"},
		{"wait --for=create pod/made --timeout=10s", "condition met"},
		{"get pods --sort-by=.metadata.name --show-labels", "app=made"},
		{"get all -A", "service/kubernetes"},
		{"get pods --field-selector=metadata.name=made -o custom-columns=NAME:.metadata.name,PHASE:.status.phase", "Pending"},
		{"get --raw /api/v1/namespaces/default/pods/made", `"kind":"Pod"`},
		{"auth can-i create pods", "yes"},
		{"auth can-i --list --as=system:serviceaccount:default:made", "services"},
		{"auth can-i get secrets --as=jane", "no"},
		{"auth whoami", "kubernetes-admin"},
		{"auth reconcile -f -", "reconciled"},
		{"api-resources --namespaced=false", "namespaces"},
		{"api-resources -o wide", "create,delete,deletecollection"},
		{"api-versions", "apps/v1"},
		{"cluster-info", "is running at"},
		{"cluster-info dump --output-directory=" + dir, "dumped to"},
		{"version", "Server Version: v1.37"},
		{"explain deployment.spec.strategy.rollingUpdate", "maxSurge"},
		{"events", ""},
		{"events --for pod/made --types=Normal", ""},
		{"taint nodes --all key=value:NoSchedule", "tainted"},
		{"cordon made-node", "cordoned"},
		{"drain made-node --ignore-daemonsets", "drained"},
		{"uncordon made-node", "uncordoned"},
		{"debug node/made-node --image=yare.local/demo:v1", "Creating debugging pod"},
		{"certificate approve made-request", "approved"},
		{"certificate deny denied-request", "denied"},
		{"replace -f -", "replaced"},
		{"replace --force -f -", "replaced"},
		{"delete deployment,service,job,cronjob,pod -l app=made --now", "deleted"},
		{"delete namespace made", "deleted"},
	} {
		t.Run(step.command, func(t *testing.T) {
			out, err := node.KubectlInput(inputOf(t, node, step.command), strings.Fields(step.command)...)
			if err != nil && !(strings.Contains(step.command, "can-i") && strings.HasPrefix(out, "no")) {
				t.Errorf("%v\n%s", err, out)
			}
			if !strings.Contains(out, step.want) {
				t.Errorf("printed %q, want %q", out, step.want)
			}
		})
	}
	if _, err := node.Kubectl("top", "nodes"); err == nil || !strings.Contains(err.Error(), "Metrics API not available") {
		t.Errorf("top without metrics said %v", err)
	}
}

// writePair writes a certificate and its key.
func writePair(t *testing.T, dir string) {
	t.Helper()
	cert, key, err := certutil.GenerateSelfSignedCertKey("example.com", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"tls.crt": cert, "tls.key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestProxy asks through kubectl proxy, which adds the credentials.
func TestProxy(t *testing.T) {
	node := cluster.StartServer(t, cluster.NewLAN(t).NewHost("one"), "--disable-agent", "--storage-backend=memory")
	socket := filepath.Join(t.TempDir(), "socket")
	ctx, cancel := context.WithCancel(t.Context())
	proxy := node.Command(ctx, cluster.Binary(t, "kubectl"), "--kubeconfig="+node.Kubeconfig(), "proxy", "--unix-socket="+socket)
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); _ = proxy.Wait() }()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	defer client.CloseIdleConnections()
	node.Eventually(20*time.Second, func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/api/v1/namespaces/kube-system", nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err == nil && !strings.Contains(string(body), `"kind":"Namespace"`) {
			err = fmt.Errorf("the proxy answers %s: %s", response.Status, body)
		}
		return err
	})
}

// inputOf prepares what a command needs beside its words.
func inputOf(t *testing.T, node *cluster.Node, command string) string {
	t.Helper()
	samples := readSamples(t)
	rename := func(kind, name string) string {
		for gvk, s := range samples {
			if gvk.Kind == kind {
				return strings.ReplaceAll(s.manifest, "name: sample", "name: "+name)
			}
		}
		t.Fatalf("no sample of a %s", kind)
		return ""
	}
	apply := func(manifest string) {
		if out, err := node.KubectlInput(manifest, "apply", "-f", "-"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	switch {
	case strings.HasPrefix(command, "taint"):
		apply(rename("Node", "made-node"))
	case strings.HasPrefix(command, "rollout restart statefulset"):
		apply(rename("StatefulSet", "sample"))
	case strings.HasPrefix(command, "rollout restart daemonset"):
		apply(rename("DaemonSet", "sample"))
	case strings.HasPrefix(command, "certificate deny"):
		apply(rename("CertificateSigningRequest", "denied-request"))
	case strings.HasPrefix(command, "certificate"):
		apply(rename("CertificateSigningRequest", "made-request"))
	case strings.HasPrefix(command, "create -f"):
		return rename("ConfigMap", "posted")
	case strings.HasPrefix(command, "apply edit-last-applied"):
		t.Setenv("KUBE_EDITOR", `sed -i 's/^data:/data:\n  edited: "yes"/'`)
	case strings.HasPrefix(command, "replace"), strings.HasPrefix(command, "apply -f"), strings.HasPrefix(command, "apply set"), strings.HasPrefix(command, "annotate --overwrite"):
		return rename("ConfigMap", "made")
	case strings.HasPrefix(command, "auth reconcile"):
		return rename("ClusterRole", "made")
	}
	return ""
}
