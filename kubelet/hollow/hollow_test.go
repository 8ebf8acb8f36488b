package hollow_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"k8s.io/apimachinery/pkg/util/wait"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/yare-io/yare/kubelet/hollow"
)

// client is a runtime as a kubelet sees it.
type client struct {
	runtimeapi.RuntimeServiceClient
	runtimeapi.ImageServiceClient
}

func clientOn(conn grpc.ClientConnInterface) client {
	return client{runtimeapi.NewRuntimeServiceClient(conn), runtimeapi.NewImageServiceClient(conn)}
}

// onBoth runs a test against a runtime inside the process, and against one
// behind a unix socket.
func onBoth(t *testing.T, config hollow.Config, test func(t *testing.T, c client)) {
	t.Run("in process", func(t *testing.T) {
		r := hollow.New(config)
		t.Cleanup(r.Close)
		test(t, clientOn(r.Conn()))
	})
	t.Run("socket", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "cri.sock")
		listener, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- hollow.New(config).Serve(ctx, listener) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
		conn, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		test(t, clientOn(conn))
	})
}

func sandboxConfig(name string, annotations map[string]string) *runtimeapi.PodSandboxConfig {
	return &runtimeapi.PodSandboxConfig{
		Metadata:    &runtimeapi.PodSandboxMetadata{Name: name, Namespace: "default", Uid: "uid-" + name},
		Labels:      map[string]string{"app": name},
		Annotations: annotations,
	}
}

func (c client) sandbox(t testing.TB, name string, annotations map[string]string) (string, *runtimeapi.PodSandboxConfig) {
	t.Helper()
	config := sandboxConfig(name, annotations)
	response, err := c.RunPodSandbox(t.Context(), &runtimeapi.RunPodSandboxRequest{Config: config})
	if err != nil {
		t.Fatal(err)
	}
	return response.PodSandboxId, config
}

