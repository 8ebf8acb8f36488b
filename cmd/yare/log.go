package main

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/pflag"
	"k8s.io/klog/v2"
)

// logFlags are the logging flags that every component of Kubernetes has.
type logFlags struct {
	verbosity int
	format    string
}

func (l *logFlags) add(flags *pflag.FlagSet) {
	flags.IntVarP(&l.verbosity, "v", "v", 0, "how much to log: 0 what operators need, 4 and more for debugging")
	flags.StringVar(&l.format, "logging-format", "text", "how to log: text or json")
}

// logger writes to standard error, and takes the log of the Kubernetes
// libraries in.
func (l *logFlags) logger() (*slog.Logger, error) {
	options := &slog.HandlerOptions{Level: slog.LevelInfo}
	if l.verbosity >= 4 {
		options.Level = slog.LevelDebug
	}
	var handler slog.Handler
	switch l.format {
	case "text":
		handler = slog.NewTextHandler(os.Stderr, options)
	case "json":
		handler = slog.NewJSONHandler(os.Stderr, options)
	default:
		return nil, fmt.Errorf("--logging-format must be text or json, not %q", l.format)
	}
	logger := slog.New(handler)
	klog.SetSlogLogger(slog.New(libraryLog{handler}).With("component", "client-go"))
	return logger, nil
}
