package builtin

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/lookup"
	"github.com/yare-io/yare/apiserver/api/usage"
)

// resourceQuota keeps what a namespace uses within its quotas. What is used is
// written to the quota's status by compare-and-swap before the object is
// stored, so that no two requests can use the same.
type resourceQuota struct {
	plugin
	client  kubernetes.Interface
	quotas  corelisters.ResourceQuotaLister
	synced  lookup.Synced
	limited []LimitedResource
	// lanes let the requests of one namespace through one at a time: in one
	// process they would only get in each other's way.
	lanes lanes
}

func newResourceQuota(deps Deps) (admission.Plugin, error) {
	informer := deps.Informers.Core().V1().ResourceQuotas()
	return &resourceQuota{
		plugin: on("ResourceQuota", admission.Create, admission.Update),
		client: deps.Client, quotas: informer.Lister(), limited: deps.Config.LimitedResources,
		synced: lookup.Synced{Has: informer.Informer().HasSynced, Clock: deps.Clock},
	}, nil
}

// Validate charges what the request uses to all quotas it falls under, or to
// none.
func (p *resourceQuota) Validate(ctx context.Context, a *admission.Attributes) error {
	if !concernsQuota(a) {
		return nil
	}
	if err := p.synced.Wait(ctx, a); err != nil {
		return err
	}
	quotas, err := p.quotas.ResourceQuotas(a.Namespace).List(labels.Everything())
	if err != nil {
		return err
	}
	if len(quotas) == 0 && len(p.limited) == 0 {
		return nil
	}
	lane := p.lanes.of(a.Namespace)
	lane.Lock()
	defer lane.Unlock()
	used := consumption(a)
	due, err := p.due(a, quotas, used)
	if err != nil || a.DryRun && len(due) == 0 {
		return err
	}
	return p.charge(ctx, a, due, used)
}

// concernsQuota: creates count, and those changes that can use more.
func concernsQuota(a *admission.Attributes) bool {
	resource := a.Resource.GroupResource()
	switch {
	case a.Namespace == "" || a.Object == nil:
		return false
	case resource == corev1.Resource("pods") && a.Operation == admission.Update:
		return a.Subresource == "resize"
	case a.Subresource != "":
		return false
	case a.Operation == admission.Create:
		return true
	}
	return resource == corev1.Resource("services") || resource == corev1.Resource("persistentvolumeclaims")
}

// consumption is how much more is used once the request is done.
func consumption(a *admission.Attributes) corev1.ResourceList {
	resource := a.Resource.GroupResource()
	used := usage.Of(resource, a.Object)
	if a.Operation == admission.Update {
		return usage.Increase(usage.Of(resource, a.OldObject), used)
	}
	return used
}

// due are the quotas that the request falls under.
func (p *resourceQuota) due(a *admission.Attributes, quotas []*corev1.ResourceQuota, used corev1.ResourceList) ([]*corev1.ResourceQuota, error) {
	var due []*corev1.ResourceQuota
	for _, quota := range quotas {
		applies, err := fallsUnder(a, quota)
		if err != nil {
			return nil, err
		}
		if applies {
			due = append(due, quota)
		}
	}
	slices.SortFunc(due, func(x, y *corev1.ResourceQuota) int { return strings.Compare(x.Name, y.Name) })
	return due, p.covered(a, due, used)
}

func fallsUnder(a *admission.Attributes, quota *corev1.ResourceQuota) (bool, error) {
	measured := usage.Measured(a.Resource.GroupResource(), usage.Names(quota.Spec.Hard))
	if len(measured) == 0 || !usage.InScope(quota, a.Object) {
		return false, nil
	}
	var unknown []string
	for _, name := range measured {
		_, used := quota.Status.Used[name]
		if _, hard := quota.Status.Hard[name]; !hard || !used {
			unknown = append(unknown, string(name))
		}
	}
	if len(unknown) > 0 {
		return false, admission.Forbidden(a, fmt.Errorf("status unknown for quota: %s, resources: %s", quota.Name, strings.Join(unknown, ",")))
	}
	if pod, ok := a.Object.(*corev1.Pod); ok {
		if missing := usage.Unspecified(pod, measured); missing != "" {
			return false, admission.Forbidden(a, fmt.Errorf("failed quota: %s: must specify %s", quota.Name, missing))
		}
	}
	return true, nil
}

// lanes are a fixed number of locks that namespaces share.
type lanes [64]sync.Mutex

func (l *lanes) of(namespace string) *sync.Mutex {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(namespace))
	return &l[hash.Sum32()%uint32(len(l))]
}
