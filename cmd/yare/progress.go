package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progress tells the person at the terminal how far the start has come. The
// log is elsewhere.
type progress struct {
	mu    sync.Mutex
	out   io.Writer
	begin time.Time
}

func newProgress(out io.Writer) *progress { return &progress{out: out, begin: time.Now()} }

// done reports a step that is over, and when.
func (p *progress) done(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, "%6.2fs  %s\n", time.Since(p.begin).Seconds(), fmt.Sprintf(format, args...))
}

// next says what to type once the cluster is up.
func (p *progress) next(kubeconfig string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, `
The cluster is up. In another terminal:

  export KUBECONFIG=%s
  bin/kubectl get nodes
  bin/kubectl create deployment web --image=yare.local/demo:v1 --replicas=3
  bin/kubectl rollout status deployment/web
  bin/kubectl expose deployment web --port=80 --target-port=8080
  bin/kubectl get pods,svc,endpointslices -o wide

Ctrl-C stops it; containers go on until "make down".
`, kubeconfig)
}
