package webhook

import (
	"log/slog"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/load"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	authorizationcel "k8s.io/apiserver/pkg/authorization/cel"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/apiserver/authz"
)

// types are what an AuthorizationConfiguration may name.
var types = sets.New(string(authz.Node), string(authz.RBAC), string(authz.AlwaysAllow), string(authz.AlwaysDeny), string(apiserver.TypeWebhook))

// Parse reads an AuthorizationConfiguration and makes its webhooks; builtin are
// the authorizers behind the other modes.
func Parse(data []byte, builtin map[authz.Mode]authorizer.Authorizer, now clock.PassiveClock, logger *slog.Logger) (authz.Config, error) {
	config, err := load.LoadFromData(data)
	if err != nil {
		return authz.Config{}, err
	}
	errs := validation.ValidateAuthorizationConfiguration(authorizationcel.NewDefaultCompiler(), nil, config, types, sets.New(string(apiserver.TypeWebhook)))
	if err := errs.ToAggregate(); err != nil {
		return authz.Config{}, err
	}
	out := authz.Config{Authorizers: map[authz.Mode]authorizer.Authorizer{}}
	for mode, member := range builtin {
		out.Authorizers[mode] = member
	}
	for _, a := range config.Authorizers {
		mode := authz.Mode(a.Type)
		if a.Type == apiserver.TypeWebhook {
			mode = authz.Mode(string(apiserver.TypeWebhook) + " " + a.Name)
			if out.Authorizers[mode], err = New(a.Name, *a.Webhook, now, logger); err != nil {
				return authz.Config{}, err
			}
		}
		out.Modes = append(out.Modes, mode)
	}
	return out, nil
}