// run pulls an image, makes a container and starts it.
func (c client) run(t testing.TB, sandbox string, config *runtimeapi.PodSandboxConfig) string {
	t.Helper()
	image := &runtimeapi.ImageSpec{Image: "demo:v1"}
	if _, err := c.PullImage(t.Context(), &runtimeapi.PullImageRequest{Image: image}); err != nil {
		t.Fatal(err)
	}
	created, err := c.CreateContainer(t.Context(), &runtimeapi.CreateContainerRequest{
		PodSandboxId: sandbox, SandboxConfig: config,
		Config: &runtimeapi.ContainerConfig{
			Metadata: &runtimeapi.ContainerMetadata{Name: "main"}, Image: image, LogPath: "main/0.log", Labels: map[string]string{"app": "x"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.StartContainer(t.Context(), &runtimeapi.StartContainerRequest{ContainerId: created.ContainerId}); err != nil {
		t.Fatal(err)
	}
	return created.ContainerId
}

func (c client) status(t testing.TB, container string) *runtimeapi.ContainerStatus {
	t.Helper()
	response, err := c.ContainerStatus(t.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: container})
	if err != nil {
		t.Fatal(err)
	}
	return response.Status
}

func TestAPodLivesAndDies(t *testing.T) {
	config := hollow.Config{PodCIDR: netip.MustParsePrefix("10.1.0.0/24")}
	onBoth(t, config, func(t *testing.T, c client) {
		sandbox, podConfig := c.sandbox(t, "web", nil)
		container := c.run(t, sandbox, podConfig)
		if s := c.status(t, container); s.State != runtimeapi.ContainerState_CONTAINER_RUNNING || s.StartedAt == 0 || s.LogPath != "" {
			t.Errorf("after start: %v", s)
		}
		pod, err := c.PodSandboxStatus(t.Context(), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: sandbox})
		if err != nil {
			t.Fatal(err)
		}
		if pod.Status.Network.Ip != "10.1.0.2" || len(pod.ContainersStatuses) != 1 {
			t.Errorf("sandbox %v", pod)
		}
		if _, err := c.StopContainer(t.Context(), &runtimeapi.StopContainerRequest{ContainerId: container, Timeout: 30}); err != nil {
			t.Fatal(err)
		}
		if s := c.status(t, container); s.State != runtimeapi.ContainerState_CONTAINER_EXITED || s.Reason != "Completed" || s.FinishedAt == 0 {
			t.Errorf("after stop: %v", s)
		}
		for range 2 { // both are safe twice
			if _, err := c.StopPodSandbox(t.Context(), &runtimeapi.StopPodSandboxRequest{PodSandboxId: sandbox}); err != nil {
				t.Fatal(err)
			}
			if _, err := c.RemovePodSandbox(t.Context(), &runtimeapi.RemovePodSandboxRequest{PodSandboxId: sandbox}); err != nil {
				t.Fatal(err)
			}
		}
		left, err := c.ListContainers(t.Context(), &runtimeapi.ListContainersRequest{})
		if err != nil || len(left.Containers) != 0 {
			t.Errorf("left: %v, %v", left, err)
		}
		if _, err := c.ContainerStatus(t.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: container}); status.Code(err) != codes.NotFound {
			t.Errorf("status of a container that is gone: %v", err)
		}
	})
}

func TestStoppingASandboxKillsItsContainers(t *testing.T) {
	onBoth(t, hollow.Config{}, func(t *testing.T, c client) {
		sandbox, config := c.sandbox(t, "web", nil)
		container := c.run(t, sandbox, config)
		if _, err := c.StopPodSandbox(t.Context(), &runtimeapi.StopPodSandboxRequest{PodSandboxId: sandbox}); err != nil {
			t.Fatal(err)
		}
		if s := c.status(t, container); s.State != runtimeapi.ContainerState_CONTAINER_EXITED || s.ExitCode != 137 || s.Reason != "Error" {
			t.Errorf("%v", s)
		}
	})
}

func TestNothingIsMadeTwiceOrOutOfOrder(t *testing.T) {
	onBoth(t, hollow.Config{}, func(t *testing.T, c client) {
		sandbox, config := c.sandbox(t, "web", nil)
		container := c.run(t, sandbox, config)
		_, err := c.RunPodSandbox(t.Context(), &runtimeapi.RunPodSandboxRequest{Config: config})
		expectCode(t, "the same sandbox again", err, codes.AlreadyExists)
		again := &runtimeapi.CreateContainerRequest{PodSandboxId: sandbox, Config: &runtimeapi.ContainerConfig{
			Metadata: &runtimeapi.ContainerMetadata{Name: "main"}, Image: &runtimeapi.ImageSpec{Image: "demo:v1"},
		}}
		_, err = c.CreateContainer(t.Context(), again)
		expectCode(t, "the same container again", err, codes.AlreadyExists)
		_, err = c.StartContainer(t.Context(), &runtimeapi.StartContainerRequest{ContainerId: container})
		expectCode(t, "started again", err, codes.FailedPrecondition)
		again.Config.Metadata.Attempt = 1
		again.Config.Image.Image = "never:pulled"
		_, err = c.CreateContainer(t.Context(), again)
		expectCode(t, "image that is not there", err, codes.NotFound)
		_, err = c.RunPodSandbox(t.Context(), &runtimeapi.RunPodSandboxRequest{Config: sandboxConfig("x", map[string]string{hollow.ExitAfterAnnotation: "soon"})})
		expectCode(t, "bad annotation", err, codes.InvalidArgument)
		_, err = c.RunPodSandbox(t.Context(), &runtimeapi.RunPodSandboxRequest{})
		expectCode(t, "no metadata", err, codes.InvalidArgument)
	})
}

func expectCode(t *testing.T, what string, err error, want codes.Code) {
	t.Helper()
	if status.Code(err) != want {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func TestWhatNeedsAProcessIsRefused(t *testing.T) {
	onBoth(t, hollow.Config{}, func(t *testing.T, c client) {
		_, exec := c.Exec(t.Context(), &runtimeapi.ExecRequest{})
		_, sync := c.ExecSync(t.Context(), &runtimeapi.ExecSyncRequest{})
		_, attach := c.Attach(t.Context(), &runtimeapi.AttachRequest{})
		_, forward := c.PortForward(t.Context(), &runtimeapi.PortForwardRequest{})
		_, checkpoint := c.CheckpointContainer(t.Context(), &runtimeapi.CheckpointContainerRequest{})
		for _, err := range []error{exec, sync, attach, forward, checkpoint} {
			if status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "hollow containers have no processes") {
				t.Errorf("%v", err)
			}
		}
	})
}

func TestAddressesAreGivenBackAndRunOut(t *testing.T) {
	onBoth(t, hollow.Config{PodCIDR: netip.MustParsePrefix("10.1.0.0/29")}, func(t *testing.T, c client) {
		var sandboxes []string
		seen := map[string]bool{}
		for i := range 5 { // .2 to .6
			sandbox, _ := c.sandbox(t, fmt.Sprint(i), nil)
			sandboxes = append(sandboxes, sandbox)
			pod, err := c.PodSandboxStatus(t.Context(), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: sandbox})
			if err != nil || seen[pod.Status.Network.Ip] {
				t.Fatalf("%v, %v", pod, err)
			}
			seen[pod.Status.Network.Ip] = true
		}
		_, err := c.RunPodSandbox(t.Context(), &runtimeapi.RunPodSandboxRequest{Config: sandboxConfig("full", nil)})
		expectCode(t, "no address left", err, codes.ResourceExhausted)
		if _, err := c.StopPodSandbox(t.Context(), &runtimeapi.StopPodSandboxRequest{PodSandboxId: sandboxes[3]}); err != nil {
			t.Fatal(err)
		}
		sandbox, _ := c.sandbox(t, "full", nil)
		pod, err := c.PodSandboxStatus(t.Context(), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: sandbox})
		if err != nil || pod.Status.Network.Ip != "10.1.0.5" {
			t.Errorf("%v, %v", pod, err)
		}
		if _, err := c.UpdateRuntimeConfig(t.Context(), &runtimeapi.UpdateRuntimeConfigRequest{RuntimeConfig: &runtimeapi.RuntimeConfig{
			NetworkConfig: &runtimeapi.NetworkConfig{PodCidr: "10.2.0.0/24,fd00::/64"},
		}}); err != nil {
			t.Fatal(err)
		}
		sandbox, _ = c.sandbox(t, "other range", nil)
		if pod, err = c.PodSandboxStatus(t.Context(), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: sandbox}); err != nil || pod.Status.Network.Ip != "10.2.0.2" {
			t.Errorf("%v, %v", pod, err)
		}
	})
}

