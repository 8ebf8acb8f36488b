package core

import (
	"testing"

	"github.com/yare-io/yare/apiserver/api/rowtest"
	"github.com/yare-io/yare/apiserver/registry"
)

const pod = `
metadata: {name: web, namespace: default}
spec:
  containers: [{name: c, image: app}]
`

// container changes the one container of pod.
func container(fields string) string {
	return "spec: {containers: [{name: c, image: app, " + fields + "}]}"
}

func podRow(t *testing.T) *registry.Resource {
	return rowtest.Row(t, Resources(Deps{}), "pods")
}

func part(t *testing.T, r *registry.Resource, name string) *registry.Strategy {
	t.Helper()
	for _, s := range r.Subresources {
		if s.Name == name {
			return s.Part
		}
	}
	t.Fatalf("%s has no part %s", r.Name, name)
	return nil
}

func TestPodSpec(t *testing.T) {
	rowtest.Creates(t, podRow(t), pod, rowtest.Cases{
		{"no container", "spec: {containers: []}", []string{"Required spec.containers"}},
		{"container without a name", "spec: {containers: [{image: app}]}", []string{"Required spec.containers[0].name"}},
		{"container without an image", "spec: {containers: [{name: c}]}", []string{"Required spec.containers[0].image"}},
		{"image with blanks", "spec: {containers: [{name: c, image: ' app'}]}", []string{"Invalid spec.containers[0].image"}},
		{"two containers of a name", "spec: {containers: [{name: c, image: a}, {name: c, image: b}]}", []string{"Duplicate spec.containers[1].name"}},
		{"init container of the same name", "spec: {initContainers: [{name: c, image: a}]}", []string{"Duplicate spec.initContainers[0].name"}},
		{"bad restart policy", "spec: {restartPolicy: Sometimes}", []string{"NotSupported spec.restartPolicy"}},
		{"bad DNS policy", "spec: {dnsPolicy: Custom}", []string{"NotSupported spec.dnsPolicy"}},
		{"DNS policy None alone", "spec: {dnsPolicy: None}", []string{"Required spec.dnsConfig"}},
		{"no deadline", "spec: {activeDeadlineSeconds: 0}", []string{"Invalid spec.activeDeadlineSeconds"}},
		{"bad node selector", "spec: {nodeSelector: {'a b': c}}", []string{"Invalid spec.nodeSelector"}},
		{"bad host name", "spec: {hostname: a.b}", []string{"Invalid spec.hostname"}},
		{"bad service account", "spec: {serviceAccountName: A}", []string{"Invalid spec.serviceAccountName"}},
		{"bad node name", "spec: {nodeName: A}", []string{"Invalid spec.nodeName"}},
		{"ephemeral container", "spec: {ephemeralContainers: [{name: d, image: a}]}", []string{"Forbidden spec.ephemeralContainers"}},
		{"gated and placed", "spec: {schedulingGates: [{name: a}], nodeName: n}", []string{"Forbidden spec.nodeName"}},
		{"gate twice", "spec: {schedulingGates: [{name: a}, {name: a}]}", []string{"Duplicate spec.schedulingGates[1]"}},
		{"toleration without a key", "spec: {tolerations: [{operator: Equal, value: x}]}", []string{"Invalid spec.tolerations[0].operator"}},
		{"toleration for some time of what does not evict", "spec: {tolerations: [{key: a, operator: Exists, effect: NoSchedule, tolerationSeconds: 3}]}", []string{"Invalid spec.tolerations[0].effect"}},
		{"spread without skew", "spec: {topologySpreadConstraints: [{topologyKey: zone, whenUnsatisfiable: DoNotSchedule, maxSkew: 0}]}", []string{"Invalid spec.topologySpreadConstraints[0].maxSkew"}},
		{"host alias without an address", "spec: {hostAliases: [{ip: x, hostnames: [a]}]}", []string{"Invalid spec.hostAliases[0].ip"}},
		{"affinity without a term", "spec: {affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: []}}}}",
			[]string{"Required spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"}},
		{"preference without weight", "spec: {affinity: {podAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 0, podAffinityTerm: {topologyKey: zone}}]}}}",
			[]string{"Invalid spec.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight"}},
		{"shared processes twice", "spec: {hostPID: true, shareProcessNamespace: true}", []string{"Invalid spec.shareProcessNamespace"}},
		{"user namespace on the host's network", "spec: {hostUsers: false, hostNetwork: true}", []string{"Forbidden spec.hostNetwork"}},
		{"sysctl twice", "spec: {securityContext: {sysctls: [{name: a.b, value: x}, {name: a.b, value: y}]}}", []string{"Duplicate spec.securityContext.sysctls[1].name"}},
		{"negative user", "spec: {securityContext: {runAsUser: -1}}", []string{"Invalid spec.securityContext.runAsUser"}},
		{"claim of resources below what its containers ask for", "spec: {resources: {requests: {cpu: 1m}}, containers: [{name: c, image: a, resources: {requests: {cpu: 2m}}}]}",
			[]string{"Invalid spec.resources.requests[cpu]"}},
	})
}

