package builtin

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	"k8s.io/utils/lru"

	"github.com/yare-io/yare/admission"
)

// EventRateLimit bounds the rate of events.
type EventRateLimit struct {
	// Type is what a bucket is for: "Server", "Namespace", "User" or
	// "SourceAndObject".
	Type string
	// QPS events a second are let through, and Burst at once.
	QPS, Burst int32
	// CacheSize bounds the number of buckets; zero means 4096.
	CacheSize int32
}

const defaultBuckets = 4096

// eventRateLimit keeps the store from being flooded with events.
type eventRateLimit struct {
	plugin
	limits []eventLimit
	clock  clock.PassiveClock
}

type eventLimit struct {
	kind    string
	key     func(*admission.Attributes) string
	rate    EventRateLimit
	buckets *lru.Cache
}

func newEventRateLimit(deps Deps) (admission.Plugin, error) {
	p := &eventRateLimit{plugin: on("EventRateLimit", admission.Create, admission.Update), clock: deps.Clock}
	if len(deps.Config.EventRateLimits) == 0 {
		return nil, fmt.Errorf("at least one limit must be configured")
	}
	keys := map[string]func(*admission.Attributes) string{
		"Server":          func(*admission.Attributes) string { return "" },
		"Namespace":       func(a *admission.Attributes) string { return a.Namespace },
		"User":            func(a *admission.Attributes) string { return a.User.GetName() },
		"SourceAndObject": sourceAndObject,
	}
	for _, config := range deps.Config.EventRateLimits {
		key, ok := keys[config.Type]
		if !ok {
			return nil, fmt.Errorf("unknown type of limit %q", config.Type)
		}
		if config.QPS <= 0 || config.Burst <= 0 {
			return nil, fmt.Errorf("limit %s: qps and burst must be positive", config.Type)
		}
		if config.CacheSize == 0 {
			config.CacheSize = defaultBuckets
		}
		p.limits = append(p.limits, eventLimit{config.Type, key, config, lru.New(int(config.CacheSize))})
	}
	return p, nil
}

// Validate takes a token from the bucket of every limit, and refuses the event
// if one is empty. Dry runs take none.
func (p *eventRateLimit) Validate(_ context.Context, a *admission.Attributes) error {
	resource := a.Resource.GroupResource()
	if resource != corev1.Resource("events") && resource != eventsv1.Resource("events") || a.DryRun {
		return nil
	}
	var full []string
	for i := range p.limits {
		limit := &p.limits[i]
		if key := limit.key(a); !limit.bucket(key).AllowN(p.clock.Now(), 1) {
			full = append(full, fmt.Sprintf("limit reached on type %s for key %s", limit.kind, key))
		}
	}
	if len(full) > 0 {
		return apierrors.NewTooManyRequestsError(strings.Join(full, ", "))
	}
	return nil
}

// bucket may, in a race, make a bucket twice; the loser's token is free.
func (l *eventLimit) bucket(key string) *rate.Limiter {
	if bucket, ok := l.buckets.Get(key); ok {
		return bucket.(*rate.Limiter)
	}
	bucket := rate.NewLimiter(rate.Limit(l.rate.QPS), int(l.rate.Burst))
	l.buckets.Add(key, bucket)
	return bucket
}

func sourceAndObject(a *admission.Attributes) string {
	switch event := a.Object.(type) {
	case *corev1.Event:
		o := event.InvolvedObject
		return strings.Join([]string{event.Source.Component, event.Source.Host, o.Kind, o.Namespace, o.Name, string(o.UID), o.APIVersion}, "")
	case *eventsv1.Event:
		o := event.Regarding
		return strings.Join([]string{event.ReportingController, event.ReportingInstance, o.Kind, o.Namespace, o.Name, string(o.UID), o.APIVersion}, "")
	}
	return ""
}