func TestListsAreFiltered(t *testing.T) {
	onBoth(t, hollow.Config{}, func(t *testing.T, c client) {
		a, configA := c.sandbox(t, "a", nil)
		b, configB := c.sandbox(t, "b", nil)
		inA, inB := c.run(t, a, configA), c.run(t, b, configB)
		if _, err := c.StopContainer(t.Context(), &runtimeapi.StopContainerRequest{ContainerId: inB}); err != nil {
			t.Fatal(err)
		}
		exited := &runtimeapi.ContainerStateValue{State: runtimeapi.ContainerState_CONTAINER_EXITED}
		for what, f := range map[string]struct {
			filter *runtimeapi.ContainerFilter
			want   string
		}{
			"all":       {nil, inB + inA},
			"id":        {&runtimeapi.ContainerFilter{Id: inA}, inA},
			"sandbox":   {&runtimeapi.ContainerFilter{PodSandboxId: b}, inB},
			"state":     {&runtimeapi.ContainerFilter{State: exited}, inB},
			"labels":    {&runtimeapi.ContainerFilter{LabelSelector: map[string]string{"app": "y"}}, ""},
			"elsewhere": {&runtimeapi.ContainerFilter{Id: inA, PodSandboxId: b}, ""},
		} {
			list, err := c.ListContainers(t.Context(), &runtimeapi.ListContainersRequest{Filter: f.filter})
			got := ""
			for _, one := range list.GetContainers() {
				got += one.Id
			}
			if err != nil || got != f.want {
				t.Errorf("%s: %q, %v; want %q", what, got, err, f.want)
			}
		}
		pods, err := c.ListPodSandbox(t.Context(), &runtimeapi.ListPodSandboxRequest{Filter: &runtimeapi.PodSandboxFilter{LabelSelector: map[string]string{"app": "b"}}})
		if err != nil || len(pods.Items) != 1 || pods.Items[0].Id != b {
			t.Errorf("sandboxes %v, %v", pods, err)
		}
		stats, err := c.ListContainerStats(t.Context(), &runtimeapi.ListContainerStatsRequest{})
		if err != nil || len(stats.Stats) != 1 || stats.Stats[0].Attributes.Id != inA {
			t.Errorf("stats of what runs: %v, %v", stats, err)
		}
	})
}

