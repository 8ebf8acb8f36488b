// Package part runs the parts of a process.
package part

import (
	"context"
	"fmt"
)

// Named is what one part of a process does in an errgroup. An error names the
// part; one that comes when the end has been asked for is no reason to complain.
func Named(ctx context.Context, name string, run func(context.Context) error) func() error {
	return func() error {
		if err := run(ctx); err != nil && ctx.Err() == nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
}
