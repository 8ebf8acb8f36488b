package node

import (
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
)

// vertex is an object that nodes reach through their pods.
type vertex struct {
	kind            Kind
	namespace, name string
}

// graph knows which node uses what. It is safe for concurrent use.
type graph struct {
	mu   sync.RWMutex // guards all below
	pods map[podKey]boundPod
	// used counts, for each node, the pods on it that refer to each object.
	used        map[string]map[vertex]int
	volumes     map[string]volume
	bySecret    map[vertex]map[string]struct{} // secret → names of volumes that need it
	attachments map[string]string              // name → node
}

type podKey struct{ namespace, name string }

type boundPod struct {
	node string
	uses []vertex
}

// volume is a persistent volume: the claim it is bound to, and the secrets
// that kubelets need for it.
type volume struct {
	claim   vertex
	secrets []vertex
}

func newGraph() *graph {
	return &graph{
		pods: map[podKey]boundPod{}, used: map[string]map[vertex]int{},
		volumes: map[string]volume{}, bySecret: map[vertex]map[string]struct{}{},
		attachments: map[string]string{},
	}
}

// bind reads what binds a pod to its node. A mirror pod is made by its node, which
// must gain no rights by it: it counts as a pod of the node and nothing more.
func bind(pod *corev1.Pod) boundPod {
	bound := boundPod{node: pod.Spec.NodeName}
	if _, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; mirror || bound.node == "" {
		return bound
	}
	for _, ref := range References(pod) {
		bound.uses = append(bound.uses, vertex{ref.Kind, pod.Namespace, ref.Name})
	}
	return bound
}

// setPod takes in a pod.
func (g *graph) setPod(pod *podUse) {
	key, bound := podKey{pod.Namespace, pod.Name}, pod.bound
	g.mu.Lock()
	defer g.mu.Unlock()
	old, known := g.pods[key]
	if known && old.node == bound.node && slices.Equal(old.uses, bound.uses) {
		return
	}
	g.deletePod(key)
	if bound.node == "" {
		return
	}
	g.pods[key] = bound
	used := g.used[bound.node]
	if used == nil {
		used = map[vertex]int{}
		g.used[bound.node] = used
	}
	for _, v := range bound.uses {
		used[v]++
	}
}

func (g *graph) removePod(pod *podUse) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.deletePod(podKey{pod.Namespace, pod.Name})
}

func (g *graph) deletePod(key podKey) {
	pod, ok := g.pods[key]
	if !ok {
		return
	}
	delete(g.pods, key)
	used := g.used[pod.node]
	for _, v := range pod.uses {
		if used[v]--; used[v] == 0 {
			delete(used, v)
		}
	}
	if len(used) == 0 {
		delete(g.used, pod.node)
	}
}

func (g *graph) setVolume(pv *corev1.PersistentVolume) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.deleteVolume(pv.Name)
	if pv.Spec.ClaimRef == nil {
		return
	}
	v := volume{
		claim:   vertex{PersistentVolumeClaim, pv.Spec.ClaimRef.Namespace, pv.Spec.ClaimRef.Name},
		secrets: volumeSecrets(pv),
	}
	g.volumes[pv.Name] = v
	for _, secret := range v.secrets {
		if g.bySecret[secret] == nil {
			g.bySecret[secret] = map[string]struct{}{}
		}
		g.bySecret[secret][pv.Name] = struct{}{}
	}
}

func (g *graph) removeVolume(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.deleteVolume(name)
}

func (g *graph) deleteVolume(name string) {
	for _, secret := range g.volumes[name].secrets {
		delete(g.bySecret[secret], name)
		if len(g.bySecret[secret]) == 0 {
			delete(g.bySecret, secret)
		}
	}
	delete(g.volumes, name)
}

func (g *graph) setAttachment(attachment *storagev1.VolumeAttachment) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.attachments[attachment.Name] = attachment.Spec.NodeName
}

func (g *graph) removeAttachment(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.attachments, name)
}

// uses reports whether a pod on the node refers to the object, or to a claim
// whose volume needs it.
func (g *graph) uses(node string, v vertex) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	used := g.used[node]
	if used[v] > 0 {
		return true
	}
	for name := range g.bySecret[v] {
		if used[g.volumes[name].claim] > 0 {
			return true
		}
	}
	return false
}

func (g *graph) runsPod(node, namespace, name string) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	pod, ok := g.pods[podKey{namespace, name}]
	return ok && pod.node == node
}

func (g *graph) usesVolume(node, name string) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	v, ok := g.volumes[name]
	return ok && g.used[node][v.claim] > 0
}

func (g *graph) attachedTo(node, attachment string) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	attached, ok := g.attachments[attachment]
	return ok && attached == node
}

// volumeSecrets are the secrets that a kubelet needs for a volume. Where a
// reference leaves its namespace out, it is that of the claim.
func volumeSecrets(pv *corev1.PersistentVolume) []vertex {
	var secrets []vertex
	add := func(namespace, name string) {
		if namespace == "" {
			namespace = pv.Spec.ClaimRef.Namespace
		}
		if name != "" {
			secrets = append(secrets, vertex{Secret, namespace, name})
		}
	}
	ref := func(ref *corev1.SecretReference) {
		if ref != nil {
			add(ref.Namespace, ref.Name)
		}
	}
	source := pv.Spec.PersistentVolumeSource
	switch {
	case source.AzureFile != nil:
		namespace := ""
		if source.AzureFile.SecretNamespace != nil {
			namespace = *source.AzureFile.SecretNamespace
		}
		add(namespace, source.AzureFile.SecretName)
	case source.CephFS != nil:
		ref(source.CephFS.SecretRef)
	case source.Cinder != nil:
		ref(source.Cinder.SecretRef)
	case source.FlexVolume != nil:
		ref(source.FlexVolume.SecretRef)
	case source.ISCSI != nil:
		ref(source.ISCSI.SecretRef)
	case source.RBD != nil:
		ref(source.RBD.SecretRef)
	case source.ScaleIO != nil:
		ref(source.ScaleIO.SecretRef)
	case source.StorageOS != nil:
		if secret := source.StorageOS.SecretRef; secret != nil {
			add(secret.Namespace, secret.Name)
		}
	case source.CSI != nil:
		ref(source.CSI.NodePublishSecretRef)
		ref(source.CSI.NodeStageSecretRef)
		ref(source.CSI.NodeExpandSecretRef)
	}
	return secrets
}
