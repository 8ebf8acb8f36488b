// Package builtin holds the admission plugins that are part of the server, one
// file each, under Kubernetes' names. It owns their order and which are on by
// default; it refuses to know how the chain is run and who configures it.
package builtin

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	psapi "k8s.io/pod-security-admission/admission/api"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/apiserver/registry"
)

// Deps is what plugins need. All are required but
// Pods, Kinds, Clock and Config.
type Deps struct {
	// Client reads (and for one or two plugins, writes) objects past RBAC.
	Client kubernetes.Interface
	// Informers cache what plugins look up; Plugins registers the informers it
	// needs, and the caller starts the factory afterwards.
	Informers informers.SharedInformerFactory
	// Pods finds pods; nil means by an informer of Informers.
	Pods corelisters.PodLister
	// Authorizer decides what a plugin wants to know about the user.
	Authorizer authorizer.UnconditionalAuthorizer
	// Kinds are those that are served. Only
	// OwnerReferencesPermissionEnforcement needs them.
	Kinds Kinds
	// Clock is for tests; nil means the real one.
	Clock clock.WithTicker
	// Config has the plugins' own settings; zero values are Kubernetes'
	// defaults.
	Config Config
	// Given are plugins that other packages build, by name: those of webhooks
	// and policies. Without them their names stand for nothing.
	Given map[string]admission.Plugin
}

// Kinds finds the row whose objects are of a kind, nil when there is none.
type Kinds interface {
	RowOf(kind schema.GroupVersionKind) *registry.Resource
}

// given takes a plugin that another package built.
func given(name string) func(Deps) (admission.Plugin, error) {
	return func(deps Deps) (admission.Plugin, error) { return deps.Given[name], nil }
}

// Config is the settings of the plugins that have some.
type Config struct {
	TolerationSeconds TolerationSeconds
	NodeSelectors     NodeSelectors
	Tolerations       Tolerations
	EventRateLimits   []EventRateLimit
	PodSecurity       *psapi.PodSecurityConfiguration
	// LimitedResources may be used only where a quota covers them.
	LimitedResources []LimitedResource
}

// entry is one plugin of the list.
type entry struct {
	name      string
	byDefault bool
	build     func(Deps) (admission.Plugin, error)
}

// Names lists all plugins in the order they run.
func Names() []string {
	var names []string
	for _, e := range entries {
		names = append(names, e.name)
	}
	return names
}

// DefaultNames lists the plugins that are on by default, in order.
func DefaultNames() []string {
	var names []string
	for _, e := range entries {
		if e.byDefault {
			names = append(names, e.name)
		}
	}
	return names
}

// Plugins builds the plugins that are on: the default ones and those of
// enable, without those of disable, in the order they must run. A name nobody
// knows, or one that is in both lists, is an error.
func Plugins(deps Deps, enable, disable []string) ([]admission.Plugin, error) {
	known := Names()
	for _, name := range slices.Concat(enable, disable) {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("unknown admission plugin %q", name)
		}
	}
	for _, name := range enable {
		if slices.Contains(disable, name) {
			return nil, fmt.Errorf("admission plugin %q is both enabled and disabled", name)
		}
	}
	if deps.Clock == nil {
		deps.Clock = clock.RealClock{}
	}
	if deps.Pods == nil {
		deps.Pods = deps.Informers.Core().V1().Pods().Lister()
	}
	var plugins []admission.Plugin
	for _, e := range entries {
		if slices.Contains(disable, e.name) || !e.byDefault && !slices.Contains(enable, e.name) {
			continue
		}
		plugin, err := e.build(deps)
		if err != nil {
			return nil, fmt.Errorf("admission plugin %s: %w", e.name, err)
		}
		if plugin != nil {
			plugins = append(plugins, plugin)
		}
	}
	return plugins, nil
}

// plugin gives a plugin its name and operations.
type plugin struct {
	name       string
	operations []admission.Operation
}

// Name implements admission.Plugin.
func (p plugin) Name() string { return p.name }

// Handles implements admission.Plugin.
func (p plugin) Handles(o admission.Operation) bool { return slices.Contains(p.operations, o) }

func on(name string, operations ...admission.Operation) plugin { return plugin{name, operations} }
