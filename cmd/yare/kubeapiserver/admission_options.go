package kubeapiserver

import (
	"net/netip"
	"slices"

	"github.com/spf13/pflag"
	"k8s.io/client-go/informers"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/builtin"
	admissionconfig "github.com/yare-io/yare/admission/config"
	"github.com/yare-io/yare/admission/match"
	"github.com/yare-io/yare/admission/policy"
	"github.com/yare-io/yare/admission/webhook"
	"github.com/yare-io/yare/apiserver/authz"
	"github.com/yare-io/yare/apiserver/fieldmanager"
	"github.com/yare-io/yare/cmd/yare/addresses"
)

// admissionOptions are what flags say about admission beside the plugins' names.
type admissionOptions struct {
	configFile  string
	toEndpoints bool
}

func (o *admissionOptions) add(flags *pflag.FlagSet) {
	flags.StringVar(&o.configFile, "admission-control-config-file", "", "AdmissionConfiguration with the settings of admission plugins")
	flags.BoolVar(&o.toEndpoints, "enable-aggregator-routing", false, "reach the services of webhooks at their endpoints instead of their cluster address")
}

// nodeRestriction keeps nodes to their own objects. Kubernetes has it off by
// default and every installer turns it on; here it comes with the Node mode.
const nodeRestriction = "NodeRestriction"

// admissionPlugins builds all that is asked about a write, in order. first are
// plugins that cannot be turned off.
func (g *gate) admissionPlugins(options *Options, around surroundings, first ...admission.Plugin) ([]admission.Plugin, error) {
	config, err := admissionconfig.Load(options.admission.configFile)
	if err != nil {
		return nil, err
	}
	enable := options.enablePlugins
	if slices.Contains(g.modes, authz.Node) && !slices.Contains(options.disablePlugins, nodeRestriction) {
		enable = append(slices.Clone(enable), nodeRestriction)
	}
	versions := match.NewVersions(around.rows)
	mutating, validating, err := g.webhooks(options, config, versions, around)
	if err != nil {
		return nil, err
	}
	changing, checking, err := policy.New(policy.Config{
		Client: around.client, Informers: around.informers, Versions: versions, Objects: around.objects, Converter: fieldmanager.Converter,
		Authorizer: g.authorizer, Metrics: g.metrics, Logger: around.logger,
	})
	if err != nil {
		return nil, err
	}
	plugins, err := builtin.Plugins(builtin.Deps{
		Client: around.client, Informers: around.informers, Pods: around.pods, Authorizer: g.authorizer, Kinds: versions, Config: config.Builtin,
		Given: map[string]admission.Plugin{
			webhook.MutatingName: mutating, webhook.ValidatingName: validating,
			policy.MutatingName: changing, policy.ValidatingName: checking,
		},
	}, enable, options.disablePlugins)
	return append(first, plugins...), err
}

func (g *gate) webhooks(options *Options, config *admissionconfig.Config, versions *match.Versions, around surroundings) (mutating, validating admission.Plugin, err error) {
	guard, err := options.egress.webhookGuard(around.own)
	if err != nil {
		return nil, nil, err
	}
	return webhook.New(webhook.Config{
		Client: around.client, Informers: around.informers, Versions: versions, Authorizer: g.authorizer,
		Services: options.admission.resolver(around.informers), Guard: guard,
		Mutating: config.Mutating, Validating: config.Validating, Metrics: g.metrics, Logger: around.logger,
	})
}

func (o *admissionOptions) resolver(factory informers.SharedInformerFactory) webhook.Resolver {
	if o.toEndpoints {
		return webhook.Endpoints(factory)
	}
	return webhook.ClusterIPs(factory)
}

// isOwn reports whether an address leads back to this server: its port on one
// of the machine's addresses, or the kubernetes service.
func (s *Server) isOwn(to netip.AddrPort) bool {
	if to.Addr() == s.advertise.ServiceIP {
		return true
	}
	if to.Port() != s.options.SecurePort {
		return false
	}
	local, err := addresses.Local()
	// An address that cannot be told from ours is treated as ours.
	return err != nil || to.Addr() == s.advertise.Address || slices.Contains(local, to.Addr())
}
