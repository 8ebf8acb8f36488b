package events

import (
	"testing"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"

	"github.com/yare-io/yare/apiserver/api/rowtest"
)

const event = `
metadata: {name: a, namespace: b}
eventTime: "2026-01-02T03:04:05.000006Z"
reportingController: example.com/controller
reportingInstance: i
action: Start
reason: Started
note: it has begun
type: Normal
regarding: {kind: Pod, name: p, namespace: b}
`

func TestEvent(t *testing.T) {
	r := rowtest.Row(t, Resources(time.Hour), "events")
	rowtest.Creates(t, r, event, rowtest.Cases{
		{"no time", "eventTime: null", []string{"Required eventTime"}},
		{"by nobody", "reportingController: ''", []string{"Required reportingController"}},
		{"for nothing", "reason: ''", []string{"Required reason"}},
		{"unknown type", "type: Fatal", []string{"Invalid type"}},
		{"of another namespace", "regarding: {namespace: c}", []string{"Invalid involvedObject.namespace"}},
		{"counted the old way", "deprecatedCount: 2", []string{"Invalid count"}},
		{"series of one", "series: {count: 1, lastObservedTime: '2026-01-02T03:04:05.000006Z'}", []string{"Invalid series.count"}},
	})
	rowtest.Updates(t, r, &r.Strategy, event, rowtest.Cases{
		{"again", "series: {count: 2, lastObservedTime: '2026-01-02T03:05:05.000006Z'}", nil},
		{"for another reason", "reason: Stopped", []string{"Invalid reason"}},
	})
	if ttl := r.TTL(r.New()); ttl != time.Hour {
		t.Errorf("kept for %v", ttl)
	}
}

func TestEventIsStoredWhole(t *testing.T) {
	r := rowtest.Row(t, Resources(time.Hour), "events")
	e := rowtest.Object(t, r, event, `
series: {count: 2, lastObservedTime: '2026-01-02T03:05:05.000006Z'}
related: {kind: Node, name: n}
deprecatedSource: {component: c}
deprecatedCount: 3
deprecatedFirstTimestamp: '2026-01-02T03:04:05Z'
deprecatedLastTimestamp: '2026-01-02T03:04:06Z'
`)
	before := e.DeepCopyObject()
	stored, err := r.StoredAs.ToStored(e)
	if err != nil {
		t.Fatal(err)
	}
	back, err := r.StoredAs.FromStored(stored)
	if err != nil {
		t.Fatal(err)
	}
	back.(*eventsv1.Event).TypeMeta = before.(*eventsv1.Event).TypeMeta
	if !apiequality.Semantic.DeepEqual(back, before) || !apiequality.Semantic.DeepEqual(e, before) {
		t.Errorf("got %+v, want %+v", back, before)
	}
	if stored.GetObjectKind().GroupVersionKind() != r.StoredAs.Kind {
		t.Errorf("stored as %v", stored.GetObjectKind().GroupVersionKind())
	}
}
