package scheduler

import (
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	schedconfig "k8s.io/kube-scheduler/config/v1"

	"github.com/yare-io/yare/scheduler/framework"
	"github.com/yare-io/yare/scheduler/plugins"
)

// profile is the plugins that serve the pods of one scheduler name.
type profile struct {
	name       string
	gates      []framework.Gate
	narrowers  []framework.Narrower
	filters    []framework.FilterPlugin
	scorers    []weightedScorer
	reservers  []framework.Reserver
	preBinders []framework.PreBinder
	binder     framework.Binder
	// preemption is nil where it is turned off.
	preemption *plugins.DefaultPreemption
	sources    plugins.Sources
	// wakes holds what each plugin that said so wants to be woken by.
	wakes map[string][]framework.Wake
}

type weightedScorer struct {
	framework.ScorePlugin
	weight int64
}

// choice is one enabled plugin.
type choice struct {
	name   string
	weight int64
}

// newProfiles builds a profile for each configured one, or the default one.
func newProfiles(cfg *schedconfig.KubeSchedulerConfiguration, registry plugins.Registry, sources plugins.Sources) (map[string]*profile, error) {
	configured := cfg.Profiles
	if len(configured) == 0 {
		configured = []schedconfig.KubeSchedulerProfile{{}}
	}
	profiles := map[string]*profile{}
	for i := range configured {
		p, err := newProfile(&configured[i], registry, sources)
		if err != nil {
			return nil, err
		}
		if profiles[p.name] != nil {
			return nil, fmt.Errorf("two profiles are named %q", p.name)
		}
		profiles[p.name] = p
	}
	return profiles, nil
}

func newProfile(cfg *schedconfig.KubeSchedulerProfile, registry plugins.Registry, sources plugins.Sources) (*profile, error) {
	p := &profile{name: DefaultSchedulerName, sources: sources, wakes: map[string][]framework.Wake{}}
	if cfg.SchedulerName != nil && *cfg.SchedulerName != "" {
		p.name = *cfg.SchedulerName
	}
	points := cfg.Plugins
	if points == nil {
		points = &schedconfig.Plugins{}
	}
	b := profileBuilder{profile: p, registry: registry, args: map[string]runtime.RawExtension{}, made: map[string]framework.Plugin{}}
	for _, c := range cfg.PluginConfig {
		if registry[c.Name] == nil {
			return nil, fmt.Errorf("profile %q configures the unknown plugin %q", p.name, c.Name)
		}
		b.args[c.Name] = c.Args
	}
	b.everywhere = apply(defaultChoices(), &points.MultiPoint)
	if err := b.build(points); err != nil {
		return nil, fmt.Errorf("profile %q: %w", p.name, err)
	}
	return p, nil
}

func defaultChoices() []choice {
	var out []choice
	for _, d := range plugins.Defaults() {
		out = append(out, choice{d.Name, d.Weight})
	}
	return out
}

// apply takes what set disables from base, and puts what it enables first,
// unless it only gives a new weight to what is already there.
func apply(base []choice, set *schedconfig.PluginSet) []choice {
	out := slices.Clone(base)
	for _, disabled := range set.Disabled {
		out = slices.DeleteFunc(out, func(c choice) bool { return disabled.Name == "*" || disabled.Name == c.name })
	}
	var added []choice
	for _, enabled := range set.Enabled {
		weight := int64(0)
		if enabled.Weight != nil {
			weight = int64(*enabled.Weight)
		}
		if i := slices.IndexFunc(out, func(c choice) bool { return c.name == enabled.Name }); i >= 0 {
			out[i].weight = weight
			continue
		}
		added = append(added, choice{enabled.Name, weight})
	}
	return append(added, out...)
}

type profileBuilder struct {
	*profile
	registry   plugins.Registry
	args       map[string]runtime.RawExtension
	made       map[string]framework.Plugin
	everywhere []choice
}

// build fills the profile, one extension point after the other.
func (b *profileBuilder) build(points *schedconfig.Plugins) error {
	for _, point := range []struct {
		set  *schedconfig.PluginSet
		join func(plugin framework.Plugin, weight int64) bool
	}{
		{&points.PreEnqueue, func(p framework.Plugin, _ int64) bool { return join(&b.gates, p) }},
		{&points.QueueSort, func(p framework.Plugin, _ int64) bool { return p.Name() == "PrioritySort" }},
		{&points.PreFilter, func(p framework.Plugin, _ int64) bool { return join(&b.narrowers, p) }},
		{&points.Filter, func(p framework.Plugin, _ int64) bool { return join(&b.filters, p) }},
		{&points.PostFilter, func(p framework.Plugin, _ int64) bool { return b.joinPreemption(p) }},
		{&points.Score, b.joinScore},
		{&points.Reserve, func(p framework.Plugin, _ int64) bool { return join(&b.reservers, p) }},
		{&points.PreBind, func(p framework.Plugin, _ int64) bool { return join(&b.preBinders, p) }},
		{&points.Bind, func(p framework.Plugin, _ int64) bool { return b.joinBinder(p) }},
	} {
		if err := b.fill(point.set, point.join); err != nil {
			return err
		}
	}
	if b.binder == nil {
		return fmt.Errorf("no plugin is enabled to bind")
	}
	return nil
}

func (b *profileBuilder) fill(set *schedconfig.PluginSet, joinPoint func(framework.Plugin, int64) bool) error {
	for _, c := range apply(b.everywhere, set) {
		plugin, err := b.plugin(c.name)
		if err != nil {
			return err
		}
		asked := slices.ContainsFunc(set.Enabled, func(e schedconfig.Plugin) bool { return e.Name == c.name })
		if !joinPoint(plugin, c.weight) && asked {
			return fmt.Errorf("plugin %q does not extend the point it is enabled for", c.name)
		}
	}
	return nil
}

func (b *profileBuilder) plugin(name string) (framework.Plugin, error) {
	if plugin, ok := b.made[name]; ok {
		return plugin, nil
	}
	factory, ok := b.registry[name]
	if !ok {
		return nil, fmt.Errorf("plugin %q is unknown", name)
	}
	plugin, err := factory(b.sources, b.args[name])
	if err != nil {
		return nil, fmt.Errorf("plugin %q: %w", name, err)
	}
	b.made[name] = plugin
	if requeuer, ok := plugin.(framework.Requeuer); ok {
		b.wakes[name] = requeuer.Wakes()
	}
	return plugin, nil
}

func join[T any](list *[]T, plugin framework.Plugin) bool {
	extension, ok := plugin.(T)
	if ok {
		*list = append(*list, extension)
	}
	return ok
}

func (b *profileBuilder) joinScore(plugin framework.Plugin, weight int64) bool {
	scorer, ok := plugin.(framework.ScorePlugin)
	if ok {
		b.scorers = append(b.scorers, weightedScorer{scorer, max(weight, 1)})
	}
	return ok
}

func (b *profileBuilder) joinBinder(plugin framework.Plugin) bool {
	binder, ok := plugin.(framework.Binder)
	if ok && b.binder == nil {
		b.binder = binder
	}
	return ok
}

func (b *profileBuilder) joinPreemption(plugin framework.Plugin) bool {
	preemption, ok := plugin.(*plugins.DefaultPreemption)
	if ok {
		b.preemption = preemption
	}
	return ok
}

// gate returns the first rejection of the profile's gates.
func (p *profile) gate(pod *v1.Pod) *framework.Status {
	for _, gate := range p.gates {
		if status := gate.Admit(pod); !status.OK() {
			return status
		}
	}
	return nil
}
