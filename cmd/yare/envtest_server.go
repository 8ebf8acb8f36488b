package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"github.com/yare-io/yare/controllers"
)

// adjust makes an API server one of a test suite.
func (s *envtestSettings) adjust(o *apiServerOptions) {
	if s.Storage == "memory" {
		o.storageBackend, o.etcdServers = "memory", nil
	}
}

// suiteResync is how soon the garbage collector of a test suite knows the
// kinds that the suite defines.
const suiteResync = 100 * time.Millisecond

// runWithControllers runs controllers beside an API server, in its process.
func (s *envtestSettings) runWithControllers(ctx context.Context, server *apiServer) error {
	manager, err := controllers.New(controllers.Config{
		Clients: controllers.NewClients(func(identity string) (*rest.Config, error) {
			info := system(identity)
			if identity != controllers.ManagerIdentity {
				info = serviceAccount(identity)
			}
			return server.configFor(info, "kube-controller-manager/"+identity), nil
		}),
		Controllers:   s.Controllers,
		GarbageResync: suiteResync,
		Log:           server.logger.With("component", "controllers"),
		Metrics:       server.Metrics(),
	})
	if err != nil {
		return fmt.Errorf("controllers: %w", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(part(ctx, "API server", server.Run))
	group.Go(func() error {
		select {
		case <-server.ready:
			return part(ctx, "controllers", manager.Run)()
		case <-ctx.Done():
			return nil
		}
	})
	return group.Wait()
}
