package main

import (
	"errors"
	"log/slog"

	"github.com/spf13/pflag"

	"github.com/yare-io/yare/apiserver/flowcontrol"
)

// flowOptions say how the server is shared among its clients.
type flowOptions struct {
	maxReadOnly, maxMutating int
	fair                     bool
}

func (o *flowOptions) add(flags *pflag.FlagSet) {
	flags.IntVar(&o.maxReadOnly, "max-requests-inflight", 400, "most read requests served at once; with priority and fairness the sum of this and the next is shared")
	flags.IntVar(&o.maxMutating, "max-mutating-requests-inflight", 200, "most write requests served at once")
	flags.BoolVar(&o.fair, "enable-priority-and-fairness", true, "share the server by flow schemas and priority levels")
}

// controller returns nil when the two limits are to hold.
func (o *flowOptions) controller(logger *slog.Logger) (*flowcontrol.Controller, error) {
	if !o.fair {
		return nil, nil
	}
	seats := o.maxReadOnly + o.maxMutating
	if seats <= 0 {
		return nil, errors.New("--max-requests-inflight and --max-mutating-requests-inflight must not both be 0")
	}
	return flowcontrol.New(flowcontrol.Config{Seats: seats, Logger: logger})
}
