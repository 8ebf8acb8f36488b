package cri

import (
	"context"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// ImageStatus returns the image, or nil if the runtime does not have it.
func (c *Client) ImageStatus(ctx context.Context, image string) (*runtimeapi.Image, error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	resp, err := c.images.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: image}})
	if err != nil {
		return nil, err
	}
	return resp.Image, nil
}

// ListImages returns every image the runtime holds.
func (c *Client) ListImages(ctx context.Context) ([]*runtimeapi.Image, error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	resp, err := c.images.ListImages(ctx, &runtimeapi.ListImagesRequest{})
	if err != nil {
		return nil, err
	}
	return resp.Images, nil
}

// PullImage fetches an image and returns its reference. Only ctx bounds it.
func (c *Client) PullImage(ctx context.Context, image string, auth *runtimeapi.AuthConfig, sandbox *runtimeapi.PodSandboxConfig) (string, error) {
	resp, err := c.images.PullImage(ctx, &runtimeapi.PullImageRequest{
		Image: &runtimeapi.ImageSpec{Image: image, UserSpecifiedImage: image}, Auth: auth, SandboxConfig: sandbox,
	})
	if err != nil {
		return "", err
	}
	return resp.ImageRef, nil
}

// RemoveImage removes an image. Removing twice is no error.
func (c *Client) RemoveImage(ctx context.Context, image string) error {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	_, err := c.images.RemoveImage(ctx, &runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: image}})
	return ignoreNotFound(err)
}

// ImageFilesystem returns where images are stored and how much they take, or nil if the runtime does not say.
func (c *Client) ImageFilesystem(ctx context.Context) (*runtimeapi.FilesystemUsage, error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	resp, err := c.images.ImageFsInfo(ctx, &runtimeapi.ImageFsInfoRequest{})
	if err != nil {
		return nil, err
	}
	if len(resp.ImageFilesystems) == 0 {
		return nil, nil
	}
	return resp.ImageFilesystems[0], nil
}
