package flowcontrol

import (
	"context"
	"errors"
	"fmt"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	flowcontrolclient "k8s.io/client-go/kubernetes/typed/flowcontrol/v1"
	flowcontrollisters "k8s.io/client-go/listers/flowcontrol/v1"
	"k8s.io/client-go/tools/cache"
)

// Keeper keeps a controller's configuration and the cluster's objects in step:
// it follows the objects, makes those that every cluster has, and says on each
// schema whether its level is there.
type Keeper struct {
	controller *Controller
	client     flowcontrolclient.FlowcontrolV1Interface
	schemas    flowcontrollisters.FlowSchemaLister
	levels     flowcontrollisters.PriorityLevelConfigurationLister
	synced     []cache.InformerSynced
	changed    chan struct{}
}

// NewKeeper prepares a keeper; the caller starts the factory.
func NewKeeper(c *Controller, client kubernetes.Interface, factory informers.SharedInformerFactory) (*Keeper, error) {
	group := factory.Flowcontrol().V1()
	k := &Keeper{
		controller: c, client: client.FlowcontrolV1(),
		schemas: group.FlowSchemas().Lister(), levels: group.PriorityLevelConfigurations().Lister(),
		changed: make(chan struct{}, 1),
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { k.wake() }, UpdateFunc: func(any, any) { k.wake() }, DeleteFunc: func(any) { k.wake() },
	}
	for _, informer := range []cache.SharedIndexInformer{group.FlowSchemas().Informer(), group.PriorityLevelConfigurations().Informer()} {
		registration, err := informer.AddEventHandler(handler)
		if err != nil {
			return nil, err
		}
		k.synced = append(k.synced, registration.HasSynced)
	}
	return k, nil
}

func (k *Keeper) wake() {
	select {
	case k.changed <- struct{}{}:
	default:
	}
}

const (
	// maintainPeriod is how often the objects are looked after without a cause.
	maintainPeriod = time.Minute
	// retryPeriod is how soon a round that failed is made again.
	retryPeriod = time.Second
)

