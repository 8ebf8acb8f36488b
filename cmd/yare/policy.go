package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/opa/trial"
	"github.com/yare-io/yare/cmd/yare/kubeapiserver"
)

func newPolicyCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "policy", GroupID: "cluster",
		Short: "Try policies on objects in files, without a cluster",
		Long: `Try policies on objects in files, without a cluster.

The policies are what the server takes: OPA bundles (--opa-bundle, --opa-config-file) and Gatekeeper's
templates and constraints (--constraints). They are asked by the server's own engine.

The objects are YAML or JSON: plain objects, many in one file if you like, or AdmissionReviews. A plain object
stands for the request that creates it; --operation, --as and --as-group make it another one.`,
	}
	command.AddCommand(newPolicyTestCommand(), newPolicyBenchCommand(), newPolicyExplainCommand())
	return command
}

// policyOptions are what the three commands have in common.
type policyOptions struct {
	opa         kubeapiserver.OPAOptions
	constraints []string
	cluster     []string
	caller      trial.Caller
	operation   string
}

func (o *policyOptions) add(flags *pflag.FlagSet) {
	o.opa.AddSources(flags)
	flags.StringSliceVar(&o.constraints, "constraints", nil, "files and directories with Gatekeeper's ConstraintTemplates and constraints")
	flags.StringSliceVar(&o.cluster, "cluster", nil, "files and directories with the objects that policies see in the cluster, namespaces among them")
	flags.StringVar(&o.operation, "operation", "CREATE", "what is done to plain objects: CREATE, UPDATE (from the same object) or DELETE")
	flags.StringVarP(&o.caller.Namespace, "namespace", "n", "default", "namespace of plain objects that name none")
	flags.StringVar(&o.caller.User, "as", "kubernetes-admin", "who does it")
	flags.StringSliceVar(&o.caller.Groups, "as-group", []string{"system:authenticated"}, "groups that the user is in")
}

// exitCode ends the process with another code than 1.
type exitCode struct {
	error
	code int
}

// errRefused is how test ends when a request is refused.
var errRefused = errors.New("not all requests are let pass")

// load reads the policies and the objects.
func (o *policyOptions) load(ctx context.Context, files []string, asWritten bool) (*trial.Trial, []trial.Document, error) {
	o.caller.Operation = admission.Operation(strings.ToUpper(o.operation))
	config, err := o.opa.Config()
	if err != nil {
		return nil, nil, err
	}
	seen, err := trial.Read(o.cluster...)
	if err != nil {
		return nil, nil, err
	}
	documents, err := trial.Read(files...)
	if err != nil {
		return nil, nil, err
	}
	if len(documents) == 0 {
		return nil, nil, errors.New("there are no objects in these files")
	}
	policies, err := trial.New(ctx, trial.Config{
		OPA: config, Constraints: o.constraints, Cluster: seen, AsWritten: asWritten,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	return policies, documents, err
}

// each runs a command's work for every object. What goes wrong is another exit
// code than a refusal.
func (o *policyOptions) each(ctx context.Context, files []string, asWritten bool, work func(*trial.Trial, trial.Document) error) error {
	policies, documents, err := o.load(ctx, files, asWritten)
	if err != nil {
		return exitCode{err, 2}
	}
	for _, document := range documents {
		if err == nil {
			err = work(policies, document)
		}
	}
	if err = errors.Join(err, policies.Close()); err != nil {
		return exitCode{err, 2}
	}
	return nil
}

func newPolicyTestCommand() *cobra.Command {
	options, format := &policyOptions{}, "text"
	command := &cobra.Command{
		Use: "test [flags] FILE...", Args: cobra.MinimumNArgs(1),
		Short: "Say which objects policies refuse, change or warn of",
		Long: `Say which objects policies refuse, change or warn of, and which rule says so.

Exit codes: 0 when all are let pass, 1 when any is refused, 2 when the question could not be asked.`,
		Example: `  yare policy test --opa-bundle policies pod.yaml
  yare policy test --constraints gatekeeper/ --cluster namespaces.yaml manifests/
  kubectl get pods -A -o json | yare policy test --opa-bundle policies -o json -`,
		RunE: func(command *cobra.Command, files []string) error {
			report := &policyReport{out: command.OutOrStdout()}
			err := options.each(command.Context(), files, false, func(policies *trial.Trial, document trial.Document) error {
				asked, err := options.caller.Attributes(document)
				if err != nil {
					return err
				}
				return report.add(document, asked, policies.Ask(command.Context(), asked))
			})
			if err != nil {
				return err
			}
			return report.end(format)
		},
	}
	options.add(command.Flags())
	command.Flags().StringVarP(&format, "output", "o", format, "text or json")
	return command
}

func newPolicyBenchCommand() *cobra.Command {
	options, count := &policyOptions{}, 1000
	command := &cobra.Command{
		Use: "bench [flags] FILE...", Args: cobra.MinimumNArgs(1),
		Short: "Measure how long policies take to decide",
		Long: `Measure how long policies take to decide on each object: percentiles of the time that both halves of admission
take, and the processor time, which other work on the machine disturbs less.`,
		Example: "  yare policy bench --opa-bundle policies --count 5000 pod.yaml",
		RunE: func(command *cobra.Command, files []string) error {
			if count < 1 {
				return exitCode{errors.New("--count must be 1 or more"), 2}
			}
			return options.each(command.Context(), files, false, func(policies *trial.Trial, document trial.Document) error {
				return benchPolicies(command.Context(), command.OutOrStdout(), policies, options.caller, document, count)
			})
		},
	}
	options.add(command.Flags())
	command.Flags().IntVar(&count, "count", count, "how often each object is asked about")
	return command
}

func newPolicyExplainCommand() *cobra.Command {
	options, how := &policyOptions{}, string(trial.Fails)
	command := &cobra.Command{
		Use: "explain [flags] FILE...", Args: cobra.MinimumNArgs(1),
		Short: "Show how policies come to their decision",
		Long: `Show how policies come to their decision: the expressions that failed (fails), what trace() says (notes), or
every step (full). Line numbers are those of the policies' files.`,
		Example: "  yare policy explain --opa-bundle policies --trace full pod.yaml",
		RunE: func(command *cobra.Command, files []string) error {
			report := &policyReport{out: command.OutOrStdout()}
			return options.each(command.Context(), files, true, func(policies *trial.Trial, document trial.Document) error {
				return explainPolicies(command.Context(), report, policies, options.caller, document, trial.Explanation(how))
			})
		},
	}
	options.add(command.Flags())
	command.Flags().StringVar(&how, "trace", how, "what to show: fails, notes or full")
	return command
}

func explainPolicies(ctx context.Context, report *policyReport, policies *trial.Trial, caller trial.Caller, document trial.Document, how trial.Explanation) error {
	asked, err := caller.Attributes(document)
	if err != nil {
		return err
	}
	trace := &strings.Builder{}
	outcome, err := policies.Explain(ctx, asked, how, trace)
	if err != nil {
		return err
	}
	if err := report.add(document, asked, outcome); err != nil {
		return err
	}
	if err := report.last().print(report.out); err != nil {
		return err
	}
	_, err = fmt.Fprintln(report.out, indent(trace.String()))
	return err
}

func indent(text string) string {
	return "        " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n        ")
}
