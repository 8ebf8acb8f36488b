package kubeapiserver

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"github.com/yare-io/yare/cmd/yare/part"
	"github.com/yare-io/yare/controllers"
)

// suiteResync is how soon the garbage collector of a test suite knows the
// kinds that the suite defines.
const suiteResync = 100 * time.Millisecond

// RunWithControllers is Run, with controllers beside it in the process, as test
// suites want them. CheckNames of package controllers tells which there are.
func (s *Server) RunWithControllers(ctx context.Context, names []string) error {
	manager, err := controllers.New(controllers.Config{
		Clients: controllers.NewClients(func(identity string) (*rest.Config, error) {
			info := System(identity)
			if identity != controllers.ManagerIdentity {
				info = ServiceAccount(identity)
			}
			return s.ConfigFor(info, "kube-controller-manager/"+identity), nil
		}),
		Controllers:   names,
		GarbageResync: suiteResync,
		Log:           s.logger.With("component", "controllers"),
		Metrics:       s.Metrics(),
	})
	if err != nil {
		return fmt.Errorf("controllers: %w", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(part.Named(ctx, "API server", s.Run))
	group.Go(func() error {
		select {
		case <-s.ready:
			return part.Named(ctx, "controllers", manager.Run)()
		case <-ctx.Done():
			return nil
		}
	})
	return group.Wait()
}
