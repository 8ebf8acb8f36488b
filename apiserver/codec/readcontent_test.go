package codec

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"reflect"
	"strings"
	"testing"

	kjson "sigs.k8s.io/json"
)

// What is read is what sigs.k8s.io/json reads, mistakes included.
func TestContentIsReadAsTheLibraryReadsIt(t *testing.T) {
	bodies := []string{
		`{}`, ` { } `, "{\"a\":1}\n", `null`, `[]`, `1`, ``, ` `, `{`, `{"a"`, `{"a":}`, `{"a":1}x`, `{"a":1}{}`, `{"a":1,}`, `{"a":[1,]}`, `{a:1}`, `{"a":nul}`,
		`{"a":0}`, `{"a":-0}`, `{"a":-0.0}`, `{"a":01}`, `{"a":1.0}`, `{"a":1e3}`, `{"a":1E400}`, `{"a":9223372036854775807}`, `{"a":9223372036854775808}`, `{"a":-9223372036854775809}`, `{"a":+1}`,
		`{"a":"\u00e9\ud83d\ude00\n"}`, `{"a":"\ud800"}`, "{\"a\":\"\xff\"}", "{\"a\":\"\x01\"}", `{"a":"b\/c"}`, `{"\u0061":1}`,
		`{"a":1,"a":2}`, `{"a":{"b":1},"a":{"c":2}}`, `{"b":{"a":1,"a":2}}`, `{"a":1,"A":2}`, `{"a":null,"b":[null,true,false,[],{}]}`,
		`{"a":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}`, `{"a":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`,
	}
	random := rand.New(rand.NewSource(1))
	for range 200 {
		raw, err := json.Marshal(map[string]any{"a": randomValue(random, 4)})
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, string(raw))
	}
	for _, body := range bodies {
		var want, wantStrict map[string]any
		wantErr := kjson.UnmarshalCaseSensitivePreserveInts([]byte(body), &want)
		if got, err := UnmarshalContent([]byte(body)); fmt.Sprint(err) != fmt.Sprint(wantErr) || err == nil && !reflect.DeepEqual(got, want) {
			t.Errorf("%.80s is read as %v %v, want %v %v", body, got, err, want, wantErr)
		}
		wantWarnings, wantErr := kjson.UnmarshalStrict([]byte(body), &wantStrict)
		got, warnings, err := unmarshalContentStrict([]byte(body))
		if fmt.Sprint(err, warnings) != fmt.Sprint(wantErr, wantWarnings) || err == nil && !reflect.DeepEqual(got, wantStrict) {
			t.Errorf("%.80s is strictly read as %v %v %v, want %v %v %v", body, got, warnings, err, wantStrict, wantWarnings, wantErr)
		}
	}
}

func randomValue(r *rand.Rand, depth int) any {
	switch n := r.Intn(8); {
	case n == 0:
		return r.Int63() - r.Int63()
	case n == 1:
		return r.NormFloat64()
	case n == 2:
		return nil
	case n == 3:
		return r.Intn(2) == 0
	case n < 6 && depth > 0:
		object := map[string]any{}
		for range r.Intn(6) {
			object[fmt.Sprint("k\"<é", r.Intn(100))] = randomValue(r, depth-1)
		}
		return object
	case n == 6 && depth > 0:
		array := []any{}
		for range r.Intn(6) {
			array = append(array, randomValue(r, depth-1))
		}
		return array
	}
	return strings.Repeat("é\\\u2028x", r.Intn(5))
}

func BenchmarkUnmarshalContent(b *testing.B) {
	raw, err := json.Marshal(map[string]any{"metadata": map[string]any{"name": "a", "labels": map[string]any{"a": "b"}}, "spec": randomSpec()})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := UnmarshalContent(raw); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("library", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var content map[string]any
			if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &content); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// randomSpec is some 2 KB of the kind that custom resources have.
func randomSpec() map[string]any {
	items := []any{}
	for i := range 24 {
		items = append(items, map[string]any{"name": fmt.Sprint("item-", i), "port": 8000 + i, "enabled": true, "value": "some text of a usual length"})
	}
	return map[string]any{"items": items, "replicas": 3}
}