// fakeClock calls functions as the real clock does: without holding a lock.
type fakeClock struct{ *clocktesting.FakeClock }

func (c fakeClock) AfterFunc(d time.Duration, f func()) clock.Timer {
	return c.FakeClock.AfterFunc(d, func() { go f() })
}

func TestAnnotationsEndContainers(t *testing.T) {
	clock := fakeClock{clocktesting.NewFakeClock(time.Now())}
	r := hollow.New(hollow.Config{Clock: clock})
	t.Cleanup(r.Close)
	c := clientOn(r.Conn())
	sandbox, config := c.sandbox(t, "job", map[string]string{hollow.ExitAfterAnnotation: "5s", hollow.ExitCodeAnnotation: "3"})
	container := c.run(t, sandbox, config)
	clock.Step(4 * time.Second)
	if s := c.status(t, container); s.State != runtimeapi.ContainerState_CONTAINER_RUNNING {
		t.Errorf("too early: %v", s)
	}
	clock.Step(time.Second)
	err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		return c.status(t, container).State == runtimeapi.ContainerState_CONTAINER_EXITED, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if s := c.status(t, container); s.ExitCode != 3 || s.Reason != "Error" {
		t.Errorf("%v", s)
	}
}

func TestContainersUseWhatAnnotationsSay(t *testing.T) {
	clock := fakeClock{clocktesting.NewFakeClock(time.Now())}
	r := hollow.New(hollow.Config{Clock: clock})
	t.Cleanup(r.Close)
	c := clientOn(r.Conn())
	sandbox, config := c.sandbox(t, "busy", map[string]string{hollow.CPUAnnotation: "250m", hollow.MemoryAnnotation: "64Mi"})
	container := c.run(t, sandbox, config)
	clock.Step(4 * time.Second)
	one, err := c.ContainerStats(t.Context(), &runtimeapi.ContainerStatsRequest{ContainerId: container})
	if err != nil {
		t.Fatal(err)
	}
	pod, err := c.PodSandboxStats(t.Context(), &runtimeapi.PodSandboxStatsRequest{PodSandboxId: sandbox})
	if err != nil {
		t.Fatal(err)
	}
	for _, cpu := range []*runtimeapi.CpuUsage{one.Stats.Cpu, pod.Stats.Linux.Cpu} {
		if cpu.UsageNanoCores.Value != 250_000_000 || cpu.UsageCoreNanoSeconds.Value != 1_000_000_000 {
			t.Errorf("after 4 seconds of a quarter of a core: %v", cpu)
		}
	}
	for _, memory := range []*runtimeapi.MemoryUsage{one.Stats.Memory, pod.Stats.Linux.Memory} {
		if memory.WorkingSetBytes.Value != 64<<20 {
			t.Errorf("memory: %v", memory)
		}
	}
	for _, annotation := range []string{hollow.CPUAnnotation, hollow.MemoryAnnotation} {
		_, err := c.RunPodSandbox(t.Context(), &runtimeapi.RunPodSandboxRequest{Config: sandboxConfig("x", map[string]string{annotation: "much"})})
		expectCode(t, annotation, err, codes.InvalidArgument)
	}
}

type eventStream = grpc.ServerStreamingClient[runtimeapi.ContainerEventResponse]

