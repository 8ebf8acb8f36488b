package volume_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/yare-io/yare/kubelet/volume"
)

func file(text string) volume.File { return volume.File{Data: []byte(text), Mode: 0o644} }

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestWriteReplacesAllFilesAtOnce(t *testing.T) {
	dir := t.TempDir()
	if err := volume.Write(dir, map[string]volume.File{"a": file("1"), "deep/er/b": file("2"), "gone": file("3")}, nil); err != nil {
		t.Fatal(err)
	}
	if read(t, dir+"/a") != "1" || read(t, dir+"/deep/er/b") != "2" {
		t.Error("files are not as written")
	}
	before, err := os.Readlink(dir + "/..data")
	if err != nil {
		t.Fatal(err)
	}
	same := map[string]volume.File{"a": file("new"), "deep/er/b": file("2")}
	for range 2 {
		if err := volume.Write(dir, same, nil); err != nil {
			t.Fatal(err)
		}
	}
	after, err := os.Readlink(dir + "/..data")
	if err != nil || before == after {
		t.Errorf("the data link still points to %s (%v)", after, err)
	}
	if read(t, dir+"/a") != "new" {
		t.Error("a is not updated")
	}
	if _, err := os.Lstat(dir + "/gone"); !os.IsNotExist(err) {
		t.Errorf("gone is still there: %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 4 { // ..data, its directory, a, deep
		t.Errorf("entries: %v, %v", entries, err)
	}
}

func TestWriteTouchesNothingIfNothingDiffers(t *testing.T) {
	dir := t.TempDir()
	files := map[string]volume.File{"a": file("1")}
	var links []string
	for range 2 {
		if err := volume.Write(dir, files, nil); err != nil {
			t.Fatal(err)
		}
		link, err := os.Readlink(dir + "/..data")
		if err != nil {
			t.Fatal(err)
		}
		links = append(links, link)
	}
	if links[0] != links[1] {
		t.Error("the same files were written again")
	}
	files["a"] = volume.File{Data: []byte("1"), Mode: 0o400}
	if err := volume.Write(dir, files, nil); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir + "/a"); err != nil || info.Mode().Perm() != 0o400 {
		t.Errorf("a changed mode was not written: %v, %v", info, err)
	}
}

func TestWriteRefusesPathsThatLeaveTheVolume(t *testing.T) {
	for _, path := range []string{"", ".", "..", "../a", "/a", "a/../../b", "..a", "..data/x", "a/", strings.Repeat("x", 256)} {
		dir := t.TempDir()
		err := volume.Write(dir, map[string]volume.File{path: file("x")}, nil)
		if path == "a/" { // cleaned to "a", which is fine
			if err != nil {
				t.Errorf("%q: %v", path, err)
			}
			continue
		}
		if err == nil {
			t.Errorf("%q was written", path)
		}
	}
	if err := volume.Write(t.TempDir(), map[string]volume.File{"a": file(""), "a/b": file("")}, nil); err == nil {
		t.Error("a path below a file was accepted")
	}
}

func FuzzWriteStaysInside(f *testing.F) {
	for _, seed := range []string{"a", "../x", "a/../../x", "..data", "a//b", "a\x00b", "./..", "a/./b"} {
		f.Add(seed, "key")
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		parent := t.TempDir()
		dir := filepath.Join(parent, "volume")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		err := volume.Write(dir, map[string]volume.File{one: file("1"), two: file("2")}, nil)
		outside, readErr := os.ReadDir(parent)
		if readErr != nil || len(outside) != 1 {
			t.Fatalf("%q, %q: outside the volume there is %v (%v)", one, two, outside, readErr)
		}
		if err != nil {
			return
		}
		want := "1"
		if filepath.Clean(one) == filepath.Clean(two) {
			want = "" // one of the two won
		}
		if got := read(t, filepath.Join(dir, one)); want != "" && got != want {
			t.Fatalf("%q holds %q", one, got)
		}
	})
}

func TestSubPathStaysInside(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to mount")
	}
	base := t.TempDir()
	vol, secret := base+"/vol", base+"/secret"
	for _, dir := range []string{vol + "/in", secret} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for path, target := range map[string]string{
		vol + "/absolute": secret, vol + "/relative": "../secret", vol + "/fine": "in", vol + "/in/up": "../../secret",
	} {
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
	}
	stable := base + "/stable/0"
	t.Cleanup(func() { unmount(t, stable) })
	for _, sub := range []string{"..", "../secret", "/etc", "absolute", "relative", "absolute/new", "relative/new", "in/up", "in/up/new"} {
		if _, err := volume.BindSubPath(vol, sub, stable); err == nil {
			t.Errorf("%q was mounted", sub)
		}
	}
	if entries, err := os.ReadDir(secret); err != nil || len(entries) > 0 {
		t.Errorf("something was made outside: %v, %v", entries, err)
	}
	for _, sub := range []string{"in", "fine", "new/deeper", "new"} {
		path, err := volume.BindSubPath(vol, sub, stable)
		if err != nil {
			t.Errorf("%q: %v", sub, err)
			continue
		}
		if err := os.WriteFile(path+"/mark", []byte(sub), 0o644); err != nil {
			t.Error(err)
		}
		if read(t, filepath.Join(vol, sub, "mark")) != sub {
			t.Errorf("%q is mounted from elsewhere", sub)
		}
	}
}

func TestSubPathOfAFile(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to mount")
	}
	base := t.TempDir()
	if err := os.Mkdir(base+"/vol", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := volume.Write(base+"/vol", map[string]volume.File{"key": file("value")}, nil); err != nil {
		t.Fatal(err)
	}
	stable := base + "/stable/0"
	t.Cleanup(func() { unmount(t, stable) })
	path, err := volume.BindSubPath(base+"/vol", "key", stable)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() || read(t, path) != "value" {
		t.Errorf("%v, %v", info, err)
	}
}