func TestPodContainer(t *testing.T) {
	rowtest.Creates(t, podRow(t), pod, rowtest.Cases{
		{"bad pull policy", container("imagePullPolicy: Never Ever"), []string{"NotSupported spec.containers[0].imagePullPolicy"}},
		{"port without a number", container("ports: [{name: a}]"), []string{"Required spec.containers[0].ports[0].containerPort"}},
		{"port out of range", container("ports: [{containerPort: 70000}]"), []string{"Invalid spec.containers[0].ports[0].containerPort"}},
		{"port name twice", container("ports: [{name: a, containerPort: 1}, {name: a, containerPort: 2}]"), []string{"Duplicate spec.containers[0].ports[1].name"}},
		{"host port twice", container("ports: [{hostPort: 1, containerPort: 1}, {hostPort: 1, containerPort: 2}]"), []string{"Duplicate spec.containers[0].ports[1].hostPort"}},
		{"variable without a name", container("env: [{value: x}]"), []string{"Required spec.containers[0].env[0].name"}},
		{"variable from nowhere", container("env: [{name: A, valueFrom: {}}]"), []string{"Invalid spec.containers[0].env[0].valueFrom"}},
		{"variable with two values", container("env: [{name: A, value: x, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]"), []string{"Invalid spec.containers[0].env[0].valueFrom"}},
		{"variable from a field nobody has", container("env: [{name: A, valueFrom: {fieldRef: {fieldPath: spec.nothing}}}]"), []string{"Invalid spec.containers[0].env[0].valueFrom.fieldRef.fieldPath"}},
		{"variable from a key without a name", container("env: [{name: A, valueFrom: {secretKeyRef: {key: k}}}]"), []string{"Required spec.containers[0].env[0].valueFrom.secretKeyRef.name"}},
		{"mount of no volume", container("volumeMounts: [{name: v, mountPath: /v}]"), []string{"NotFound spec.containers[0].volumeMounts[0].name"}},
		{"request above limit", container("resources: {requests: {cpu: 2}, limits: {cpu: 1}}"), []string{"Invalid spec.containers[0].resources.requests"}},
		{"negative limit", container("resources: {limits: {cpu: -1}}"), []string{"Invalid spec.containers[0].resources.limits[cpu]", "Invalid spec.containers[0].resources.requests[cpu]"}},
		{"unknown resource", container("resources: {limits: {storage: 1}}"), []string{"Invalid spec.containers[0].resources.limits[storage]", "Invalid spec.containers[0].resources.requests[storage]"}},
		{"half a device", container("resources: {limits: {example.com/gpu: 500m}}"), []string{"Invalid spec.containers[0].resources.limits[example.com/gpu]", "Invalid spec.containers[0].resources.requests[example.com/gpu]"}},
		{"probe that does nothing", container("livenessProbe: {periodSeconds: 1}"), []string{"Required spec.containers[0].livenessProbe"}},
		{"liveness that needs two successes", container("livenessProbe: {successThreshold: 2, exec: {command: [a]}}"), []string{"Invalid spec.containers[0].livenessProbe.successThreshold"}},
		{"readiness that ends the container", container("readinessProbe: {terminationGracePeriodSeconds: 2, exec: {command: [a]}}"), []string{"Invalid spec.containers[0].readinessProbe.terminationGracePeriodSeconds"}},
		{"probe in two ways", container("livenessProbe: {exec: {command: [a]}, tcpSocket: {port: 1}}"), []string{"Forbidden spec.containers[0].livenessProbe.tcpSocket"}},
		{"hook without a command", container("lifecycle: {preStop: {exec: {}}}"), []string{"Required spec.containers[0].lifecycle.preStop.exec.command"}},
		{"sleep longer than grace", container("lifecycle: {preStop: {sleep: {seconds: 31}}}"), []string{"Invalid spec.containers[0].lifecycle.preStop.sleep"}},
		{"stop signal without an operating system", container("lifecycle: {stopSignal: SIGTERM}"), []string{"Forbidden spec.containers[0].lifecycle.stopSignal"}},
		{"seccomp profile without a file", container("securityContext: {seccompProfile: {type: Localhost}}"), []string{"Required spec.containers[0].securityContext.seccompProfile.localhostProfile"}},
		{"privileged without escalation", container("securityContext: {privileged: true, allowPrivilegeEscalation: false}"), []string{"Invalid spec.containers[0].securityContext"}},
		{"init container with a probe", "spec: {initContainers: [{name: i, image: a, livenessProbe: {exec: {command: [a]}}}]}", []string{"Forbidden spec.initContainers[0].livenessProbe"}},
		{"sidecar with a probe", "spec: {initContainers: [{name: i, image: a, restartPolicy: Always, livenessProbe: {exec: {command: [a]}}}]}", nil},
	})
}