// watch returns a watch that has begun: sandboxes are made until an event of
// one arrives.
func (c client) watch(t *testing.T) eventStream {
	t.Helper()
	events, err := c.GetContainerEvents(t.Context(), &runtimeapi.GetEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	begun := make(chan error, 1)
	go func() {
		_, err := events.Recv()
		begun <- err
	}()
	for i := 0; ; i++ {
		select {
		case err := <-begun:
			if err != nil {
				t.Fatal(err)
			}
			return events
		default:
			c.sandbox(t, fmt.Sprint("watched-", i), nil)
		}
	}
}

func TestEventsTellWhatHappens(t *testing.T) {
	onBoth(t, hollow.Config{}, func(t *testing.T, c client) {
		events := c.watch(t)
		sandbox, config := c.sandbox(t, "web", nil)
		container := c.run(t, sandbox, config)
		if _, err := c.RemoveContainer(t.Context(), &runtimeapi.RemoveContainerRequest{ContainerId: container}); err != nil {
			t.Fatal(err)
		}
		for _, want := range []runtimeapi.ContainerEventType{
			runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT, runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT,
			runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT, runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT,
		} {
			event := nextOf(t, events, container)
			if event.ContainerEventType != want || event.PodSandboxStatus.Id != sandbox {
				t.Errorf("%v, want %v", event, want)
			}
		}
	})
}

func nextOf(t *testing.T, events eventStream, container string) *runtimeapi.ContainerEventResponse {
	t.Helper()
	for {
		event, err := events.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if event.ContainerId == container {
			return event
		}
	}
}

func TestASlowWatcherIsCutOff(t *testing.T) {
	r := hollow.New(hollow.Config{})
	t.Cleanup(r.Close)
	c := clientOn(r.Conn())
	events := c.watch(t)
	for i := range 2000 { // four times the queue
		c.sandbox(t, fmt.Sprint(i), nil)
	}
	var err error
	for err == nil {
		_, err = events.Recv()
	}
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("got %v", err)
	}
}

func TestClosingEndsWatches(t *testing.T) {
	r := hollow.New(hollow.Config{})
	events, err := clientOn(r.Conn()).GetContainerEvents(t.Context(), &runtimeapi.GetEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	if _, err := events.Recv(); status.Code(err) != codes.Unavailable || err == io.EOF {
		t.Errorf("got %v", err)
	}
}

func TestLogsAreWrittenWhenAskedFor(t *testing.T) {
	onBoth(t, hollow.Config{Logs: true}, func(t *testing.T, c client) {
		config := sandboxConfig("web", nil)
		config.LogDirectory = t.TempDir()
		response, err := c.RunPodSandbox(t.Context(), &runtimeapi.RunPodSandboxRequest{Config: config})
		if err != nil {
			t.Fatal(err)
		}
		container := c.run(t, response.PodSandboxId, config)
		path := c.status(t, container).LogPath
		content, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(content), " stdout F hollow container main runs nothing\n") {
			t.Errorf("%s: %q, %v", path, content, err)
		}
		if err := os.Rename(path, path+".old"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.ReopenContainerLog(t.Context(), &runtimeapi.ReopenContainerLogRequest{ContainerId: container}); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	})
}

func TestImagesComeAndGo(t *testing.T) {
	onBoth(t, hollow.Config{Images: []string{"pause:3"}}, func(t *testing.T, c client) {
		digest := &runtimeapi.ImageSpec{Image: "registry/app@sha256:" + strings.Repeat("a", 64)}
		pulled, err := c.PullImage(t.Context(), &runtimeapi.PullImageRequest{Image: digest})
		if err != nil {
			t.Fatal(err)
		}
		byID, err := c.ImageStatus(t.Context(), &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: pulled.ImageRef}})
		if err != nil || len(byID.GetImage().GetRepoDigests()) != 1 {
			t.Errorf("%v, %v", byID, err)
		}
		all, err := c.ListImages(t.Context(), &runtimeapi.ListImagesRequest{})
		if err != nil || len(all.Images) != 2 {
			t.Errorf("%v, %v", all, err)
		}
		if _, err := c.RemoveImage(t.Context(), &runtimeapi.RemoveImageRequest{Image: digest}); err != nil {
			t.Fatal(err)
		}
		if gone, err := c.ImageStatus(t.Context(), &runtimeapi.ImageStatusRequest{Image: digest}); err != nil || gone.Image != nil {
			t.Errorf("%v, %v", gone, err)
		}
		_, err = c.PullImage(t.Context(), &runtimeapi.PullImageRequest{})
		expectCode(t, "no name", err, codes.InvalidArgument)
	})
}

// What one pod with one container costs.
func BenchmarkPod(b *testing.B) {
	r := hollow.New(hollow.Config{PodCIDR: netip.MustParsePrefix("10.0.0.0/8")})
	defer r.Close()
	c := clientOn(r.Conn())
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		sandbox, config := c.sandbox(b, fmt.Sprint(i), nil)
		c.run(b, sandbox, config)
		i++
	}
}