// Run keeps configuration and objects in step, and lends seats, until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	lending := make(chan struct{})
	go func() {
		defer close(lending)
		k.controller.lend(ctx)
	}()
	defer func() { <-lending }()
	if !cache.WaitForCacheSync(ctx.Done(), k.synced...) {
		return nil
	}
	for {
		period := maintainPeriod
		if err := k.keep(ctx); err != nil && ctx.Err() == nil {
			k.controller.config.Logger.Warn("flow control objects could not be kept up to date; will try again", "error", err)
			period = retryPeriod
		}
		next := k.controller.config.Clock.NewTimer(period)
		select {
		case <-ctx.Done():
		case <-k.changed:
		case <-next.C():
		}
		next.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// keep does one round.
func (k *Keeper) keep(ctx context.Context) error {
	if err := k.ensure(ctx); err != nil {
		return err
	}
	schemas, err := k.schemas.List(labels.Everything())
	if err != nil {
		return err
	}
	levels, err := k.levels.List(labels.Everything())
	if err != nil {
		return err
	}
	k.controller.Configure(schemas, levels)
	there := map[string]bool{}
	for _, l := range levels {
		there[l.Name] = true
	}
	var errs []error
	for _, s := range schemas {
		errs = append(errs, k.mark(ctx, s, there[s.Spec.PriorityLevelConfiguration.Name]))
	}
	return errors.Join(errs...)
}

// mark says on a schema whether its level is there.
func (k *Keeper) mark(ctx context.Context, s *flowcontrolv1.FlowSchema, there bool) error {
	name := s.Spec.PriorityLevelConfiguration.Name
	want := flowcontrolv1.FlowSchemaCondition{
		Type: flowcontrolv1.FlowSchemaConditionDangling, Status: flowcontrolv1.ConditionTrue, Reason: "NotFound",
		Message: fmt.Sprintf("This FlowSchema references the PriorityLevelConfiguration object named %q but there is no such object", name),
	}
	if there {
		want.Status, want.Reason = flowcontrolv1.ConditionFalse, "Found"
		want.Message = fmt.Sprintf("This FlowSchema references the PriorityLevelConfiguration object named %q and it exists", name)
	}
	changed := s.DeepCopy()
	kept := changed.Status.Conditions[:0]
	for _, c := range s.Status.Conditions {
		if c.Type != want.Type {
			kept = append(kept, c)
			continue
		}
		if c.Status == want.Status && c.Reason == want.Reason && c.Message == want.Message {
			return nil
		}
		if c.Status == want.Status {
			want.LastTransitionTime = c.LastTransitionTime
		}
	}
	if want.LastTransitionTime.IsZero() {
		want.LastTransitionTime = metav1.NewTime(k.controller.config.Clock.Now())
	}
	changed.Status.Conditions = append(kept, want)
	_, err := k.client.FlowSchemas().UpdateStatus(ctx, changed, metav1.UpdateOptions{FieldManager: fieldManager})
	return ignoreRace(err)
}

const fieldManager = "api-priority-and-fairness-config-consumer-v1"

// ignoreRace: who lost against another writer comes again when it hears of
// that write.
func ignoreRace(err error) error {
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) || apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// ensure makes the objects that every cluster has. Mandatory ones are always as
// they were defined; suggested ones as long as nobody changed them, which an
// annotation says.
func (k *Keeper) ensure(ctx context.Context) error {
	var errs []error
	for mandatory, levels := range map[bool][]*flowcontrolv1.PriorityLevelConfiguration{
		true: bootstrap.MandatoryPriorityLevelConfigurations, false: bootstrap.SuggestedPriorityLevelConfigurations,
	} {
		for _, want := range levels {
			is, err := k.levels.Get(want.Name)
			errs = append(errs, ensureOne(want.DeepCopy(), is, err, mandatory, sameLevelSpec, copyLevelSpec,
				func(l *flowcontrolv1.PriorityLevelConfiguration) error {
					_, err := k.client.PriorityLevelConfigurations().Create(ctx, l, metav1.CreateOptions{FieldManager: fieldManager})
					return err
				}, func(l *flowcontrolv1.PriorityLevelConfiguration) error {
					_, err := k.client.PriorityLevelConfigurations().Update(ctx, l, metav1.UpdateOptions{FieldManager: fieldManager})
					return err
				}))
		}
	}
	for mandatory, schemas := range map[bool][]*flowcontrolv1.FlowSchema{
		true: bootstrap.MandatoryFlowSchemas, false: bootstrap.SuggestedFlowSchemas,
	} {
		for _, want := range schemas {
			is, err := k.schemas.Get(want.Name)
			errs = append(errs, ensureOne(want.DeepCopy(), is, err, mandatory, sameSchemaSpec, copySchemaSpec,
				func(s *flowcontrolv1.FlowSchema) error {
					_, err := k.client.FlowSchemas().Create(ctx, s, metav1.CreateOptions{FieldManager: fieldManager})
					return err
				}, func(s *flowcontrolv1.FlowSchema) error {
					_, err := k.client.FlowSchemas().Update(ctx, s, metav1.UpdateOptions{FieldManager: fieldManager})
					return err
				}))
		}
	}
	return errors.Join(errs...)
}

func sameLevelSpec(a, b *flowcontrolv1.PriorityLevelConfiguration) bool {
	// Of the exempt level administrators may change the shares.
	return (b.Name == flowcontrolv1.PriorityLevelConfigurationNameExempt && b.Spec.Exempt != nil) || apiequality.Semantic.DeepEqual(a.Spec, b.Spec)
}

func copyLevelSpec(to, from *flowcontrolv1.PriorityLevelConfiguration) { to.Spec = from.Spec }

func sameSchemaSpec(a, b *flowcontrolv1.FlowSchema) bool {
	return apiequality.Semantic.DeepEqual(a.Spec, b.Spec)
}

func copySchemaSpec(to, from *flowcontrolv1.FlowSchema) { to.Spec = from.Spec }

// ensureOne makes one object what it should be.
func ensureOne[T interface {
	metav1.Object
	DeepCopy() T
}](want, is T, err error, mandatory bool, same func(a, b T) bool, copySpec func(to, from T), create, update func(T) error) error {
	annotation := flowcontrolv1.AutoUpdateAnnotationKey
	if apierrors.IsNotFound(err) {
		want.SetAnnotations(map[string]string{annotation: "true"})
		return ignoreRace(create(want))
	}
	if err != nil {
		return err
	}
	auto, marked := is.GetAnnotations()[annotation]
	ours := mandatory || auto == "true" || (!marked && is.GetGeneration() == 1)
	if !ours || (same(want, is) && marked) {
		return nil
	}
	changed := is.DeepCopy()
	copySpec(changed, want)
	annotations := map[string]string{annotation: "true"}
	for key, value := range is.GetAnnotations() {
		if key != annotation {
			annotations[key] = value
		}
	}
	changed.SetAnnotations(annotations)
	return ignoreRace(update(changed))
}
