package codec_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/yare-io/yare/apiserver/codec"
)

func TestContentIsWhatTheLibraryMarshals(t *testing.T) {
	for name, value := range map[string]any{
		"nothing": nil, "yes": true, "zero": int64(0), "least": int64(math.MinInt64), "half": 0.5, "huge": 1e300, "tiny": 1e-9, "whole": 3.0, "int": 7, "number": json.Number("12"),
		"empty": "", "plain": "plain text, ~", "quotes": `a"b\c`, "markup": "<a&b>", "control": "a\nb\x00\x7f", "wide": "é\u2028\u2029", "broken": "a\xffb", "surrogate": "\U0001F600",
		"list": []any{nil, "a", []any{}, map[string]any{}}, "no list": []any(nil), "no map": map[string]any(nil), "texts": []string{"a"},
		"map": map[string]any{"b": int64(1), "a": map[string]any{"<": "x", "é": nil}, "": false},
	} {
		content := map[string]any{"kind": "K", name: value, "apiVersion": "v1"}
		want, err := json.Marshal(content)
		if err != nil {
			t.Fatal(err)
		}
		got, err := codec.MarshalContent(content)
		if err != nil || string(got) != string(want) {
			t.Errorf("%s: %s %v, want %s", name, got, err, want)
		}
	}
	if got, err := codec.MarshalContent(nil); err != nil || string(got) != "null" {
		t.Errorf("nil: %s %v", got, err)
	}
	for _, bad := range []any{math.NaN(), make(chan int)} {
		if _, err := codec.MarshalContent(map[string]any{"a": []any{bad}}); err == nil {
			t.Errorf("%v was marshalled", bad)
		}
	}
}

func BenchmarkMarshalContent(b *testing.B) {
	content := map[string]any{}
	for _, name := range strings.Fields("replicas mode schedule paused selector rules ports template resources conditions") {
		content[name] = map[string]any{"name": "a name of some length", "count": int64(7), "enabled": true, "list": []any{"one", "two", "three"}}
	}
	for name, marshal := range map[string]func(map[string]any) ([]byte, error){
		"yare": codec.MarshalContent, "library": func(content map[string]any) ([]byte, error) { return json.Marshal(content) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := marshal(content); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
