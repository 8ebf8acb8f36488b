// Command demo is the program in the image yare.local/demo: a small HTTP
// server for trying a cluster out. It says which pod and version answered,
// and can be told to misbehave.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const usage = `demo answers HTTP on $PORT (8080).

  GET  /                 which pod and version answer
  GET  /healthz /readyz  200, or 503 while told to fail
  GET  /slow?for=2s      answers after that time
  GET  /env              the environment, a line each
  POST /fail?for=30s     health and readiness fail for that time
  POST /eat?mb=64        takes that much memory and keeps it
  POST /exit?code=1      ends the process

On SIGTERM it turns unready, goes on answering for $DRAIN (2s), and ends.
`

func main() {
	if len(os.Args) > 1 {
		fmt.Print(usage)
		return
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run() error {
	drain, err := time.ParseDuration(env("DRAIN", "2s"))
	if err != nil {
		return fmt.Errorf("DRAIN: %w", err)
	}
	hostname, err := os.Hostname()
	if err != nil {
		return err
	}
	behaviour := &behaviour{pod: env("POD_NAME", hostname), version: env("VERSION", "dev")}
	server := &http.Server{
		Addr:              ":" + env("PORT", "8080"),
		Handler:           behaviour.routes(),
		ReadHeaderTimeout: 10 * time.Second,
	}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	fmt.Printf("%s (%s) listens on %s\n", behaviour.pod, behaviour.version, server.Addr)

	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	behaviour.fail(time.Hour)
	fmt.Printf("draining for %s\n", drain)
	time.Sleep(drain)
	shutdown, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := server.Shutdown(shutdown); err != nil {
		return err
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}
