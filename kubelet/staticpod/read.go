// Package staticpod reads pods from files in a directory and keeps a mirror of each in the API server, so that users see
// them. It refuses to run them: they are handed on like any other pod.
package staticpod

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"
)

// Annotations by which static pods and their mirrors are known.
const (
	SourceAnnotation = "kubernetes.io/config.source"
	HashAnnotation   = "kubernetes.io/config.hash"
	MirrorAnnotation = v1.MirrorPodAnnotationKey
)

const (
	maxFile  = 1 << 20
	maxFiles = 1000
)

// Read returns the pods of the files in dir, each as it is to run on the node. Files that hold no valid pod are left out, and
// the error joins what is wrong with them. A dir that does not exist holds no pods.
func Read(dir, node string) ([]*v1.Pod, error) {
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(entries) > maxFiles {
		return nil, fmt.Errorf("%s holds more than %d files", dir, maxFiles)
	}
	var pods []*v1.Pod
	var failed []error
	names := map[string]string{}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if strings.HasPrefix(entry.Name(), ".") || !regular(path) {
			continue
		}
		pod, err := readFile(path, node)
		if err == nil && names[pod.Namespace+"/"+pod.Name] != "" {
			err = fmt.Errorf("the pod is already in %s", names[pod.Namespace+"/"+pod.Name])
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", path, err))
			continue
		}
		names[pod.Namespace+"/"+pod.Name] = path
		pods = append(pods, pod)
	}
	return pods, errors.Join(failed...)
}

func regular(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func readFile(path, node string) (*v1.Pod, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("larger than %d bytes", maxFile)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Decode(data, path, node)
}

// Decode reads a pod from YAML or JSON and makes it what a static pod is: named after its node, with a UID that changes
// with its content, and tolerating what the node may suffer.
func Decode(data []byte, path, node string) (*v1.Pod, error) {
	pod := &v1.Pod{}
	if err := yaml.UnmarshalStrict(data, pod); err != nil {
		return nil, fmt.Errorf("not a pod: %w", err)
	}
	if pod.APIVersion != "v1" || pod.Kind != "Pod" {
		return nil, fmt.Errorf("not a pod but %s %s", pod.APIVersion, pod.Kind)
	}
	pod.Name += "-" + strings.ToLower(node)
	if pod.Namespace == "" {
		pod.Namespace = metav1.NamespaceDefault
	}
	if err := validate(pod); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(append([]byte(node+"\x00"+path+"\x00"+string(pod.UID)+"\x00"), data...))
	hash := hex.EncodeToString(sum[:16])
	pod.UID = types.UID(hash)
	pod.Generation = 1
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	pod.Annotations[SourceAnnotation] = "file"
	pod.Annotations[HashAnnotation] = hash
	pod.Spec.NodeName = node
	pod.Spec.Tolerations = append(pod.Spec.Tolerations, v1.Toleration{Operator: v1.TolerationOpExists, Effect: v1.TaintEffectNoExecute})
	pod.Status = v1.PodStatus{Phase: v1.PodPending}
	setDefaults(&pod.Spec)
	return pod, nil
}

// validate checks what the node itself relies on; the API server checks the mirror in full.
func validate(pod *v1.Pod) error {
	for _, problem := range append(validation.IsDNS1123Subdomain(pod.Name), validation.IsDNS1123Label(pod.Namespace)...) {
		return fmt.Errorf("metadata: %s", problem)
	}
	if len(pod.Spec.Containers) == 0 {
		return errors.New("spec.containers: Required value")
	}
	seen := map[string]bool{}
	for _, list := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			c := &list[i]
			if problems := validation.IsDNS1123Label(c.Name); len(problems) > 0 || seen[c.Name] {
				return fmt.Errorf("container name %q is invalid or used twice", c.Name)
			}
			seen[c.Name] = true
			if c.Image == "" {
				return fmt.Errorf("container %q has no image", c.Name)
			}
		}
	}
	if pod.Spec.ServiceAccountName != "" {
		return errors.New("a static pod may not use a service account")
	}
	for i := range pod.Spec.Volumes {
		if !filepath.IsLocal(pod.Spec.Volumes[i].Name) || strings.Contains(pod.Spec.Volumes[i].Name, "/") {
			return fmt.Errorf("volume name %q is invalid", pod.Spec.Volumes[i].Name)
		}
	}
	return nil
}

// setDefaults fills in what the API server fills in for the fields that the node looks at.
func setDefaults(spec *v1.PodSpec) {
	if spec.RestartPolicy == "" {
		spec.RestartPolicy = v1.RestartPolicyAlways
	}
	if spec.DNSPolicy == "" {
		spec.DNSPolicy = v1.DNSClusterFirst
	}
	if spec.TerminationGracePeriodSeconds == nil {
		spec.TerminationGracePeriodSeconds = new(int64(v1.DefaultTerminationGracePeriodSeconds))
	}
	if spec.SecurityContext == nil {
		spec.SecurityContext = &v1.PodSecurityContext{}
	}
	if spec.EnableServiceLinks == nil {
		spec.EnableServiceLinks = new(v1.DefaultEnableServiceLinks)
	}
	spec.SchedulerName = v1.DefaultSchedulerName
	for _, list := range [][]v1.Container{spec.InitContainers, spec.Containers} {
		for i := range list {
			defaultContainer(&list[i], spec.HostNetwork)
		}
	}
}

func defaultContainer(c *v1.Container, hostNetwork bool) {
	if c.TerminationMessagePath == "" {
		c.TerminationMessagePath = v1.TerminationMessagePathDefault
	}
	if c.TerminationMessagePolicy == "" {
		c.TerminationMessagePolicy = v1.TerminationMessageReadFile
	}
	if c.ImagePullPolicy == "" {
		c.ImagePullPolicy = v1.PullIfNotPresent
		if !strings.Contains(c.Image[strings.LastIndexByte(c.Image, '/')+1:], ":") || strings.HasSuffix(c.Image, ":latest") {
			c.ImagePullPolicy = v1.PullAlways
		}
	}
	for i := range c.Ports {
		if c.Ports[i].Protocol == "" {
			c.Ports[i].Protocol = v1.ProtocolTCP
		}
		if hostNetwork && c.Ports[i].HostPort == 0 {
			c.Ports[i].HostPort = c.Ports[i].ContainerPort
		}
	}
	for name, quantity := range c.Resources.Limits {
		if c.Resources.Requests == nil {
			c.Resources.Requests = v1.ResourceList{}
		}
		if _, ok := c.Resources.Requests[name]; !ok {
			c.Resources.Requests[name] = quantity
		}
	}
}
