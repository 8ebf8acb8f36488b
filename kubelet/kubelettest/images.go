package kubelettest

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// importImages builds the test program, wraps it in images and loads them into the runtime.
func importImages(dir string) error {
	program := filepath.Join(dir, "app")
	build := exec.Command("go", "build", "-o", program, "github.com/yare-io/yare/kubelet/kubelettest/app")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the test program: %w\n%s", err, output)
	}
	image, err := wrap(program)
	if err != nil {
		return fmt.Errorf("make an image: %w", err)
	}
	for _, tag := range []string{PauseImage, AppImage} {
		ref, err := name.NewTag(tag)
		if err != nil {
			return err
		}
		archive := filepath.Join(dir, "image.tar")
		if err := tarball.WriteToFile(archive, ref, image); err != nil {
			return err
		}
		load := exec.Command("ctr", "-a", filepath.Join(dir, "c.sock"), "-n", "k8s.io", "images", "import", archive)
		if output, err := load.CombinedOutput(); err != nil {
			return fmt.Errorf("import %s: %w\n%s", tag, err, output)
		}
	}
	return nil
}

// wrap makes an image that holds the program at /app.
func wrap(program string) (v1.Image, error) {
	data, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	var layer bytes.Buffer
	archive := tar.NewWriter(&layer)
	for _, dir := range []string{"dev/", "proc/", "sys/", "etc/", "tmp/"} {
		if err := archive.WriteHeader(&tar.Header{Name: dir, Mode: 0o755, Typeflag: tar.TypeDir}); err != nil {
			return nil, err
		}
	}
	if err := archive.WriteHeader(&tar.Header{Name: "app", Mode: 0o755, Size: int64(len(data))}); err != nil {
		return nil, err
	}
	if _, err := archive.Write(data); err != nil {
		return nil, err
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	content, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil })
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, content)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config.Entrypoint = []string{"/app"}
	return mutate.ConfigFile(image, config)
}
