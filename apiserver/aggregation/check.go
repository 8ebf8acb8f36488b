package aggregation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/transport"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

var errNobody = errors.New("the request has no user")

func asStatus(err error, into *apierrors.APIStatus) bool { return errors.As(err, into) }

const (
	// checkTimeout bounds one look at another server.
	checkTimeout = 5 * time.Second
	// maxDocument bounds what is read of its discovery, in bytes.
	maxDocument = 16 << 20
)

// checkDue looks at the other servers whose time has come, and says in their API
// services whether they answer. It does not wait for them: one that hangs keeps
// nobody from the others.
func (a *Aggregator) checkDue(ctx context.Context) {
	for _, r := range a.state.Load().remotes {
		if r.health.begin(time.Now()) {
			a.checks.Go(func() { a.check(ctx, r) })
		}
	}
}

// health says when a server is to be looked at.
type health struct {
	mutex    sync.Mutex
	checking bool
	failures int
	due      time.Time
}

func (h *health) begin(now time.Time) bool {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if h.checking || now.Before(h.due) {
		return false
	}
	h.checking = true
	return true
}

func (h *health) end(now time.Time, well bool) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.checking = false
	if well {
		h.failures, h.due = 0, now.Add(checkInterval)
		return
	}
	h.due = now.Add(min(recheckInterval<<min(h.failures, 10), checkInterval))
	h.failures++
}

// suspect has a server that seemed well looked at in the next round.
func (h *health) suspect() {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if h.failures == 0 {
		h.due = time.Time{}
	}
}

func (a *Aggregator) check(ctx context.Context, r *remote) {
	found, reason, err := a.look(ctx, r)
	defer func() { r.health.end(time.Now(), err == nil) }()
	if ctx.Err() != nil {
		return
	}
	condition := apiregistrationv1.APIServiceCondition{
		Type: apiregistrationv1.Available, Status: apiregistrationv1.ConditionTrue, Reason: "Passed", Message: "all checks passed",
	}
	if err != nil {
		condition.Status, condition.Reason, condition.Message = apiregistrationv1.ConditionFalse, reason, err.Error()
		found = &findings{}
		if old := r.found.Load(); old != nil {
			found = &findings{resources: old.resources, documents: old.documents, schema: old.schema}
		}
	}
	r.found.Store(found)
	a.describe()
	a.update(ctx, r.service.Name, func(s *service) error {
		if s.UID != r.service.UID {
			return errUnchanged
		}
		return setCondition(s, condition)
	})
}

func setCondition(s *service, condition apiregistrationv1.APIServiceCondition) error {
	condition.LastTransitionTime = metav1.Now()
	for i, old := range s.Status.Conditions {
		if old.Type != condition.Type {
			continue
		}
		if old.Status == condition.Status {
			if old.Reason == condition.Reason && old.Message == condition.Message {
				return errUnchanged
			}
			condition.LastTransitionTime = old.LastTransitionTime
		}
		s.Status.Conditions[i] = condition
		return nil
	}
	s.Status.Conditions = append(s.Status.Conditions, condition)
	return nil
}

// look reads another server's discovery. The reason is that of the condition
// when it fails.
func (a *Aggregator) look(ctx context.Context, r *remote) (*findings, string, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	reference := r.service.Spec.Service
	port := int32(443)
	if reference.Port != nil {
		port = *reference.Port
	}
	if _, err := a.config.Resolve(ctx, reference.Namespace, reference.Name, port); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, "ServiceNotFound", fmt.Errorf("service/%s in %q is not present", reference.Name, reference.Namespace)
		}
		return nil, "MissingEndpoints", fmt.Errorf("endpoints for service/%s in %q have no addresses with port %d: %w", reference.Name, reference.Namespace, port, err)
	}
	if r.broken != nil {
		return nil, "FailedDiscoveryCheck", r.broken
	}
	path := "/apis/" + r.service.Spec.Group + "/" + r.service.Spec.Version
	list := metav1.APIResourceList{}
	if err := r.read(ctx, path, &list); err != nil {
		return nil, "FailedDiscoveryCheck", fmt.Errorf("failing or missing response from %s: %w", r.location.String()+path, err)
	}
	return &findings{available: true, resources: described(&list), documents: r.documents(ctx, path), schema: r.schema(ctx, path)}, "", nil
}

// documents finds the OpenAPI 3 documents of the group and version. A server
// without any is not ill.
func (r *remote) documents(ctx context.Context, path string) map[string]string {
	var index struct {
		Paths map[string]struct {
			ServerRelativeURL string `json:"serverRelativeURL"`
		} `json:"paths"`
	}
	if err := r.read(ctx, "/openapi/v3", &index); err != nil {
		return nil
	}
	name := strings.TrimPrefix(path, "/")
	found, ok := index.Paths[name]
	if !ok {
		return nil
	}
	return map[string]string{name: found.ServerRelativeURL}
}

// read gets a JSON document from another server, as this server itself.
func (r *remote) read(ctx context.Context, path string, into any) error {
	_, err := r.readUnless(ctx, path, "", into)
	return err
}

// readUnless reads what does not have this entity tag, and returns the one that
// it has. Where nothing has changed, into is left as it is.
func (r *remote) readUnless(ctx context.Context, path, tag string, into any) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.location.String()+path, nil)
	if err != nil {
		return "", err
	}
	request.Header.Set("Accept", "application/json")
	if tag != "" {
		request.Header.Set("If-None-Match", tag)
	}
	transport.SetAuthProxyHeaders(request, "system:kube-aggregator", "", []string{user.SystemPrivilegedGroup}, nil)
	answer, err := r.transport.RoundTrip(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = answer.Body.Close() }()
	if tag != "" && answer.StatusCode == http.StatusNotModified {
		return tag, nil
	}
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("bad status: %s", answer.Status)
	}
	return answer.Header.Get("Etag"), json.NewDecoder(io.LimitReader(answer.Body, maxDocument)).Decode(into)
}

// described turns plain discovery into that of the aggregated document.
func described(list *metav1.APIResourceList) []apidiscoveryv2.APIResourceDiscovery {
	byName := map[string]*apidiscoveryv2.APIResourceDiscovery{}
	for _, one := range list.APIResources {
		if strings.Contains(one.Name, "/") {
			continue
		}
		resource := &apidiscoveryv2.APIResourceDiscovery{
			Resource: one.Name, SingularResource: one.SingularName, Scope: apidiscoveryv2.ScopeCluster, Verbs: one.Verbs,
			ShortNames: one.ShortNames, Categories: one.Categories, ResponseKind: kindOf(one),
		}
		if one.Namespaced {
			resource.Scope = apidiscoveryv2.ScopeNamespace
		}
		byName[one.Name] = resource
	}
	for _, one := range list.APIResources {
		parent, sub, isSub := strings.Cut(one.Name, "/")
		if resource := byName[parent]; isSub && resource != nil {
			resource.Subresources = append(resource.Subresources, apidiscoveryv2.APISubresourceDiscovery{Subresource: sub, Verbs: one.Verbs, ResponseKind: kindOf(one)})
		}
	}
	var out []apidiscoveryv2.APIResourceDiscovery
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		out = append(out, *byName[name])
	}
	return out
}

func kindOf(one metav1.APIResource) *metav1.GroupVersionKind {
	return &metav1.GroupVersionKind{Group: one.Group, Version: one.Version, Kind: one.Kind}
}
