package scheduler

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// ErrLeadershipLost is what Run returns when another process took over.
var ErrLeadershipLost = errors.New("scheduler leadership lost")

// silence is how long a leader may be late with its lease before it is unwell.
const silence = 20 * time.Second

// lead runs work while this process is the leader, or at once if there is no election.
func (s *Scheduler) lead(ctx context.Context, work func(context.Context)) error {
	election := &s.cfg.Configuration.LeaderElection
	if election.LeaderElect == nil || !*election.LeaderElect {
		work(ctx)
		return nil
	}
	lock, err := s.lock()
	if err != nil {
		return err
	}
	ctx, stopWork := context.WithCancel(ctx)
	defer stopWork()
	// The lease is given back only when the work has ended.
	electing, stopElecting := context.WithCancel(context.WithoutCancel(ctx))
	defer stopElecting()
	elected, over := make(chan struct{}), make(chan struct{})
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: lock, Name: "kube-scheduler", ReleaseOnCancel: true, WatchDog: s.election,
		LeaseDuration: orSeconds(election.LeaseDuration, 15), RenewDeadline: orSeconds(election.RenewDeadline, 10), RetryPeriod: orSeconds(election.RetryPeriod, 2),
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { close(elected) },
			OnStoppedLeading: func() { s.log.Info("not leading any more") },
		},
	})
	if err != nil {
		return fmt.Errorf("scheduler leader election: %w", err)
	}
	go func() {
		defer close(over)
		defer stopWork()
		elector.Run(electing)
	}()
	select {
	case <-elected:
		work(ctx)
	case <-ctx.Done():
	}
	lost := electing.Err() == nil && isClosed(over)
	stopElecting()
	<-over
	if lost {
		return ErrLeadershipLost
	}
	return nil
}

// Check is nil while the scheduler is well: it is not the leader, or it renews
// its lease in time.
func (s *Scheduler) Check(request *http.Request) error { return s.election.Check(request) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (s *Scheduler) lock() (resourcelock.Interface, error) {
	election := &s.cfg.Configuration.LeaderElection
	identity := s.cfg.Identity
	if identity == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("identity for leader election: %w", err)
		}
		identity = host + "_" + string(uuid.NewUUID())
	}
	namespace, name := election.ResourceNamespace, election.ResourceName
	if namespace == "" {
		namespace = metav1.NamespaceSystem
	}
	if name == "" {
		name = "kube-scheduler"
	}
	return &resourcelock.LeaseLock{LeaseMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Client: s.cfg.Client.CoordinationV1(), LockConfig: resourcelock.ResourceLockConfig{Identity: identity}}, nil
}

func orSeconds(d metav1.Duration, seconds int) time.Duration {
	if d.Duration == 0 {
		return time.Duration(seconds) * time.Second
	}
	return d.Duration
}
