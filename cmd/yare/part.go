package main

import (
	"context"
	"fmt"
)

// part runs one part of a process in a group. An error names the part; one
// that comes when the end has been asked for is no reason to complain.
func part(ctx context.Context, name string, run func(context.Context) error) func() error {
	return func() error {
		if err := run(ctx); err != nil && ctx.Err() == nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
}
