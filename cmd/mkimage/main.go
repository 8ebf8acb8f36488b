// Command mkimage packs static binaries into an OCI image archive that
// `ctr images import` reads. The same input gives the same bytes.
package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(v string) error { *l = append(*l, v); return nil }

func main() {
	var files, env list
	tag := flag.String("tag", "", "`name:tag` of the image")
	out := flag.String("o", "", "archive to write")
	user := flag.String("user", "", "`uid:gid` that the program runs as")
	flag.Var(&files, "file", "`source:path` to pack, executable; the first is the entry point (repeatable)")
	flag.Var(&env, "env", "`NAME=value` in the program's environment (repeatable)")
	flag.Parse()
	if err := build(*tag, *out, *user, files, env); err != nil {
		fmt.Fprintln(os.Stderr, "mkimage:", err)
		os.Exit(1)
	}
}

func build(tag, out, user string, files, env []string) error {
	if out == "" || len(files) == 0 {
		return errors.New("-tag, -o and at least one -file are needed")
	}
	ref, err := name.NewTag(tag, name.StrictValidation)
	if err != nil {
		return err
	}
	content, entrypoint, err := pack(files)
	if err != nil {
		return err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	})
	if err != nil {
		return err
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config = v1.Config{Entrypoint: []string{entrypoint}, Env: append([]string{"PATH=/bin"}, env...), User: user}
	if image, err = mutate.ConfigFile(image, config); err != nil {
		return err
	}
	return tarball.WriteToFile(out, ref, image)
}

// pack makes the one layer: the files, their folders, and an empty /tmp.
func pack(files []string) (content []byte, entrypoint string, err error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}); err != nil {
		return nil, "", err
	}
	for _, f := range files {
		source, target, ok := strings.Cut(f, ":")
		if !ok || !path.IsAbs(target) {
			return nil, "", fmt.Errorf("-file %s: want source:/path", f)
		}
		if entrypoint == "" {
			entrypoint = target
		}
		data, err := os.ReadFile(source)
		if err != nil {
			return nil, "", err
		}
		header := &tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(target, "/"), Mode: 0o755, Size: int64(len(data))}
		if err := errors.Join(w.WriteHeader(header), second(w.Write(data))); err != nil {
			return nil, "", err
		}
	}
	return buf.Bytes(), entrypoint, w.Close()
}

func second(_ int, err error) error { return err }