func TestPodVolumes(t *testing.T) {
	volume := func(source string) string { return "spec: {volumes: [{name: v, " + source + "}]}" }
	rowtest.Creates(t, podRow(t), pod, rowtest.Cases{
		{"emptyDir by default", "spec: {volumes: [{name: v}]}", nil},
		{"no name", "spec: {volumes: [{emptyDir: {}}]}", []string{"Required spec.volumes[0].name"}},
		{"name twice", "spec: {volumes: [{name: v}, {name: v}]}", []string{"Duplicate spec.volumes[1].name"}},
		{"two sources", volume("emptyDir: {}, hostPath: {path: /a}"), []string{"Forbidden spec.volumes[0].hostPath"}},
		{"host path that climbs", volume("hostPath: {path: /a/../b}"), []string{"Invalid spec.volumes[0].hostPath.path"}},
		{"secret without a name", volume("secret: {}"), []string{"Required spec.volumes[0].secret.secretName"}},
		{"bad mode", volume("configMap: {name: c, defaultMode: 4096}"), []string{"Invalid spec.volumes[0].configMap.defaultMode"}},
		{"file that climbs", volume("configMap: {name: c, items: [{key: k, path: ../p}]}"), []string{"Invalid spec.volumes[0].configMap.items[0].path"}},
		{"claim without a name", volume("persistentVolumeClaim: {}"), []string{"Required spec.volumes[0].persistentVolumeClaim.claimName"}},
		{"projection of nothing", volume("projected: {sources: [{}]}"), []string{"Required spec.volumes[0].projected.sources[0]"}},
		{"token of a minute", volume("projected: {sources: [{serviceAccountToken: {path: t, expirationSeconds: 60}}]}"), []string{"Invalid spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds"}},
		{"two files of a path", volume("projected: {sources: [{serviceAccountToken: {path: t}}, {configMap: {name: c, items: [{key: k, path: t}]}}]}"), []string{"Invalid spec.volumes[0].projected.sources[1].configMap.path"}},
		{"ephemeral claim without size", volume("ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce]}}}"), []string{"Required spec.volumes[0].ephemeral.volumeClaimTemplate.spec.resources[storage]"}},
		{"NFS without a path", volume("nfs: {server: s}"), []string{"Required spec.volumes[0].nfs.path"}},
		{"relative subpath", "spec: {volumes: [{name: v}], containers: [{name: c, image: a, volumeMounts: [{name: v, mountPath: /v, subPath: /a}]}]}", []string{"Invalid spec.containers[0].volumeMounts[0].subPath"}},
		{"two mounts of a path", "spec: {volumes: [{name: v}, {name: w}], containers: [{name: c, image: a, volumeMounts: [{name: v, mountPath: /v}, {name: w, mountPath: /v}]}]}", []string{"Invalid spec.containers[0].volumeMounts[1].mountPath"}},
	})
}

