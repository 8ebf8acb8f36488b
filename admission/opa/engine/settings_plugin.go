package engine

import (
	"context"

	"github.com/open-policy-agent/opa/v1/plugins"
)

// settingsFactory lets OPA's discovery hand over changed settings.
type settingsFactory struct{ engine *Engine }

// Validate implements plugins.Factory.
func (settingsFactory) Validate(_ *plugins.Manager, raw []byte) (any, error) {
	return ParseSettings(raw)
}

// New implements plugins.Factory.
func (f settingsFactory) New(manager *plugins.Manager, settings any) plugins.Plugin {
	manager.UpdatePluginStatus(SettingsName, &plugins.Status{State: plugins.StateOK})
	plugin := &settingsPlugin{f.engine}
	f.engine.settings.Store(settings.(*Settings))
	return plugin
}

// settingsPlugin puts settings in force.
type settingsPlugin struct{ engine *Engine }

// Start implements plugins.Plugin.
func (*settingsPlugin) Start(context.Context) error { return nil }

// Stop implements plugins.Plugin.
func (*settingsPlugin) Stop(context.Context) {}

// Reconfigure implements plugins.Plugin. Policies that the new settings do not
// allow stay in force until their bundle changes.
func (p *settingsPlugin) Reconfigure(ctx context.Context, settings any) {
	p.engine.settings.Store(settings.(*Settings))
	if p.engine.active.Load() == nil {
		return
	}
	if err := p.engine.reprepare(ctx); err != nil {
		p.engine.logger.Error("Policies do not fit the discovered settings; they go on as they were prepared before", "err", err)
	}
}
