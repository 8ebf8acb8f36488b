package kubeapiserver

import (
	"context"
	"errors"
	"net/http"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"

	"github.com/yare-io/yare/apiserver"
	"github.com/yare-io/yare/apiserver/allocation"
	"github.com/yare-io/yare/apiserver/api"
	"github.com/yare-io/yare/apiserver/api/core"
	"github.com/yare-io/yare/apiserver/authn/serviceaccount"
	"github.com/yare-io/yare/apiserver/discovery"
	"github.com/yare-io/yare/apiserver/flowcontrol"
	"github.com/yare-io/yare/apiserver/proxy"
	"github.com/yare-io/yare/apiserver/registry"
	"github.com/yare-io/yare/openapi"
)

// assemble puts the server together from rows, gate and documents.
func (s *Server) assemble(services []netip.Prefix) error {
	client := s.Client()
	s.informers = informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(s.loopback.share))
	s.loopback.followDirectly(s.informers, corev1.Resource("nodes"), &corev1.Node{})
	var err error
	if s.gate, err = newGate(s.options, surroundings{
		trust: s.trust, client: client, informers: s.informers,
		pods: podLister{s.loopback}, podEvents: direct{loopback: s.loopback, name: corev1.Resource("pods")}.listWatch(),
		rows: s.loopback.rows, objects: s.loopback.objects, own: s.isOwn, logger: s.logger,
	}); err != nil {
		return err
	}
	if err := s.addPolicies(client); err != nil {
		return err
	}
	ports, err := s.options.nodePorts()
	if err != nil {
		return err
	}
	s.allocation, err = allocation.New(allocation.Config{Store: s.store, Networks: services, Ports: ports, Logger: s.logger})
	if err != nil {
		return err
	}
	rows := api.Resources(api.Deps{
		Services:    s.allocation,
		EventTTL:    s.options.eventTTL,
		IssueToken:  s.gate.requests.Create,
		ReviewToken: s.gate.reviewToken,
		Authorizer:  s.gate.authorizer,
		Rules:       s.gate.authorizer,
		Components:  []core.Component{{Name: "etcd-0", Check: s.store.Health}},
	})
	guard, err := s.options.egress.proxyGuard()
	if err != nil {
		return err
	}
	streams, err := proxy.New(proxy.Config{KubeletTLS: s.trust.kubeletTLS(), Guard: guard})
	if err != nil {
		return err
	}
	origins, err := s.options.flow.allowedOrigins()
	if err != nil {
		return err
	}
	auditor, err := s.options.audit.auditor(s.logger)
	if err != nil {
		return err
	}
	flow, err := s.options.flow.controller(s.logger)
	if err != nil {
		return err
	}
	if flow != nil {
		if s.flow, err = flowcontrol.NewKeeper(flow, client, s.informers); err != nil {
			return err
		}
	}
	s.aggregate()
	s.Server, err = apiserver.New(apiserver.Config{
		Elsewhere:          s.extensions.aggregator.Handler,
		Store:              s.store,
		Rows:               rows,
		Authenticator:      s.gate.authenticator,
		Authorizer:         s.gate.authorizer,
		Admission:          s.gate.admission,
		Connect:            streams.Connectors(),
		Documents:          s.documents,
		Checks:             append(s.extensionChecks(), apiserver.Check{Name: "poststarthook/bootstrap", Check: s.checkBootstrap}),
		Logger:             s.logger,
		MaxReadOnly:        s.options.flow.maxReadOnly,
		MaxMutating:        s.options.flow.maxMutating,
		FlowControl:        flow,
		CORSAllowedOrigins: origins,
		GoAwayChance:       s.options.flow.goAwayChance,
		Audit:              auditor,
		Flags:              s.options.shown,
	})
	if err != nil {
		return err
	}
	s.loopback.server.Store(s.Server)
	if err := s.extend(); err != nil {
		return err
	}
	if s.gate.policies != nil {
		if err := s.Metrics().Register(s.gate.policies); err != nil {
			return err
		}
	}
	s.store.Name(s.StoredAt)
	return errors.Join(s.Metrics().Register(s.store), s.Metrics().Register(s.gate.metrics))
}

func (s *Server) checkBootstrap(context.Context) error {
	if !s.bootstrapped.Load() {
		return errors.New("the objects that every cluster has are not there yet")
	}
	return nil
}

// documents are what clients read about the rows, and others about our tokens.
func (s *Server) documents(rows func() []*registry.Resource) map[string]http.Handler {
	others := s.extensions.aggregator
	described := others.Discovery(discovery.New(discovery.Config{
		Rows: rows, Others: others.Others,
		Address: netip.AddrPortFrom(s.advertise.Address, uint16(s.advertise.Port)).String(),
	}))
	schemas := others.Documents(openapi.New(openapi.Config{Rows: rows, Version: apiserver.Version.GitVersion}))
	return map[string]http.Handler{
		"/api": described, "/apis": described, "/openapi/v2": schemas, "/openapi/v3": schemas,
		serviceaccount.ConfigurationPath: http.HandlerFunc(s.gate.discovery.ServeConfiguration),
		serviceaccount.KeysPath:          http.HandlerFunc(s.gate.discovery.ServeKeys),
	}
}
