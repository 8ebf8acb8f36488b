package operator

import (
	"context"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
)

// finalizer is taken away once nothing is left outside the cluster.
const finalizer = "backup.example.com/cleanup"

// Reconciler keeps the ConfigMaps of Backups.
type Reconciler struct{ client.Client }

// SetupWithManager makes a manager run the reconciler.
func (r *Reconciler) SetupWithManager(manager ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(manager).For(&Backup{}).Owns(&corev1.ConfigMap{}).Complete(r)
}

// Reconcile implements reconcile.Reconciler.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	backup := &Backup{}
	if err := r.Get(ctx, request.NamespacedName, backup); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !backup.DeletionTimestamp.IsZero() {
		if controllerutil.RemoveFinalizer(backup, finalizer) {
			return ctrl.Result{}, r.Update(ctx, backup)
		}
		return ctrl.Result{}, nil
	}
	if controllerutil.AddFinalizer(backup, finalizer) {
		return ctrl.Result{}, r.Update(ctx, backup)
	}
	plan := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: backup.Name, Namespace: backup.Namespace}}
	_, err := controllerutil.CreateOrUpdate(ctx, r.Client, plan, func() error {
		plan.Data = map[string]string{"source": backup.Spec.Source, "retention": strconv.FormatInt(backup.Spec.Retention, 10)}
		return controllerutil.SetControllerReference(backup, plan, r.Scheme())
	})
	if err != nil || backup.Status.ObservedGeneration == backup.Generation {
		return ctrl.Result{}, err
	}
	backup.Status = BackupStatus{Phase: "Planned", ObservedGeneration: backup.Generation}
	return ctrl.Result{}, r.Status().Update(ctx, backup)
}
