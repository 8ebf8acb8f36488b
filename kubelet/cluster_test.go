package kubelet_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	kubeletconfig "k8s.io/kubelet/config/v1beta1"

	"github.com/yare-io/yare/kubelet"
	"github.com/yare-io/yare/kubelet/cri"
	"github.com/yare-io/yare/kubelet/kubelettest"
)

// cluster is an API server in memory and one real node.
type cluster struct {
	t      *testing.T
	api    *fake.Clientset
	cri    *cri.Client
	config kubelet.Config
	stop   func()
	node   *kubelet.Kubelet
}

func newCluster(t *testing.T, change ...func(*kubelet.Config)) *cluster {
	c := &cluster{t: t, cri: kubelettest.Runtime(t), api: fake.NewClientset()}
	c.api.PrependReactor("create", "serviceaccounts", func(action clienttesting.Action) (bool, apiruntime.Object, error) {
		if action.GetSubresource() != "token" {
			return false, nil, nil
		}
		return true, &authenticationv1.TokenRequest{Status: authenticationv1.TokenRequestStatus{
			Token: "a-token", ExpirationTimestamp: metav1.NewTime(time.Now().Add(time.Hour)),
		}}, nil
	})
	root := t.TempDir()
	c.config = kubelet.Config{
		Client: c.api, NodeName: "node-1", NodeIPs: []string{"10.250.7.1"}, RuntimeEndpoint: kubelettest.Endpoint(),
		RootDir: root, ContainerLogsDir: root + "/containers",
		Settings: kubeletconfig.KubeletConfiguration{
			HealthzPort: new(int32(0)), PodLogsDir: root + "/logs", CgroupRoot: kubelettest.CgroupRoot(), EvictionHard: map[string]string{"memory.available": "1Mi"},
			ClusterDNS: []string{"10.96.0.10"}, ClusterDomain: "cluster.local",
		},
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	for _, f := range change {
		f(&c.config)
	}
	c.start()
	t.Cleanup(c.tearDown)
	return c
}

func (c *cluster) start() {
	c.t.Helper()
	node, err := kubelet.New(c.config)
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- node.Run(ctx) }()
	c.node = node
	c.stop = func() {
		cancel()
		if err := <-done; err != nil {
			c.t.Error(err)
		}
	}
}

// tearDown stops the node and removes whatever it left in the runtime.
func (c *cluster) tearDown() {
	c.stop()
	ctx := context.Background()
	kubelettest.Eventually(c.t, "the runtime is empty", func() (bool, error) {
		sandboxes, err := c.cri.ListSandboxes(ctx, nil)
		for _, s := range sandboxes {
			err = errors.Join(err, c.cri.StopSandbox(ctx, s.Id), c.cri.RemoveSandbox(ctx, s.Id))
		}
		return len(sandboxes) == 0, err
	})
}

var podNumber int

// newPod returns a pod bound to the node that runs the test program with the arguments.
func newPod(name string, args ...string) *v1.Pod {
	podNumber++
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: "default", UID: types.UID(name + "-" + strconv.Itoa(os.Getpid()) + "-" + strconv.Itoa(podNumber)), Generation: 1,
		},
		Spec: v1.PodSpec{
			NodeName: "node-1", RestartPolicy: v1.RestartPolicyAlways, DNSPolicy: v1.DNSClusterFirst,
			TerminationGracePeriodSeconds: new(int64(5)), ServiceAccountName: "default",
			Containers: []v1.Container{{
				Name: "web", Image: kubelettest.AppImage, Args: args, ImagePullPolicy: v1.PullIfNotPresent,
				TerminationMessagePath: "/dev/termination-log", TerminationMessagePolicy: v1.TerminationMessageReadFile,
			}},
		},
		Status: v1.PodStatus{Phase: v1.PodPending},
	}
}

func (c *cluster) create(pod *v1.Pod) {
	c.t.Helper()
	if _, err := c.api.CoreV1().Pods(pod.Namespace).Create(context.Background(), pod, metav1.CreateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) get(name string) *v1.Pod {
	pod, err := c.api.CoreV1().Pods("default").Get(context.Background(), name, metav1.GetOptions{})
	if err != nil {
		return nil
	}
	return pod
}

// await waits until the pod is as wanted and returns it.
func (c *cluster) await(name, what string, wanted func(*v1.Pod) bool) *v1.Pod {
	c.t.Helper()
	var found *v1.Pod
	defer func() {
		if c.t.Failed() && found != nil {
			c.t.Logf("the pod is: %+v", found.Status)
		}
	}()
	kubelettest.Eventually(c.t, "pod "+name+" "+what, func() (bool, error) {
		found = c.get(name)
		return found != nil && wanted(found), nil
	})
	return found
}

func isReady(pod *v1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == v1.PodReady {
			return c.Status == v1.ConditionTrue
		}
	}
	return false
}

// delete marks the pod as the API server does for a graceful deletion.
func (c *cluster) delete(name string, grace int64) {
	c.t.Helper()
	pod := c.get(name).DeepCopy()
	now := metav1.Now()
	pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = &now, &grace
	if _, err := c.api.CoreV1().Pods("default").Update(context.Background(), pod, metav1.UpdateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) awaitGone(name string) {
	c.t.Helper()
	kubelettest.Eventually(c.t, "pod "+name+" is gone", func() (bool, error) { return c.get(name) == nil, nil })
}

// exec runs a command in the container and returns its output.
func (c *cluster) exec(pod *v1.Pod, container string, command ...string) string {
	c.t.Helper()
	ctx := context.Background()
	id, err := c.node.Backend().ContainerID(ctx, pod.UID, container, false)
	if err != nil {
		c.t.Fatal(err)
	}
	result, err := c.node.Backend().Run(ctx, id, command, 10*time.Second)
	if err != nil || result.ExitCode != 0 {
		c.t.Fatalf("%v: %v: %+v", command, err, result)
	}
	return string(result.Stdout)
}

// log returns what an instance of the container wrote, as the runtime keeps it.
func (c *cluster) log(pod *v1.Pod, container string, restarts int) string {
	c.t.Helper()
	path := fmt.Sprintf("%s/logs/%s_%s_%s/%s/%d.log", c.config.RootDir, pod.Namespace, pod.Name, pod.UID, container, restarts)
	data, err := os.ReadFile(path)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(data)
}

// awaitEvent waits for an event with the reason whose message begins so.
func (c *cluster) awaitEvent(reason, message string) {
	c.t.Helper()
	kubelettest.Eventually(c.t, "event "+reason+": "+message, func() (bool, error) {
		events, err := c.api.CoreV1().Events("").List(context.Background(), metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		for _, e := range events.Items {
			if e.Reason == reason && strings.HasPrefix(e.Message, message) {
				return true, nil
			}
		}
		return false, nil
	})
}
