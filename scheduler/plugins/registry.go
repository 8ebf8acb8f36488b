package plugins

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	config "k8s.io/kube-scheduler/config/v1"
	"sigs.k8s.io/yaml"

	"github.com/yare-io/yare/scheduler/framework"
)

// Factory makes a plugin from what a user configured for it; args is empty
// when that is nothing.
type Factory func(sources Sources, args runtime.RawExtension) (framework.Plugin, error)

// Registry maps plugin names to what makes them.
type Registry map[string]Factory

// Builtin returns the plugins of this package.
func Builtin() Registry {
	return Registry{
		"SchedulingGates":   plain(SchedulingGates{}),
		"PrioritySort":      plain(PrioritySort{}),
		"NodeUnschedulable": plain(NodeUnschedulable{}),
		"NodeName":          plain(NodeName{}),
		"TaintToleration":   plain(TaintToleration{}),
		"NodePorts":         plain(NodePorts{}),
		"ImageLocality":     plain(ImageLocality{}),
		nodeAffinityName: withArgs(func(_ Sources, args *config.NodeAffinityArgs) (framework.Plugin, error) {
			return NewNodeAffinity(args)
		}),
		fitName: withArgs(func(_ Sources, args *config.NodeResourcesFitArgs) (framework.Plugin, error) {
			return NewNodeResourcesFit(args)
		}),
		"NodeResourcesBalancedAllocation": withArgs(func(_ Sources, args *config.NodeResourcesBalancedAllocationArgs) (framework.Plugin, error) {
			return NewNodeResourcesBalancedAllocation(args), nil
		}),
		volumeRestrictionsName: func(s Sources, _ runtime.RawExtension) (framework.Plugin, error) {
			return VolumeRestrictions{Claims: s.Claims}, nil
		},
		"DynamicResources": plain(DynamicResources{}),
		volumeBindingName: withArgs(func(s Sources, args *config.VolumeBindingArgs) (framework.Plugin, error) {
			return NewVolumeBinding(s, args)
		}),
		spreadName: withArgs(func(s Sources, args *config.PodTopologySpreadArgs) (framework.Plugin, error) {
			return NewPodTopologySpread(s, args)
		}),
		interPodAffinityName: withArgs(func(s Sources, args *config.InterPodAffinityArgs) (framework.Plugin, error) {
			return NewInterPodAffinity(s.Namespaces, args)
		}),
		DefaultPreemptionName: withArgs(func(_ Sources, args *config.DefaultPreemptionArgs) (framework.Plugin, error) {
			return NewDefaultPreemption(args)
		}),
		"DefaultBinder": func(s Sources, _ runtime.RawExtension) (framework.Plugin, error) {
			return DefaultBinder{Client: s.Client}, nil
		},
	}
}

// Default is a plugin that is on unless a profile says otherwise.
type Default struct {
	Name string
	// Weight of the plugin's normalised score in a node's total.
	Weight int64
}

// Defaults lists the plugins of a profile that says nothing, in the order in
// which they filter.
func Defaults() []Default {
	return []Default{
		{Name: "SchedulingGates"}, {Name: "PrioritySort"},
		{Name: "NodeUnschedulable"}, {Name: "NodeName"},
		{Name: "TaintToleration", Weight: 3},
		{Name: nodeAffinityName, Weight: 2},
		{Name: "NodePorts"},
		{Name: fitName, Weight: 1},
		{Name: volumeRestrictionsName}, {Name: volumeBindingName}, {Name: "DynamicResources"},
		{Name: spreadName, Weight: 2},
		{Name: interPodAffinityName, Weight: 2},
		{Name: DefaultPreemptionName},
		{Name: "NodeResourcesBalancedAllocation", Weight: 1},
		{Name: "ImageLocality", Weight: 1},
		{Name: "DefaultBinder"},
	}
}

func plain(plugin framework.Plugin) Factory {
	return func(Sources, runtime.RawExtension) (framework.Plugin, error) { return plugin, nil }
}

func withArgs[T any](build func(Sources, *T) (framework.Plugin, error)) Factory {
	return func(sources Sources, raw runtime.RawExtension) (framework.Plugin, error) {
		args, err := decodeArgs[T](raw)
		if err != nil {
			return nil, err
		}
		return build(sources, args)
	}
}

// decodeArgs returns nil when there are no arguments; unknown fields are errors.
func decodeArgs[T any](raw runtime.RawExtension) (*T, error) {
	if raw.Object != nil {
		args, ok := raw.Object.(any).(*T)
		if !ok {
			return nil, fmt.Errorf("arguments are a %T, not a %T", raw.Object, new(T))
		}
		return args, nil
	}
	if len(raw.Raw) == 0 {
		return nil, nil
	}
	args := new(T)
	if err := yaml.UnmarshalStrict(raw.Raw, args); err != nil {
		return nil, fmt.Errorf("arguments: %w", err)
	}
	return args, nil
}