func TestPodUpdate(t *testing.T) {
	r := podRow(t)
	rowtest.Updates(t, r, &r.Strategy, pod, rowtest.Cases{
		{"another image", "spec: {containers: [{name: c, image: other}]}", nil},
		{"labels", "metadata: {labels: {a: b}}", nil},
		{"a deadline", "spec: {activeDeadlineSeconds: 5}", nil},
		{"a toleration more", "spec: {tolerations: [{key: a, operator: Exists}]}", nil},
		{"another command", container("command: [x]"), []string{"Forbidden spec"}},
		{"a node selector", "spec: {nodeSelector: {a: b}}", []string{"Forbidden spec"}},
		{"a node", "spec: {nodeName: n}", []string{"Forbidden spec"}},
		{"a container more", "spec: {containers: [{name: c, image: app}, {name: d, image: app}]}", []string{"Forbidden spec.containers"}},
		{"a gate", "spec: {schedulingGates: [{name: g}]}", []string{"Forbidden spec.schedulingGates[0]"}},
	})
	gated := pod + "  schedulingGates: [{name: g}]\n  nodeSelector: {a: b}\n"
	rowtest.Updates(t, r, &r.Strategy, gated, rowtest.Cases{
		{"no gate any more", "spec: {schedulingGates: []}", nil},
		{"narrower while gated", "spec: {nodeSelector: {c: d}}", nil},
		{"wider while gated", "spec: {nodeSelector: {a: null}}", []string{"Invalid spec.nodeSelector"}},
	})
}

func TestPodSubresources(t *testing.T) {
	r := podRow(t)
	rowtest.Updates(t, r, part(t, r, "ephemeralcontainers"), pod, rowtest.Cases{
		{"one more", "spec: {ephemeralContainers: [{name: d, image: a, targetContainerName: c}]}", nil},
		{"with a target nobody is", "spec: {ephemeralContainers: [{name: d, image: a, targetContainerName: x}]}", []string{"NotFound spec.ephemeralContainers[0].targetContainerName"}},
		{"with a port", "spec: {ephemeralContainers: [{name: d, image: a, ports: [{containerPort: 1}]}]}", []string{"Forbidden spec.ephemeralContainers[0].ports"}},
	})
	debugged := pod + "  ephemeralContainers: [{name: d, image: a}]\n"
	rowtest.Updates(t, r, part(t, r, "ephemeralcontainers"), debugged, rowtest.Cases{
		{"removed", "spec: {ephemeralContainers: []}", []string{"Forbidden spec.ephemeralContainers"}},
		{"changed", "spec: {ephemeralContainers: [{name: d, image: b}]}", []string{"Forbidden spec.ephemeralContainers"}},
	})
	sized := "metadata: {name: web, namespace: default}\nspec: {containers: [{name: c, image: app, resources: {requests: {cpu: 1}}}]}"
	rowtest.Updates(t, r, part(t, r, "resize"), sized, rowtest.Cases{
		{"more processor", container("resources: {requests: {cpu: 2}}"), nil},
		{"nothing asked for", container("resources: {}, resizePolicy: [{resourceName: cpu, restartPolicy: NotRequired}]"), []string{"Forbidden spec.containers[0].resources.requests", "Invalid spec"}},
		{"another image", "spec: {containers: [{name: c, image: other, resources: {requests: {cpu: 1}}}]}", []string{"Forbidden spec"}},
	})
	ran := pod + "  restartPolicy: Never\nstatus: {qosClass: BestEffort, containerStatuses: [{name: c, image: app, imageID: '', ready: false, restartCount: 0, state: {terminated: {exitCode: 0}}}]}\n"
	rowtest.Updates(t, r, part(t, r, "status"), ran, rowtest.Cases{
		{"spec is not touched", "spec: {nodeName: n}", nil},
		{"another class", "status: {qosClass: Guaranteed}", []string{"Invalid status.qosClass"}},
		{"back to life", "status: {containerStatuses: [{name: c, image: app, imageID: '', ready: false, restartCount: 0, state: {running: {}}}]}", []string{"Forbidden status.containerStatuses[0].state"}},
		{"two addresses of a family", "status: {podIPs: [{ip: 10.0.0.1}, {ip: 10.0.0.2}]}", []string{"Invalid status.podIPs"}},
	})
}
