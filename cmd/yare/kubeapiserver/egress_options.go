package kubeapiserver

import (
	"net/netip"

	"github.com/spf13/pflag"

	"github.com/yare-io/yare/apiserver/egress"
	"github.com/yare-io/yare/cmd/yare/addresses"
)

// egressOptions say where the server may connect to for others, although it is
// a place that only the server can reach.
type egressOptions struct {
	webhooks, proxies []string
}

// The flags that guards name when they refuse.
const (
	webhookNetworks = "admission-webhook-allowed-networks"
	proxyNetworks   = "proxy-allowed-networks"
)

func (o *egressOptions) add(flags *pflag.FlagSet) {
	flags.StringSliceVar(&o.webhooks, webhookNetworks, nil, "networks in which webhooks may be although they are this server's own, loopback, link-local or a metadata service's")
	flags.StringSliceVar(&o.proxies, proxyNetworks, nil, "networks in which pods, services and ports of nodes may be proxied to although they are loopback, link-local or a metadata service's")
}

// AllowLoopbackWebhooks lets webhooks be on this machine's loopback interface,
// where test suites have theirs.
func (o *Options) AllowLoopbackWebhooks() {
	o.egress.webhooks = append(o.egress.webhooks, "127.0.0.0/8", "::1/128")
}

func (o *egressOptions) webhookGuard(own func(netip.AddrPort) bool) (egress.Guard, error) {
	allowed, err := addresses.ParsePrefixes("--"+webhookNetworks, o.webhooks)
	return egress.Guard{Own: own, Allow: allowed, Flag: webhookNetworks}, err
}

func (o *egressOptions) proxyGuard() (egress.Guard, error) {
	allowed, err := addresses.ParsePrefixes("--"+proxyNetworks, o.proxies)
	return egress.Guard{Allow: allowed, Flag: proxyNetworks}, err
}
