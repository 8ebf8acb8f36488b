// Package engine runs OPA inside this process: its plugins fetch, verify and
// activate bundles, log decisions and report status; the engine keeps what they
// activate prepared for evaluation, swaps it atomically, and bounds what an
// evaluation may take. It refuses to know what a request is and what the
// results of rules mean.
package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/open-policy-agent/opa/v1/config"
	"github.com/open-policy-agent/opa/v1/hooks"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/plugins"
	bundleplugin "github.com/open-policy-agent/opa/v1/plugins/bundle"
	"github.com/open-policy-agent/opa/v1/plugins/discovery"
	filelogger "github.com/open-policy-agent/opa/v1/plugins/logger/file"
	"github.com/open-policy-agent/opa/v1/plugins/logs"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/yaml"
)

// Config is what an engine is made of.
type Config struct {
	// OPA is OPA's own configuration, in JSON or YAML.
	OPA []byte
	// StateDir is where bundles are kept for the next start, unless the
	// configuration has a persistence_directory. It is made when it is needed.
	StateDir string
	// Overlay shows further documents to policies; may be nil.
	Overlay Overlay
	// Registerer takes the engine's metrics; may be nil.
	Registerer prometheus.Registerer
	Logger     *slog.Logger
}

// Engine evaluates the policies that are active. Its methods may be called
// concurrently; Run must be called once.
type Engine struct {
	manager  *plugins.Manager
	store    *store
	logger   *slog.Logger
	metrics  *meters
	memory   *watchdog
	settings atomic.Pointer[Settings]
	active   atomic.Pointer[prepared]
	failures failures
	layouts  []*layout
	// apart is sent to when policies run that were compiled apart.
	apart chan struct{}
	// running is set once Run has started OPA's plugins.
	running atomic.Bool
}

// stopTimeout is how long plugins may take to upload what is left.
const stopTimeout = 5 * time.Second

// New reads the configuration. Nothing is fetched before Run.
func New(c Config) (*Engine, error) {
	boot, err := bootConfig(c.OPA, c.StateDir)
	if err != nil {
		return nil, err
	}
	layouts, err := takeLayouts(boot["bundles"], c.StateDir)
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(boot)
	if err != nil {
		return nil, err
	}
	e := &Engine{layouts: layouts, store: newStore(c.Overlay), logger: c.Logger, metrics: newMeters(c.Registerer), memory: newWatchdog(), apart: make(chan struct{}, 1)}
	e.store.inspect, e.store.list, e.store.text = e.inspect, e.listPolicies, e.policy
	e.metrics.readiness(c.Registerer, e.Ready)
	settings, err := ParseSettings(settingsOf(boot))
	if err != nil {
		return nil, err
	}
	e.settings.Store(settings)
	logger := newLogger(c.Logger)
	options := []func(*plugins.Manager){
		plugins.Logger(logger), plugins.ConsoleLogger(logger), plugins.WithHooks(hooks.New(keeper{}, activations{e.store})),
		plugins.GracefulShutdownPeriod(int(stopTimeout / time.Second)),
	}
	if c.Registerer != nil {
		options = append(options, plugins.WithPrometheusRegister(c.Registerer))
	}
	if e.manager, err = plugins.New(raw, uuid.NewString(), e.store, options...); err != nil {
		return nil, fmt.Errorf("OPA's configuration: %w", err)
	}
	for _, warning := range e.manager.GetConfig().Warnings {
		c.Logger.Warn("OPA's configuration", "warning", warning)
	}
	counted := metrics.New()
	e.metrics.dropped(c.Registerer, counted)
	return e, e.register(boot, counted)
}

// register makes OPA's plugins, of which discovery makes the others.
func (e *Engine) register(boot map[string]any, counted metrics.Metrics) error {
	found, err := discovery.New(e.manager, discovery.BootConfig(boot), discovery.Metrics(counted), discovery.Hooks(hooks.New(keeper{})), discovery.Factories(map[string]plugins.Factory{
		SettingsName:    settingsFactory{e},
		filelogger.Name: &filelogger.Factory{},
	}))
	if err != nil {
		e.manager.Stop(context.Background())
		return fmt.Errorf("OPA's configuration: %w", err)
	}
	e.manager.Register(discovery.Name, found)
	e.listen()
	return nil
}

