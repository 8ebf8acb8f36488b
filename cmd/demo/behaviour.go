package main

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The most that one request may ask for.
const (
	maxWait     = 10 * time.Minute
	maxMegabyte = 16 << 10
)

// behaviour is what the server does when asked, and what it was told to do.
type behaviour struct {
	pod, version string

	mu        sync.Mutex
	failUntil time.Time
	eaten     [][]byte
}

func (b *behaviour) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", b.hello)
	mux.HandleFunc("GET /healthz", b.health)
	mux.HandleFunc("GET /readyz", b.health)
	mux.HandleFunc("GET /slow", b.slow)
	mux.HandleFunc("GET /env", showEnvironment)
	mux.HandleFunc("POST /fail", b.startFailing)
	mux.HandleFunc("POST /eat", b.eat)
	mux.HandleFunc("POST /exit", b.exit)
	return mux
}

func (b *behaviour) hello(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintf(w, "Hello from %s, version %s\n", b.pod, b.version)
}

func (b *behaviour) health(w http.ResponseWriter, _ *http.Request) {
	b.mu.Lock()
	failing := time.Now().Before(b.failUntil)
	b.mu.Unlock()
	if failing {
		http.Error(w, "failing as told", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

func (b *behaviour) slow(w http.ResponseWriter, r *http.Request) {
	wait, ok := duration(w, r)
	if !ok {
		return
	}
	select {
	case <-time.After(wait):
		b.hello(w, r)
	case <-r.Context().Done():
	}
}

func (b *behaviour) startFailing(w http.ResponseWriter, r *http.Request) {
	if wait, ok := duration(w, r); ok {
		b.fail(wait)
		fmt.Fprintf(w, "failing for %s\n", wait)
	}
}

func (b *behaviour) fail(how time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failUntil = time.Now().Add(how)
}

func (b *behaviour) eat(w http.ResponseWriter, r *http.Request) {
	mb, err := strconv.Atoi(r.FormValue("mb"))
	if err != nil || mb < 1 || mb > maxMegabyte {
		http.Error(w, fmt.Sprintf("mb must be a number from 1 to %d", maxMegabyte), http.StatusBadRequest)
		return
	}
	meal := make([]byte, mb<<20)
	for i := 0; i < len(meal); i += os.Getpagesize() {
		meal[i] = 1
	}
	b.mu.Lock()
	b.eaten = append(b.eaten, meal)
	b.mu.Unlock()
	fmt.Fprintf(w, "ate %d MiB\n", mb)
}

func (b *behaviour) exit(w http.ResponseWriter, r *http.Request) {
	code, err := strconv.Atoi(r.FormValue("code"))
	if err != nil {
		http.Error(w, "code must be a number", http.StatusBadRequest)
		return
	}
	fmt.Fprintln(w, "bye")
	_ = http.NewResponseController(w).Flush()
	os.Exit(code)
}

func showEnvironment(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintln(w, strings.Join(os.Environ(), "\n"))
}

func duration(w http.ResponseWriter, r *http.Request) (time.Duration, bool) {
	d, err := time.ParseDuration(r.FormValue("for"))
	if err != nil || d < 0 || d > maxWait {
		http.Error(w, fmt.Sprintf("for must be a duration up to %s, such as 2s", maxWait), http.StatusBadRequest)
		return 0, false
	}
	return d, true
}
