// Package api is the list of all built-in resources: the rows of every group,
// put together with what they need. The rows themselves live in a package for
// each group.
package api

import (
	"context"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	genericrequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/apiserver/api/admissionregistration"
	"github.com/yare-io/yare/apiserver/api/apiextensions"
	"github.com/yare-io/yare/apiserver/api/apiregistration"
	"github.com/yare-io/yare/apiserver/api/apps"
	"github.com/yare-io/yare/apiserver/api/authentication"
	"github.com/yare-io/yare/apiserver/api/authorization"
	"github.com/yare-io/yare/apiserver/api/autoscaling"
	"github.com/yare-io/yare/apiserver/api/batch"
	"github.com/yare-io/yare/apiserver/api/certificates"
	"github.com/yare-io/yare/apiserver/api/coordination"
	"github.com/yare-io/yare/apiserver/api/core"
	"github.com/yare-io/yare/apiserver/api/discovery"
	"github.com/yare-io/yare/apiserver/api/events"
	"github.com/yare-io/yare/apiserver/api/flowcontrol"
	"github.com/yare-io/yare/apiserver/api/networking"
	"github.com/yare-io/yare/apiserver/api/node"
	"github.com/yare-io/yare/apiserver/api/policy"
	"github.com/yare-io/yare/apiserver/api/rbac"
	"github.com/yare-io/yare/apiserver/api/resource"
	"github.com/yare-io/yare/apiserver/api/scheduling"
	"github.com/yare-io/yare/apiserver/api/storage"
	"github.com/yare-io/yare/apiserver/api/storagemigration"
	"github.com/yare-io/yare/apiserver/registry"
)

// DefaultEventTTL is how long Kubernetes keeps events.
const DefaultEventTTL = time.Hour

// Deps is what rows need beside the objects they are given. The zero value
// makes rows that can be listed and described; what needs a missing part then
// answers with an error that says so.
type Deps struct {
	// Clock dates conditions and answers; nil means the real one.
	Clock clock.PassiveClock
	// EventTTL is how long events are kept; zero means DefaultEventTTL.
	EventTTL time.Duration
	// Services hands out cluster addresses and node ports
	// (allocation.New). Without it no service can be written.
	Services core.ServiceAllocator
	// User says who a request is from; nil means
	// k8s.io/apiserver/pkg/endpoints/request.UserFrom.
	User func(context.Context) (user.Info, bool)
	// IssueToken answers the token subresource of service accounts.
	IssueToken registry.Action
	// ReviewToken fills the status of a TokenReview.
	ReviewToken func(context.Context, *authenticationv1.TokenReview) error
	// Authorizer answers access reviews.
	Authorizer authorization.Authorizer
	// Rules answers SelfSubjectRulesReviews.
	Rules authorizer.RuleResolver
	// Components are what componentstatuses shows.
	Components []core.Component
}

// Resources returns the rows of all groups. Every call returns new ones.
func Resources(d Deps) []*registry.Resource {
	d = d.filled()
	groups := [][]*registry.Resource{
		core.Resources(core.Deps{Clock: d.Clock, EventTTL: d.EventTTL, Services: d.Services, IssueToken: d.IssueToken, Components: d.Components}),
		admissionregistration.Resources(),
		apiextensions.Resources(),
		apiregistration.Resources(),
		apps.Resources(),
		authentication.Resources(authentication.Deps{User: d.User, ReviewToken: d.ReviewToken, Clock: d.Clock}),
		authorization.Resources(authorization.Deps{User: d.User, Authorizer: d.Authorizer, Rules: d.Rules}),
		autoscaling.Resources(),
		batch.Resources(),
		certificates.Resources(certificates.Deps{User: d.User, Clock: d.Clock}),
		coordination.Resources(),
		discovery.Resources(),
		events.Resources(d.EventTTL),
		flowcontrol.Resources(),
		networking.Resources(),
		node.Resources(),
		policy.Resources(),
		rbac.Resources(),
		resource.Resources(resource.Deps{Clock: d.Clock}),
		scheduling.Resources(),
		storage.Resources(),
		storagemigration.Resources(),
	}
	var all []*registry.Resource
	for _, group := range groups {
		all = append(all, group...)
	}
	return all
}

func (d Deps) filled() Deps {
	if d.Clock == nil {
		d.Clock = clock.RealClock{}
	}
	if d.EventTTL == 0 {
		d.EventTTL = DefaultEventTTL
	}
	if d.User == nil {
		d.User = genericrequest.UserFrom
	}
	return d
}
