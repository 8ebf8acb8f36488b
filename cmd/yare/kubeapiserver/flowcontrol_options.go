package kubeapiserver

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"

	"github.com/spf13/pflag"

	"github.com/yare-io/yare/apiserver/flowcontrol"
)

// flowOptions say how the server is shared among its clients, and which pages of
// browsers are among them.
type flowOptions struct {
	maxReadOnly, maxMutating int
	fair                     bool
	// origins are expressions for the origins of pages that may use the API.
	origins []string
	// goAwayChance is how likely an HTTP/2 client has to open a new connection.
	goAwayChance float64
}

func (o *flowOptions) add(flags *pflag.FlagSet) {
	flags.IntVar(&o.maxReadOnly, "max-requests-inflight", 400, "most read requests served at once; with priority and fairness the sum of this and the next is shared")
	flags.IntVar(&o.maxMutating, "max-mutating-requests-inflight", 200, "most write requests served at once")
	flags.BoolVar(&o.fair, "enable-priority-and-fairness", true, "share the server by flow schemas and priority levels")
	flags.Float64Var(&o.goAwayChance, "goaway-chance", 0, "chance of an HTTP/2 request, from 0 to 0.02, that its client has to open a new connection; for servers behind a balancer")
	flags.StringSliceVar(&o.origins, "cors-allowed-origins", nil, "regular expressions of the origins whose pages may use the API from browsers")
}

// allowedOrigins reads --cors-allowed-origins.
func (o *flowOptions) allowedOrigins() ([]*regexp.Regexp, error) {
	var out []*regexp.Regexp
	for _, text := range o.origins {
		e, err := regexp.Compile(text)
		if err != nil {
			return nil, fmt.Errorf("--cors-allowed-origins: %w", err)
		}
		out = append(out, e)
	}
	return out, nil
}

// controller returns nil when the two limits are to hold.
func (o *flowOptions) controller(logger *slog.Logger) (*flowcontrol.Controller, error) {
	if o.goAwayChance < 0 || o.goAwayChance > 0.02 {
		return nil, fmt.Errorf("--goaway-chance must be from 0 to 0.02, not %v", o.goAwayChance)
	}
	if !o.fair {
		return nil, nil
	}
	seats := o.maxReadOnly + o.maxMutating
	if seats <= 0 {
		return nil, errors.New("--max-requests-inflight and --max-mutating-requests-inflight must not both be 0")
	}
	return flowcontrol.New(flowcontrol.Config{Seats: seats, Logger: logger})
}