// Run fetches bundles and keeps them current until ctx ends.
func (e *Engine) Run(ctx context.Context) error {
	defer e.manager.Stop(context.WithoutCancel(ctx))
	if err := e.manager.Init(ctx); err != nil {
		return err
	}
	err := storage.Txn(ctx, e.store, storage.WriteParams, func(txn storage.Transaction) error {
		_, err := e.store.Register(ctx, txn, storage.TriggerConfig{OnCommit: onCommit})
		return err
	})
	if err != nil {
		return err
	}
	e.updateLayouts()
	known := fingerprints{}
	known.update(e.bundles())
	if err := e.manager.Start(ctx); err != nil {
		return err
	}
	if e.bundles() == nil && e.manager.GetConfig().Discovery == nil {
		e.active.Store(&prepared{})
	}
	e.running.Store(true)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return e.reload(ctx, known) })
	group.Go(func() error { return e.settle(ctx) })
	group.Go(func() error { return e.memory.run(ctx) })
	return group.Wait()
}

// Settings are those in force; read them, do not change them.
func (e *Engine) Settings() *Settings { return e.settings.Load() }

// Ready is nil once every bundle that is configured is active; else it says
// what is missing.
func (e *Engine) Ready() error {
	if !e.running.Load() {
		return errors.New("OPA has not started yet")
	}
	for name, status := range e.manager.PluginStatus() {
		if status != nil && status.State != plugins.StateOK && (name == bundleplugin.Name || name == discovery.Name) {
			return fmt.Errorf("not every policy bundle is active yet: %v", e.waiting())
		}
	}
	if e.active.Load() == nil {
		return errors.New("no policy bundle is configured")
	}
	return nil
}

// BundleErrors says, by bundle, why its newest version is not active.
func (e *Engine) BundleErrors() map[string]error { return e.failures.all() }

// waiting names the bundles that are not active.
func (e *Engine) waiting() []string {
	if bundles := e.bundles(); bundles != nil {
		return bundles.NotActivated()
	}
	return []string{discovery.Name}
}

// decisionLog is nil when decisions are not logged.
func (e *Engine) decisionLog() *logs.Plugin { return logs.Lookup(e.manager) }

// bootConfig is the configuration with what this server sets by default.
func bootConfig(raw []byte, stateDir string) (map[string]any, error) {
	boot := map[string]any{}
	if err := yaml.UnmarshalStrict(raw, &boot); err != nil {
		return nil, fmt.Errorf("OPA's configuration: %w", err)
	}
	if _, set := boot["persistence_directory"]; !set && stateDir != "" {
		boot["persistence_directory"] = stateDir
	}
	keepBundles(boot["bundles"])
	if found, ok := boot["discovery"].(map[string]any); ok {
		keepByDefault(found)
	}
	own, ok := boot["plugins"].(map[string]any)
	if !ok {
		if boot["plugins"] != nil {
			return nil, errors.New("OPA's configuration: plugins must be an object")
		}
		own = map[string]any{}
		boot["plugins"] = own
	}
	if own[SettingsName] == nil {
		own[SettingsName] = map[string]any{}
	}
	return boot, nil
}

func settingsOf(boot map[string]any) []byte {
	raw, err := json.Marshal(boot["plugins"].(map[string]any)[SettingsName])
	if err != nil {
		return []byte("null")
	}
	return raw
}

// keeper makes discovered bundles be kept on disk, as configured ones are.
type keeper struct{}

// OnConfigDiscovery implements hooks.ConfigDiscoveryHook.
func (keeper) OnConfigDiscovery(_ context.Context, c *config.Config) (*config.Config, error) {
	if len(c.Bundles) == 0 {
		return c, nil
	}
	var bundles map[string]any
	if err := json.Unmarshal(c.Bundles, &bundles); err != nil {
		return nil, fmt.Errorf("discovered bundles: %w", err)
	}
	keepBundles(bundles)
	raw, err := json.Marshal(bundles)
	c.Bundles = raw
	return c, err
}
