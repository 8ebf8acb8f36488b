package customresource_test

import (
	"fmt"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/yare-io/yare/storage/memory"
)

// definitionsByDefault is how many definitions the benchmark makes unless
// YARE_DEFINITIONS says otherwise.
const definitionsByDefault = 300

// richDefinition has a schema of some forty fields, with rules.
func richDefinition(i int) string {
	var fields strings.Builder
	for j := range 12 {
		fmt.Fprintf(&fields, `"field%d":{"type":"object","description":"What field %d of the specification is there for, in a sentence.","properties":{`+
			`"name":{"type":"string","maxLength":63,"pattern":"^[a-z]+$"},"count":{"type":"integer","minimum":0,"default":1},"enabled":{"type":"boolean"}}},`, j, j)
	}
	return fmt.Sprintf(`{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"kinds%[1]d.group%[2]d.example.com"},`+
		`"spec":{"group":"group%[2]d.example.com","scope":"Namespaced","names":{"plural":"kinds%[1]d","kind":"Kind%[1]d","shortNames":["k%[1]d"]},`+
		`"versions":[{"name":"v1","served":true,"storage":true,"subresources":{"status":{}},"schema":{"openAPIV3Schema":{"type":"object","properties":{`+
		`"spec":{"type":"object","properties":{%[3]s"replicas":{"type":"integer"}},"x-kubernetes-validations":[{"rule":"!has(self.replicas) || self.replicas >= 0"}]},`+
		`"status":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}}}]}}`, i, i/5, fields.String())
}

func heap() float64 {
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return float64(memory.HeapAlloc)
}

// processorTime is what the process has taken, user and system.
func processorTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkManyDefinitions measures what thousands of definitions cost: each of
// them, one more of them, and the start of a server that finds them stored.
func BenchmarkManyDefinitions(b *testing.B) {
	n := definitionsByDefault
	if text := os.Getenv("YARE_DEFINITIONS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	store := memory.New(memory.Config{})
	b.Cleanup(func() { _ = store.Close() })
	w := newWorld(b, store)
	send := func(method, path, body string) int {
		code, answer, _ := w.request(method, path, body, "Content-Type", "application/json")
		if code >= 300 && code != http.StatusNotFound {
			b.Fatalf("%s %s: %d %s", method, path, code, answer)
		}
		return code
	}
	const all = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
	ms := func(begun time.Time) float64 { return float64(time.Since(begun).Microseconds()) / 1e3 }
	// one creates a definition and returns how long it takes to an instance.
	one := func(i int) float64 {
		begun := time.Now()
		send(http.MethodPost, all, richDefinition(i))
		path := fmt.Sprintf("/apis/group%d.example.com/v1/namespaces/default/kinds%d", i/5, i)
		instance := fmt.Sprintf(`{"apiVersion":"group%d.example.com/v1","kind":"Kind%d","metadata":{"name":"a"},"spec":{"replicas":1}}`, i/5, i)
		for send(http.MethodPost, path, instance) == http.StatusNotFound {
			time.Sleep(200 * time.Microsecond)
		}
		return ms(begun)
	}
	measured := map[string]float64{}
	one(n + 100) // what is made once for all definitions
	before, begun := heap(), time.Now()
	for i := range n {
		send(http.MethodPost, all, richDefinition(i))
	}
	w.wait("all are established", func() bool {
		return w.condition(fmt.Sprintf("kinds%d.group%d.example.com", n-1, (n-1)/5), "Established") == "True"
	})
	measured["ms/definition"] = ms(begun) / float64(n)
	measured["KB/definition"] = (heap() - before) / float64(n) / 1024
	var first []float64
	for i := range 20 {
		first = append(first, one(n+i))
	}
	slices.Sort(first)
	measured["ms/first-instance"] = first[len(first)/2]
	for name, path := range map[string]string{
		"discovery": "/apis", "openapi3-index": "/openapi/v3", "openapi3-document": "/openapi/v3/apis/group0.example.com/v1", "openapi2": "/openapi/v2",
	} {
		accept := "application/json"
		if name == "discovery" {
			accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
		}
		read := func(when string) {
			begun, processor := time.Now(), processorTime()
			if code, answer, _ := w.request(http.MethodGet, path, "", "Accept", accept); code != http.StatusOK {
				b.Fatalf("%s: %d %s", path, code, answer)
			}
			measured["ms/"+name+"-"+when] = ms(begun)
			measured["cpu-ms/"+name+"-"+when] = (processorTime() - processor).Seconds() * 1e3
		}
		read("first")
		one(n + 30 + len(name))
		read("after-a-change")
	}
	w.stop()
	begun, processor := time.Now(), processorTime()
	newWorld(b, store)
	measured["ms/start"], measured["cpu-ms/start"] = ms(begun), (processorTime()-processor).Seconds()*1e3
	for b.Loop() { // all of it is measured once
	}
	for unit, value := range measured {
		b.ReportMetric(value, unit)
	}
	b.ReportMetric(0, "ns/op")
}
