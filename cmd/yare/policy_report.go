package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"syscall"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/opa/trial"
)

// policyReport collects what policies say to objects.
type policyReport struct {
	out   io.Writer
	lines []policyLine
}

// policyLine is what they say to one.
type policyLine struct {
	Source    string `json:"source"`
	Resource  string `json:"resource"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	Verdict   string `json:"verdict"`
	// Message is the answer that a client would get.
	Message string `json:"message,omitempty"`
	// Reasons are the rules and constraints that spoke, and what they said.
	Reasons  []string `json:"reasons,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
	// Changes are a JSON merge patch.
	Changes json.RawMessage `json:"changes,omitempty"`
}

// The verdicts.
const (
	verdictPass    = "pass"
	verdictRefused = "refused"
	verdictScope   = "not in scope"
)

func (r *policyReport) add(document trial.Document, asked *admission.Attributes, outcome trial.Outcome) error {
	line := policyLine{
		Source: document.Source, Resource: asked.Resource.GroupResource().String(), Namespace: asked.Namespace, Name: asked.Name,
		Verdict: verdictPass, Warnings: outcome.Warnings, Reasons: outcome.Reasons,
	}
	switch {
	case outcome.Refusal != nil:
		line.Verdict, line.Message = verdictRefused, outcome.Refusal.Error()
	case !outcome.Asked:
		line.Verdict = verdictScope
	}
	if outcome.Changed != nil {
		before, err := json.Marshal(outcome.Before)
		if err != nil {
			return err
		}
		after, err := json.Marshal(outcome.Changed)
		if err != nil {
			return err
		}
		if line.Changes, err = jsonpatch.CreateMergePatch(before, after); err != nil {
			return err
		}
	}
	r.lines = append(r.lines, line)
	return nil
}

func (r *policyReport) last() policyLine { return r.lines[len(r.lines)-1] }

func (l policyLine) what() string {
	if l.Namespace == "" {
		return l.Resource + "/" + l.Name
	}
	return fmt.Sprintf("%s/%s in %s", l.Resource, l.Name, l.Namespace)
}

func (l policyLine) print(to io.Writer) error {
	text := fmt.Sprintf("%-7s %s (%s)\n", map[string]string{verdictPass: "ok", verdictRefused: "REFUSED", verdictScope: "-"}[l.Verdict], l.what(), l.Source)
	for _, reason := range l.Reasons {
		text += "        " + reason + "\n"
	}
	if l.Verdict == verdictRefused && len(l.Reasons) == 0 {
		text += "        " + l.Message + "\n"
	}
	for _, warning := range l.Warnings {
		text += "        warning: " + warning + "\n"
	}
	if l.Changes != nil {
		text += "        changed: " + string(l.Changes) + "\n"
	}
	if l.Verdict == verdictScope {
		text += "        policies are not asked about it\n"
	}
	_, err := io.WriteString(to, text)
	return err
}

// end prints all, and is an error when anything was refused.
func (r *policyReport) end(format string) error {
	refused := 0
	for _, line := range r.lines {
		if line.Verdict == verdictRefused {
			refused++
		}
	}
	if err := r.print(format, refused); err != nil {
		return exitCode{err, 2}
	}
	if refused > 0 {
		return exitCode{errRefused, 1}
	}
	return nil
}

func (r *policyReport) print(format string, refused int) error {
	switch format {
	case "json":
		encoder := json.NewEncoder(r.out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(r.lines)
	case "text":
		for _, line := range r.lines {
			if err := line.print(r.out); err != nil {
				return err
			}
		}
		_, err := fmt.Fprintf(r.out, "\n%d asked about, %d refused\n", len(r.lines), refused)
		return err
	}
	return fmt.Errorf("--output must be text or json, not %q", format)
}

// benchPolicies asks about one object again and again.
func benchPolicies(ctx context.Context, to io.Writer, policies *trial.Trial, caller trial.Caller, document trial.Document, count int) error {
	took := make([]time.Duration, count)
	var used time.Duration
	line := policyLine{Source: document.Source}
	for i := range took {
		asked, err := caller.Attributes(document)
		if err != nil {
			return err
		}
		line.Resource, line.Namespace, line.Name = asked.Resource.GroupResource().String(), asked.Namespace, asked.Name
		before := processorTime()
		took[i] = policies.Ask(ctx, asked).Took
		used += processorTime() - before
	}
	slices.Sort(took)
	at := func(percent int) time.Duration { return took[(count-1)*percent/100].Round(time.Microsecond) }
	_, err := fmt.Fprintf(to, "%s (%s)\n        p50 %v   p90 %v   p99 %v   max %v   processor %v, of %d\n",
		line.what(), line.Source, at(50), at(90), at(99), at(100), (used / time.Duration(count)).Round(time.Microsecond), count)
	return err
}

// processorTime is what this process has used.
func processorTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
