package main

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// evictionOptions are the flags about what must be left of a node.
type evictionOptions struct {
	hard []string
}

func (o *evictionOptions) add(flags *pflag.FlagSet) {
	flags.StringSliceVar(&o.hard, "eviction-hard", nil, "least amounts of what pods are evicted for, as memory.available<100Mi,nodefs.available<10% (default: Kubernetes')")
}

// thresholds are the amounts by signal, nil where the flag was not given.
func (o *evictionOptions) thresholds() (map[string]string, error) {
	var out map[string]string
	for _, text := range o.hard {
		signal, value, ok := strings.Cut(text, "<")
		if !ok || signal == "" || value == "" {
			return nil, fmt.Errorf("--eviction-hard: %q is not of the form signal<amount", text)
		}
		if out == nil {
			out = map[string]string{}
		}
		out[strings.TrimSpace(signal)] = strings.TrimSpace(value)
	}
	return out, nil
}
