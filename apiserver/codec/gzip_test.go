package codec_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/yare-io/yare/apiserver/codec"
)

func maps(n int) []corev1.ConfigMap {
	out := make([]corev1.ConfigMap, n)
	for i := range out {
		out[i].Name = fmt.Sprint("m", i)
		out[i].Data = map[string]string{"k": strings.Repeat(fmt.Sprint(i), i*37%9000)}
	}
	return out
}

// A list that is put together of compressed items, or written piece by piece,
// says what the plain list says.
func TestListsInPieces(t *testing.T) {
	meta := metav1.ListMeta{ResourceVersion: "7"}
	for _, f := range []codec.Format{codec.JSON, codec.Protobuf, codec.CBOR} {
		for _, n := range []int{0, 1, 2, 300} {
			var plain, small [][]byte
			objects := maps(n)
			for i := range objects {
				raw, err := codec.Encode(f, &objects[i])
				if err != nil {
					t.Fatal(err)
				}
				compressed, err := codec.Bytes(codec.Deflated(f.Bare()), &objects[i])
				if err != nil {
					t.Fatal(err)
				}
				plain, small = append(plain, raw), append(small, compressed)
			}
			want, err := codec.WrapList(f, listKind, meta, plain)
			if err != nil {
				t.Fatal(err)
			}
			whole, err := codec.NewList(f, listKind, meta, plain)
			if got := written(t, whole, err); !bytes.Equal(got, want) || whole.Size() != len(want) {
				t.Errorf("%s of %d: %d bytes, not %d", f.MediaType(), n, len(got), len(want))
			}
			zipped, err := codec.NewGzipList(f, listKind, meta, small)
			if got := unzipped(t, written(t, zipped, err)); !bytes.Equal(got, want) || zipped.Size() != len(want) {
				t.Errorf("%s of %d, compressed: %d bytes, not %d", f.MediaType(), n, len(got), len(want))
			}
			if !f.Streams() {
				continue
			}
			streamed, err := codec.StreamList(f, listKind, meta, n, func(i int) ([]byte, error) { return plain[i], nil }, false)
			if got := written(t, streamed, err); !bytes.Equal(got, want) {
				t.Errorf("%s of %d, streamed: %d bytes, not %d", f.MediaType(), n, len(got), len(want))
			}
			streamed, err = codec.StreamList(f, listKind, meta, n, func(i int) ([]byte, error) { return small[i], nil }, true)
			if got := unzipped(t, written(t, streamed, err)); !bytes.Equal(got, want) {
				t.Errorf("%s of %d, streamed and compressed: %d bytes, not %d", f.MediaType(), n, len(got), len(want))
			}
		}
	}
}

func written(t *testing.T, list *codec.List, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if n, err := list.WriteTo(&b); err != nil || n != int64(b.Len()) {
		t.Fatalf("wrote %d of %d: %v", n, b.Len(), err)
	}
	return b.Bytes()
}

func unzipped(t *testing.T, stream []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(stream))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestBrokenListsDoNotEnd(t *testing.T) {
	wrong := errors.New("wrong")
	item := func(i int) ([]byte, error) {
		if i == 1 {
			return nil, wrong
		}
		return []byte("{}"), nil
	}
	list, err := codec.StreamList(codec.JSON, listKind, metav1.ListMeta{}, 3, item, false)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := list.WriteTo(&b); !errors.Is(err, codec.ErrItem) || !errors.Is(err, wrong) || strings.Contains(b.String(), "]}") {
		t.Errorf("%v, %s", err, b.String())
	}
}
