package engine

import (
	"os"
	"path/filepath"
	"testing"
)

func FuzzLayoutsNeverPanic(f *testing.F) {
	f.Add(`{"manifests": [{"digest": "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}]}`, `{"layers": [{"digest": "sha256:../../x"}]}`)
	f.Add(`{"manifests": [{"digest": "sha256:../../../etc/passwd"}]}`, ``)
	f.Fuzz(func(t *testing.T, index, blob string) {
		dir := t.TempDir()
		blobs := filepath.Join(dir, "blobs", "sha256")
		if err := os.MkdirAll(blobs, 0o700); err != nil {
			t.Fatal(err)
		}
		for file, text := range map[string]string{
			filepath.Join(dir, "index.json"): index,
			filepath.Join(blobs, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"): blob,
		} {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		l := &layout{name: "fuzzed", dir: dir, file: filepath.Join(dir, "out", "bundle.tar.gz")}
		if err := l.update(); err == nil {
			t.Error("a layout without a bundle was copied")
		}
	})
}
