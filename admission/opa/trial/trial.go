// Package trial asks policies about objects in files, by the same engine,
// constraints and plugins that the server asks about requests. It refuses to
// know how the answers are shown.
package trial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/topdown/lineage"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/yaml"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/opa"
	"github.com/yare-io/yare/admission/opa/engine"
	"github.com/yare-io/yare/admission/opa/gatekeeper"
	"github.com/yare-io/yare/admission/opa/inventory"
)

// Config is what is asked.
type Config struct {
	// OPA is OPA's configuration, as the server takes it.
	OPA []byte
	// Constraints are files and directories with Gatekeeper's templates and
	// constraints.
	Constraints []string
	// Cluster is what policies see of the cluster.
	Cluster []Document
	// AsWritten evaluates constraints as their templates are written, so that
	// explanations show the author's own rules.
	AsWritten bool
	Logger    *slog.Logger
}

// Trial is a set of policies in force. It is for one goroutine.
type Trial struct {
	engine *engine.Engine
	chain  *admission.Chain
	stop   func() error
}

// ErrPolicy is a policy that is wrong.
var ErrPolicy = errors.New("the policies cannot be used")

// New loads policies and waits until they are in force. Close ends them.
func New(ctx context.Context, c Config) (*Trial, error) {
	seen := newCluster(c.Cluster)
	overlay := inventory.New(seen, func() []inventory.Resource { return seen.resources })
	config, err := quiet(c.OPA)
	if err != nil {
		return nil, err
	}
	state, err := os.MkdirTemp("", "yare-policy-")
	if err != nil {
		return nil, err
	}
	forget := func() error { return os.RemoveAll(state) }
	e, err := engine.New(engine.Config{OPA: config, StateDir: state, Overlay: overlay, Logger: c.Logger})
	if err != nil {
		err = errors.Join(err, forget())
		return nil, fmt.Errorf("%w: %w", ErrPolicy, err)
	}
	constraints, err := load(ctx, c, e, overlay)
	if err != nil {
		err = errors.Join(err, forget())
		return nil, fmt.Errorf("%w: %w", ErrPolicy, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	t := &Trial{engine: e, stop: func() error { cancel(); return errors.Join(<-ended, forget()) }}
	if err := ready(ctx, e); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrPolicy, err), t.Close())
	}
	t.chain = admission.NewChain(opa.Plugins(e, namespaces{seen}, constraints))
	return t, nil
}

// quiet leaves out of a configuration what tells others of decisions, and what
// keeps bundles.
func quiet(config []byte) ([]byte, error) {
	all := map[string]any{}
	if err := yaml.UnmarshalStrict(config, &all); err != nil {
		return nil, err
	}
	delete(all, "decision_logs")
	delete(all, "status")
	bundles, _ := all["bundles"].(map[string]any)
	for _, bundle := range bundles {
		if source, ok := bundle.(map[string]any); ok {
			source["persist"] = false
		}
	}
	return yaml.Marshal(all)
}

// Close ends what New began.
func (t *Trial) Close() error { return t.stop() }

// load compiles constraints; any that is wrong is an error.
func load(ctx context.Context, c Config, e *engine.Engine, overlay engine.Overlay) (opa.Constraints, error) {
	if len(c.Constraints) == 0 {
		return nil, nil
	}
	objects, err := gatekeeper.ReadManifests(c.Constraints...)
	if err != nil {
		return nil, err
	}
	compiler := gatekeeper.Compiler{Store: engine.NewStore(overlay), AsWritten: c.AsWritten}
	library, problems, err := compiler.Compile(ctx, objects)
	for _, problem := range problems {
		err = errors.Join(err, problem)
	}
	if err != nil {
		return nil, err
	}
	checker := gatekeeper.NewChecker(e)
	checker.Use(library)
	return checker, nil
}

// ready waits for bundles; one that fails ends the wait.
func ready(ctx context.Context, e *engine.Engine) error {
	return wait.PollUntilContextTimeout(ctx, 2*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		for name, err := range e.BundleErrors() {
			return false, fmt.Errorf("bundle %s: %w", name, err)
		}
		return e.Ready() == nil, nil
	})
}

// Outcome is what policies say to one request.
type Outcome struct {
	// Refusal is nil when the request is let pass.
	Refusal  error
	Warnings []string
	// Reasons are the rules and constraints that said something, with what they
	// said: "rule: message".
	Reasons []string
	// Before is the object as it was sent, Changed as policies have changed it, nil
	// when they have not.
	Before, Changed runtime.Object
	// Asked is false when the request is not in scope.
	Asked bool
	Took  time.Duration
}

// Ask takes a request through both halves of admission.
func (t *Trial) Ask(ctx context.Context, a *admission.Attributes) Outcome {
	var before runtime.Object
	if a.Object != nil {
		before = a.Object.DeepCopyObject()
	}
	scope := t.engine.Settings().Includes(a)
	began := time.Now()
	err := t.chain.Admit(ctx, a)
	if err == nil {
		err = t.chain.Validate(ctx, a)
	}
	out := Outcome{Refusal: err, Before: before, Warnings: a.Warnings(), Took: time.Since(began), Asked: scope}
	for _, key := range []string{"opa.admission.yare.io/denied", "gatekeeper.admission.yare.io/violations"} {
		if said := a.Annotations()[key]; said != "" {
			out.Reasons = append(out.Reasons, strings.Split(said, "\n")...)
		}
	}
	if before != nil && !equality.Semantic.DeepEqual(before, a.Object) {
		out.Changed = a.Object
	}
	return out
}

// Explanation is how much of an evaluation is shown.
type Explanation string

// The explanations that there are, as OPA's own tool has them.
const (
	Fails Explanation = "fails"
	Notes Explanation = "notes"
	Full  Explanation = "full"
)

// Explain asks as Ask does, and writes down what was evaluated.
func (t *Trial) Explain(ctx context.Context, a *admission.Attributes, how Explanation, to io.Writer) (Outcome, error) {
	filter, ok := map[Explanation]func([]*topdown.Event) []*topdown.Event{
		Fails: lineage.Fails, Notes: lineage.Notes, Full: lineage.Full,
	}[how]
	if !ok {
		return Outcome{}, fmt.Errorf("an explanation is fails, notes or full, not %q", how)
	}
	trace := topdown.NewBufferTracer()
	out := t.Ask(engine.WithTracer(ctx, trace), a)
	topdown.PrettyTraceWithLocation(to, filter(*trace))
	return out, nil
}
