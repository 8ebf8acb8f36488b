package main

import (
	"context"
	"errors"
	"fmt"
)

// part runs one part of a process in a group: an error names the part, and an
// end that was asked for is none.
func part(ctx context.Context, name string, run func(context.Context) error) func() error {
	return func() error {
		err := run(ctx)
		if err == nil || ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx))) {
			return nil
		}
		return fmt.Errorf("%s: %w", name, err)
	}
}
