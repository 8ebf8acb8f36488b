package gatekeeper

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/opa/review"
)

// Existing is what there is in the cluster. What it returns is shared.
type Existing interface {
	// Resources are those that are stored, each in one version.
	Resources() []ExistingResource
	List(ctx context.Context, resource schema.GroupResource, namespace string) ([]runtime.Object, error)
}

// ExistingResource is a resource that is stored.
type ExistingResource struct {
	Resource schema.GroupVersionResource
	Kind     schema.GroupVersionKind
}

// Auditor asks constraints about what exists, and writes what they say into
// their status.
type Auditor struct {
	Follower *Follower
	Existing Existing
	// Interval is from the end of one audit to the start of the next.
	Interval time.Duration
	// Limit is how many violations of a constraint are written down.
	Limit  int
	Logger *slog.Logger
}

// maxStatusMessage is how much of a message is written into a status, in bytes.
const maxStatusMessage = 256

// Run audits until ctx ends.
func (a *Auditor) Run(ctx context.Context) error {
	ticker := a.Follower.Clock.NewTicker(a.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
			if err := a.audit(ctx); err != nil && ctx.Err() == nil {
				a.Logger.Error("Audit not finished", "err", err)
			}
		}
	}
}

// tally is what an audit finds against one constraint.
type tally struct {
	total int64
	found []map[string]any
}

func (a *Auditor) audit(ctx context.Context) error {
	library := a.Follower.Checker.library.Load()
	if library == nil || library.Len() == 0 {
		return nil
	}
	began := a.Follower.Clock.Now()
	namespaces, err := a.namespaces(ctx)
	if err != nil {
		return err
	}
	tallies := map[string]*tally{}
	for id := range library.constraints {
		tallies[id] = &tally{}
	}
	for _, resource := range a.Existing.Resources() {
		if len(library.byKind[resource.Kind.Kind])+len(library.byKind[""]) == 0 || strings.HasSuffix(resource.Kind.Group, ".gatekeeper.sh") {
			continue
		}
		objects, err := a.Existing.List(ctx, resource.Resource.GroupResource(), "")
		if err != nil {
			return fmt.Errorf("listing %s: %w", resource.Resource.GroupResource(), err)
		}
		for _, object := range objects {
			if err := a.auditOne(ctx, library, resource, object, namespaces, tallies); err != nil {
				return err
			}
		}
	}
	for id, t := range tallies {
		if err := a.write(ctx, library.constraints[id], t, began); err != nil {
			return err
		}
	}
	a.Logger.Debug("Audit finished", "took", a.Follower.Clock.Since(began))
	return nil
}

func (a *Auditor) namespaces(ctx context.Context) (map[string]*corev1.Namespace, error) {
	objects, err := a.Existing.List(ctx, corev1.Resource("namespaces"), "")
	found := make(map[string]*corev1.Namespace, len(objects))
	for _, object := range objects {
		if namespace, ok := object.(*corev1.Namespace); ok {
			found[namespace.Name] = namespace
		}
	}
	return found, err
}

func (a *Auditor) auditOne(ctx context.Context, library *Library, resource ExistingResource, object runtime.Object, namespaces map[string]*corev1.Namespace, tallies map[string]*tally) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m, err := meta.Accessor(object)
	if err != nil {
		return err
	}
	asked := &admission.Attributes{
		Resource: resource.Resource, Kind: resource.Kind, Namespace: m.GetNamespace(), Name: m.GetName(), Object: object, User: &user.DefaultInfo{},
	}
	if library.settings.excludes(auditing, asked.ObjectNamespace()) {
		return nil
	}
	in := namespaces[asked.ObjectNamespace()]
	s := &subject{kind: resource.Kind, name: m.GetName(), namespace: m.GetNamespace(), objects: []labels.Set{m.GetLabels()}, in: in}
	concerned := library.concerned(s, func(c *constraint) []Action { return c.audited })
	if len(concerned) == 0 {
		return nil
	}
	found, err := library.ask(ctx, a.Follower.Checker.evaluator, concerned, asked, s, review.New(asked, in))
	if err != nil {
		return fmt.Errorf("%s %s/%s: %w", resource.Kind.Kind, m.GetNamespace(), m.GetName(), err)
	}
	for _, v := range found {
		t := tallies[v.id()]
		t.total++
		if len(t.found) < a.Limit {
			t.found = append(t.found, violation(v, resource.Kind, m.GetNamespace(), m.GetName()))
		}
	}
	return nil
}

// violation is one as a constraint's status shows it.
func violation(v Violation, kind schema.GroupVersionKind, namespace, name string) map[string]any {
	message := v.Message
	if len(message) > maxStatusMessage {
		message = strings.ToValidUTF8(message[:maxStatusMessage-3], "") + "..."
	}
	entry := map[string]any{
		"enforcementAction": string(v.audited[0]), "group": kind.Group, "version": kind.Version, "kind": kind.Kind, "name": name, "message": message,
	}
	if namespace != "" {
		entry["namespace"] = namespace
	}
	return entry
}

// write puts what was found into the constraint's status.
func (a *Auditor) write(ctx context.Context, c *constraint, t *tally, began time.Time) error {
	if c.object.GetUID() == "" || a.Follower.Client == nil {
		return nil
	}
	slices.SortFunc(t.found, func(x, y map[string]any) int { return cmp.Compare(fmt.Sprint(x), fmt.Sprint(y)) })
	violations := make([]any, len(t.found))
	for i, one := range t.found {
		violations[i] = one
	}
	return a.Follower.updateStatus(ctx, constraintsResource(c.kind), c.object, func(status map[string]any) {
		status["auditTimestamp"] = began.UTC().Format(time.RFC3339)
		status["totalViolations"] = t.total
		unstructured.RemoveNestedField(status, "violations")
		if len(violations) > 0 {
			status["violations"] = violations
		}
	})
}
