package hollow

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// imageSize is what every image says it takes.
const imageSize = 1 << 20

// imageID makes up the id of an image; ids stand for themselves.
func imageID(name string) string {
	if strings.HasPrefix(name, "sha256:") {
		return name
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(name)))
}

// image finds an image by name or id.
func (r *Runtime) image(name string) *runtimeapi.Image { return r.images[imageID(name)] }

func (r *Runtime) addImage(name string) *runtimeapi.Image {
	image := &runtimeapi.Image{Id: imageID(name), Size: imageSize, Spec: &runtimeapi.ImageSpec{Image: name}}
	if repository, digest, ok := strings.Cut(name, "@"); ok {
		image.RepoDigests = []string{repository + "@" + digest}
	} else {
		image.RepoTags = []string{name}
	}
	r.images[image.Id] = image
	return image
}

// ListImages implements ImageServiceServer.
func (r *Runtime) ListImages(_ context.Context, request *runtimeapi.ListImagesRequest) (*runtimeapi.ListImagesResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := ""
	if name := request.GetFilter().GetImage().GetImage(); name != "" {
		id = imageID(name)
	}
	response := &runtimeapi.ListImagesResponse{}
	for _, image := range narrowed(r.images, id) {
		response.Images = append(response.Images, image)
	}
	slices.SortFunc(response.Images, func(a, b *runtimeapi.Image) int { return cmp.Compare(a.Id, b.Id) })
	return response, nil
}

// ImageStatus implements ImageServiceServer. There is no image in the answer
// when it is not there.
func (r *Runtime) ImageStatus(_ context.Context, request *runtimeapi.ImageStatusRequest) (*runtimeapi.ImageStatusResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &runtimeapi.ImageStatusResponse{Image: r.image(request.GetImage().GetImage())}, nil
}

// PullImage implements ImageServiceServer: every image exists.
func (r *Runtime) PullImage(_ context.Context, request *runtimeapi.PullImageRequest) (*runtimeapi.PullImageResponse, error) {
	name := request.GetImage().GetImage()
	if name == "" || strings.HasPrefix(name, "sha256:") {
		return nil, status.Errorf(codes.InvalidArgument, "image %q cannot be pulled", name)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return &runtimeapi.PullImageResponse{ImageRef: r.addImage(name).Id}, nil
}

// RemoveImage implements ImageServiceServer. An image that is gone is removed.
func (r *Runtime) RemoveImage(_ context.Context, request *runtimeapi.RemoveImageRequest) (*runtimeapi.RemoveImageResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.images, imageID(request.GetImage().GetImage()))
	return &runtimeapi.RemoveImageResponse{}, nil
}

// ImageFsInfo implements ImageServiceServer.
func (r *Runtime) ImageFsInfo(context.Context, *runtimeapi.ImageFsInfoRequest) (*runtimeapi.ImageFsInfoResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	usage := &runtimeapi.FilesystemUsage{
		Timestamp:  r.now(),
		FsId:       &runtimeapi.FilesystemIdentifier{Mountpoint: "/"},
		UsedBytes:  &runtimeapi.UInt64Value{Value: uint64(len(r.images)) * imageSize},
		InodesUsed: &runtimeapi.UInt64Value{Value: uint64(len(r.images))},
	}
	return &runtimeapi.ImageFsInfoResponse{ImageFilesystems: []*runtimeapi.FilesystemUsage{usage}}, nil
}
