package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/server"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// Finding is the value of one rule.
type Finding struct {
	Entry
	// Value is as encoding/json would decode it.
	Value any
}

// Decision is what the policies say about one input.
type Decision struct {
	// ID names the decision in the decision log; empty when there was nothing to
	// decide by.
	ID       string
	Findings []Finding
}

// Input is what policies see as input. It is asked for only when there are
// rules to evaluate.
type Input interface {
	// Document is the input as encoding/json would decode it.
	Document() (map[string]any, error)
	// Value is the document as a policy value.
	Value() (ast.Value, error)
}

// ErrLimit is an evaluation that took more time, steps or memory than it may.
var ErrLimit = errors.New("the evaluation was stopped")

// Decide evaluates the rules of a phase. path names the question in the decision
// log. An error means that there is no decision.
func (e *Engine) Decide(ctx context.Context, phase Phase, path string, input Input) (*Decision, error) {
	if err := e.Ready(); err != nil {
		return nil, err
	}
	txn, err := e.store.NewTransaction(ctx)
	if err != nil {
		return nil, err
	}
	defer e.store.Abort(ctx, txn)
	// Which policies run is read inside the transaction: data and policies of
	// different bundles never meet.
	active := e.active.Load()
	asked := active.queries(phase)
	if len(asked) == 0 {
		return &Decision{}, nil
	}
	began := time.Now()
	decision := &Decision{ID: uuid.NewString()}
	decision.Findings, err = e.evaluate(ctx, asked, txn, input)
	e.metrics.observe(phase, time.Since(began), err)
	return decision, errors.Join(err, e.log(ctx, txn, active, decision, path, input, began, err))
}

// evaluate asks all queries, and orders what they say by path of the rule.
func (e *Engine) evaluate(ctx context.Context, asked []*query, txn storage.Transaction, input Input) ([]Finding, error) {
	value, err := input.Value()
	if err != nil {
		return nil, err
	}
	var found []Finding
	for _, q := range asked {
		results, err := e.bounded(ctx, q.eval, rego.EvalTransaction(txn), rego.EvalParsedInput(value))
		if err != nil {
			return nil, err
		}
		found = append(found, findings(q.entries, results)...)
	}
	if len(asked) > 1 {
		slices.SortStableFunc(found, func(a, b Finding) int { return strings.Compare(a.Path, b.Path) })
	}
	return found, nil
}

// Evaluate runs another query than that of bundles, within the same limits.
func (e *Engine) Evaluate(ctx context.Context, query rego.PreparedEvalQuery, input ast.Value) (rego.ResultSet, error) {
	return e.bounded(ctx, query, rego.EvalParsedInput(input))
}

// bounded evaluates within the limits on time, steps and memory.
func (e *Engine) bounded(ctx context.Context, query rego.PreparedEvalQuery, options ...rego.EvalOption) (rego.ResultSet, error) {
	settings := e.Settings()
	ctx, cancel := context.WithTimeoutCause(ctx, settings.Timeout(), fmt.Errorf("%w after %v", ErrLimit, settings.Timeout()))
	defer cancel()
	stop := &steps{limit: settings.StepsLimit}
	defer context.AfterFunc(ctx, stop.Cancel)()
	watched := e.memory.watch(settings.MemoryLimitMiB<<20, stop.Cancel)
	options = append(options, rego.EvalExternalCancel(stop))
	if tracer, ok := ctx.Value(tracerKey{}).(topdown.QueryTracer); ok {
		options = append(options, rego.EvalQueryTracer(tracer))
	}
	results, err := query.Eval(ctx, options...)
	exceeded := watched()
	switch {
	case err == nil:
		return results, nil
	case stop.exceeded():
		return nil, fmt.Errorf("%w after %d steps", ErrLimit, settings.StepsLimit)
	case exceeded:
		return nil, fmt.Errorf("%w: the process grew by more than %d MiB", ErrLimit, settings.MemoryLimitMiB)
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	}
	return nil, err
}

type tracerKey struct{}

// WithTracer makes evaluations in the context be traced.
func WithTracer(ctx context.Context, tracer topdown.QueryTracer) context.Context {
	return context.WithValue(ctx, tracerKey{}, tracer)
}

// findings takes the values of rules out of the results; an undefined rule has
// none.
func findings(entries []Entry, results rego.ResultSet) []Finding {
	var found []Finding
	for _, result := range results {
		for i, entry := range entries {
			values, _ := result.Bindings[fmt.Sprintf("x%d", i)].([]any)
			for _, value := range values {
				found = append(found, Finding{entry, value})
			}
		}
	}
	return found
}

// log hands the decision over to OPA's decision log, if there is one. The log
// has a bounded buffer and drops what does not fit.
func (e *Engine) log(ctx context.Context, txn storage.Transaction, active *prepared, d *Decision, path string, input Input, began time.Time, failure error) error {
	plugin := e.decisionLog()
	if plugin == nil {
		return nil
	}
	document, err := input.Document()
	if err != nil {
		return err
	}
	var said, asked any = d.results(), document
	err = plugin.Log(ctx, &server.Info{
		Txn: txn, Bundles: active.bundles, DecisionID: d.ID, Path: path, Timestamp: began,
		Input: &asked, Results: &said, Error: failure,
	})
	if err != nil {
		return fmt.Errorf("decision log: %w", err)
	}
	return nil
}

// results is the decision as the log shows it: values by path of their rule.
func (d *Decision) results() map[string]any {
	all := make(map[string]any, len(d.Findings))
	for _, finding := range d.Findings {
		all[finding.Path] = finding.Value
	}
	return all
}
