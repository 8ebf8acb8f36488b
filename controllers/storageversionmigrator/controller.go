// Package storageversionmigrator writes all objects of a resource again, so
// that the store keeps them in its storage version and under its newest key,
// for who asks for it by a StorageVersionMigration.
package storageversionmigrator

import (
	"cmp"
	"context"
	"slices"

	migrationv1 "k8s.io/api/storagemigration/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	listers "k8s.io/client-go/listers/storagemigration/v1"

	"github.com/yare-io/yare/controllers/worker"
)

// manager is the name under which objects and definitions are patched.
const manager = "storage-version-migrator-controller"

type controller struct {
	env        *worker.Env
	migrations listers.StorageVersionMigrationLister
}

// New makes the storage version migrator controller. One migration of a
// resource runs at a time, the oldest first; those of different resources do
// not wait for each other.
func New(env *worker.Env) (worker.Runner, error) {
	informer := env.Informers.Storagemigration().V1().StorageVersionMigrations()
	c := &controller{env: env, migrations: informer.Lister()}
	loop := worker.NewLoop(env, worker.Options[metav1.GroupResource]{Queue: "storage_version_migrator", Workers: env.Workers, Reconcile: c.reconcile})
	worker.Watch(loop, informer.Informer(), func(old, now *migrationv1.StorageVersionMigration) {
		loop.Add(worker.Latest(old, now).Spec.Resource)
	})
	return loop, nil
}

// reconcile concludes the migrations of a resource that are over, and works on
// the next one.
func (c *controller) reconcile(ctx context.Context, resource metav1.GroupResource) error {
	all, err := c.migrations.List(labels.Everything())
	if err != nil {
		return err
	}
	var waiting []*migrationv1.StorageVersionMigration
	for _, m := range all {
		switch {
		case m.Spec.Resource != resource:
		case !over(m):
			waiting = append(waiting, m.DeepCopy())
		case meta.FindStatusCondition(m.Status.Conditions, string(migrationv1.MigrationRunning)) != nil:
			if err := c.conclude(ctx, m.DeepCopy()); err != nil {
				return err
			}
		}
	}
	if len(waiting) == 0 {
		return nil
	}
	return c.work(ctx, slices.MinFunc(waiting, next))
}

// next orders by what is to be done first: what runs, then what is oldest.
func next(a, b *migrationv1.StorageVersionMigration) int {
	return cmp.Or(
		cmp.Compare(rank(a), rank(b)),
		a.CreationTimestamp.Compare(b.CreationTimestamp.Time),
		cmp.Compare(a.Name, b.Name),
	)
}

func rank(m *migrationv1.StorageVersionMigration) int {
	if is(m, migrationv1.MigrationRunning) {
		return 0
	}
	return 1
}

func is(m *migrationv1.StorageVersionMigration, kind migrationv1.MigrationConditionType) bool {
	return meta.IsStatusConditionTrue(m.Status.Conditions, string(kind))
}

func over(m *migrationv1.StorageVersionMigration) bool {
	return is(m, migrationv1.MigrationSucceeded) || is(m, migrationv1.MigrationFailed)
}

// work takes a migration from where it is to its end. When it is interrupted,
// it begins again with the first object: what is migrated is not written twice.
func (c *controller) work(ctx context.Context, m *migrationv1.StorageVersionMigration) error {
	target, err := c.find(m.Spec.Resource)
	if err != nil {
		return err
	}
	if target == nil {
		return c.end(ctx, m, migrationv1.MigrationFailed, "resource does not exist in discovery, or cannot be listed and patched")
	}
	if m.Status.ResourceVersion == "" {
		if m.Status.ResourceVersion, err = c.latest(ctx, target); err != nil {
			return err
		}
	}
	set(m, migrationv1.MigrationRunning, metav1.ConditionTrue, "MigrationRunning", "The migration is running")
	if m, err = c.updateStatus(ctx, m); err != nil {
		return err
	}
	if err := c.markDefinition(ctx, m.Spec.Resource, m.Name); err != nil {
		return err
	}
	problem, err := c.rewrite(ctx, target)
	switch {
	case err != nil:
		return err
	case problem != nil:
		return c.end(ctx, m, migrationv1.MigrationFailed, "migration encountered unhandled error: "+problem.Error())
	}
	return c.end(ctx, m, migrationv1.MigrationSucceeded, "")
}

// reasons of the conditions that end a migration.
var reasons = map[migrationv1.MigrationConditionType]string{
	migrationv1.MigrationSucceeded: "StorageVersionMigrationSucceeded",
	migrationv1.MigrationFailed:    "StorageVersionMigrationFailed",
}

// end writes down how a migration went, and concludes it.
func (c *controller) end(ctx context.Context, m *migrationv1.StorageVersionMigration, how migrationv1.MigrationConditionType, message string) error {
	if running := meta.FindStatusCondition(m.Status.Conditions, string(migrationv1.MigrationRunning)); running != nil {
		running.Status = metav1.ConditionFalse
	}
	set(m, how, metav1.ConditionTrue, reasons[how], message)
	m, err := c.updateStatus(ctx, m)
	if err != nil {
		return err
	}
	return c.conclude(ctx, m)
}

// conclude tells the definition of a custom resource, and takes the condition
// Running away, which says that this is still to be done.
func (c *controller) conclude(ctx context.Context, m *migrationv1.StorageVersionMigration) error {
	if !meta.RemoveStatusCondition(&m.Status.Conditions, string(migrationv1.MigrationRunning)) {
		return nil
	}
	if err := c.concludeDefinition(ctx, m.Spec.Resource, is(m, migrationv1.MigrationSucceeded)); err != nil {
		return err
	}
	_, err := c.updateStatus(ctx, m)
	return err
}

func set(m *migrationv1.StorageVersionMigration, kind migrationv1.MigrationConditionType, status metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(&m.Status.Conditions, metav1.Condition{Type: string(kind), Status: status, Reason: reason, Message: message})
}

func (c *controller) updateStatus(ctx context.Context, m *migrationv1.StorageVersionMigration) (*migrationv1.StorageVersionMigration, error) {
	return c.env.Client.StoragemigrationV1().StorageVersionMigrations().UpdateStatus(ctx, m, metav1.UpdateOptions{})
}
