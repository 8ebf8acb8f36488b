package admission_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/yare-io/yare/admission"
)

// recorder is both mutator and validator, and notes when it is called.
type recorder struct {
	name string
	ops  []admission.Operation
	err  error
	log  *[]string
}

func (r recorder) Name() string                        { return r.name }
func (r recorder) Handles(op admission.Operation) bool { return slices.Contains(r.ops, op) }
func (r recorder) Admit(context.Context, *admission.Attributes) error {
	*r.log = append(*r.log, "admit "+r.name)
	return r.err
}

func (r recorder) Validate(context.Context, *admission.Attributes) error {
	*r.log = append(*r.log, "validate "+r.name)
	return r.err
}

func pods(op admission.Operation) *admission.Attributes {
	return &admission.Attributes{
		Operation: op, Resource: corev1.SchemeGroupVersion.WithResource("pods"), Namespace: "team",
		Object: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "web-"}},
	}
}

func TestPluginsRunInOrderForTheirOperations(t *testing.T) {
	var log []string
	chain := admission.NewChain(
		recorder{name: "a", ops: []admission.Operation{admission.Create, admission.Update}, log: &log},
		recorder{name: "b", ops: []admission.Operation{admission.Update}, log: &log},
	)
	for op, want := range map[admission.Operation][]string{
		admission.Create: {"admit a", "validate a"},
		admission.Update: {"admit a", "admit b", "validate a", "validate b"},
		admission.Delete: nil,
	} {
		log = nil
		if err := errors.Join(chain.Admit(t.Context(), pods(op)), chain.Validate(t.Context(), pods(op))); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(log, want) {
			t.Errorf("%s: %v, want %v", op, log, want)
		}
	}
}

func TestTheFirstRefusalEndsTheChainAsAStatus(t *testing.T) {
	var log []string
	every := []admission.Operation{admission.Create}
	chain := admission.NewChain(
		recorder{name: "a", ops: every, log: &log, err: errors.New("not today")},
		recorder{name: "b", ops: every, log: &log},
	)
	err := chain.Admit(t.Context(), pods(admission.Create))
	if !apierrors.IsForbidden(err) || err.Error() != `pods "web-" is forbidden: not today` {
		t.Errorf("got %v", err)
	}
	if !slices.Equal(log, []string{"admit a"}) {
		t.Errorf("ran %v", log)
	}
	own := apierrors.NewTooManyRequestsError("slow down")
	if err := admission.Refusal(pods(admission.Create), own); err != error(own) {
		t.Errorf("a status was changed: %v", err)
	}
}
