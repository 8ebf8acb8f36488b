package images_test

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/yare-io/yare/kubelet/cri"
	"github.com/yare-io/yare/kubelet/images"
)

// store is an image service and the part of a runtime that says what is in use.
type store struct {
	runtimeapi.ImageServiceClient
	runtimeapi.RuntimeServiceClient
	images []*runtimeapi.Image
	inUse  []string
}

func (s *store) ListImages(context.Context, *runtimeapi.ListImagesRequest, ...grpc.CallOption) (*runtimeapi.ListImagesResponse, error) {
	return &runtimeapi.ListImagesResponse{Images: slices.Clone(s.images)}, nil
}

func (s *store) ImageFsInfo(context.Context, *runtimeapi.ImageFsInfoRequest, ...grpc.CallOption) (*runtimeapi.ImageFsInfoResponse, error) {
	return &runtimeapi.ImageFsInfoResponse{ImageFilesystems: []*runtimeapi.FilesystemUsage{{FsId: &runtimeapi.FilesystemIdentifier{Mountpoint: "/"}}}}, nil
}

func (s *store) RemoveImage(_ context.Context, r *runtimeapi.RemoveImageRequest, _ ...grpc.CallOption) (*runtimeapi.RemoveImageResponse, error) {
	s.images = slices.DeleteFunc(s.images, func(i *runtimeapi.Image) bool { return i.Id == r.Image.Image })
	return &runtimeapi.RemoveImageResponse{}, nil
}

func (s *store) ListContainers(context.Context, *runtimeapi.ListContainersRequest, ...grpc.CallOption) (*runtimeapi.ListContainersResponse, error) {
	response := &runtimeapi.ListContainersResponse{}
	for _, id := range s.inUse {
		response.Containers = append(response.Containers, &runtimeapi.Container{ImageRef: id, Image: &runtimeapi.ImageSpec{}})
	}
	return response, nil
}

func (s *store) ids() []string {
	var ids []string
	for _, i := range s.images {
		ids = append(ids, i.Id)
	}
	return ids
}

func TestCollectorRemovesWhatIsUnusedLongestUntilThereIsRoom(t *testing.T) {
	s := &store{inUse: []string{"used", "late"}}
	for _, id := range []string{"used", "late", "old", "pinned", "kept"} {
		s.images = append(s.images, &runtimeapi.Image{Id: id, Size: 10, Pinned: id == "pinned", RepoTags: []string{id + ":v1"}})
	}
	clock := testingclock.NewFakeClock(time.Now())
	used := uint64(50)
	c := &images.Collector{
		CRI: cri.New(s, s, 0), Clock: clock, Logger: slog.New(slog.DiscardHandler), High: 85, Low: 80, MinAge: time.Minute, Keep: []string{"kept:v1"},
		Usage: func(string) (uint64, uint64, error) { return used, 100, nil },
	}
	collect := func(wantError bool, left ...string) {
		t.Helper()
		if err := c.Collect(context.Background()); (err != nil) != wantError {
			t.Errorf("error: %v", err)
		}
		if !slices.Equal(s.ids(), left) {
			t.Errorf("left: %v, want %v", s.ids(), left)
		}
	}
	collect(false, "used", "late", "old", "pinned", "kept")
	clock.Step(2 * time.Minute)
	collect(false, "used", "late", "old", "pinned", "kept")
	s.inUse, used = []string{"used"}, 90
	collect(false, "used", "late", "pinned", "kept")
	used = 95
	collect(true, "used", "pinned", "kept")
}

func TestCredentialsMatchTheImagesRegistry(t *testing.T) {
	secret := &v1.Secret{Type: v1.SecretTypeDockerConfigJson, Data: map[string][]byte{v1.DockerConfigJsonKey: []byte(`{"auths":{
		"https://index.docker.io/v1/":{"auth":"aHViOnBhc3M6d29yZA=="},"*.example.com":{"username":"glob","password":"p"},
		"reg.example.com/team":{"username":"team","password":"p"}}}`)}}
	broken := &v1.Secret{Type: v1.SecretTypeDockerConfigJson, Data: map[string][]byte{v1.DockerConfigJsonKey: []byte("{")}}
	for image, want := range map[string]string{
		"nginx": "hub", "library/nginx:1": "hub", "reg.example.com/team/app": "team", "reg.example.com/other": "glob", "a.b.example.com/x": "", "quay.io/x": "",
	} {
		got := ""
		for _, auth := range images.Credentials([]*v1.Secret{broken, secret}, image) {
			got = auth.Username
			if got == "hub" && auth.Password != "pass:word" {
				t.Errorf("password: %q", auth.Password)
			}
		}
		if got != want {
			t.Errorf("%s: user %q, want %q", image, got, want)
		}
	}
}
