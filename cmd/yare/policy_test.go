package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const policyRules = `package kubernetes.admission

deny contains msg if {
	some container in input.request.object.spec.containers
	not startswith(container.image, "registry.example.com/")
	msg := sprintf("%s is elsewhere", [container.image])
}

warn contains "no labels" if not input.request.object.metadata.labels
`

const policyPods = `{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {containers: [{name: main, image: nginx}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: api, labels: {a: b}}, spec: {containers: [{name: main, image: registry.example.com/api}]}}
`

// policyCommand runs yare policy, and returns what it prints and its exit code.
func policyCommand(t *testing.T, args ...string) (string, int) {
	t.Helper()
	out := &bytes.Buffer{}
	command := newPolicyCommand()
	command.SilenceErrors, command.SilenceUsage = true, true
	command.SetOut(out)
	command.SetErr(out)
	command.SetArgs(args)
	err := command.ExecuteContext(t.Context())
	var exit exitCode
	switch {
	case err == nil:
		return out.String(), 0
	case errors.As(err, &exit):
		return out.String() + err.Error(), exit.code
	}
	return out.String() + err.Error(), 1
}

func TestPolicyCommands(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"policies/rules.rego": policyRules, "broken/rules.rego": "package x\n\ny if", "pods.yaml": policyPods, "empty.yaml": "---\n"} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	policies, pods := filepath.Join(dir, "policies"), filepath.Join(dir, "pods.yaml")
	for name, test := range map[string]struct {
		args []string
		code int
		want []string
	}{
		"test":           {[]string{"test", "--opa-bundle", policies, pods}, 1, []string{"REFUSED pods/web in default", "data.kubernetes.admission.deny: nginx is elsewhere", "warning: no labels", "ok      pods/api in default", "2 asked about, 1 refused"}},
		"all pass":       {[]string{"test", "--opa-bundle", policies, "--namespace", "kube-system", pods}, 0, []string{"policies are not asked about it", "0 refused"}},
		"explain":        {[]string{"explain", "--opa-bundle", policies, pods}, 0, []string{"rules.rego:5", "Fail not startswith("}},
		"bench":          {[]string{"bench", "--opa-bundle", policies, "--count", "3", pods}, 0, []string{"pods/web in default", "p99", "of 3"}},
		"broken rules":   {[]string{"test", "--opa-bundle", filepath.Join(dir, "broken"), pods}, 2, []string{"rego_parse_error"}},
		"no such file":   {[]string{"test", "--opa-bundle", policies, "nowhere.yaml"}, 2, []string{"nowhere.yaml"}},
		"no objects":     {[]string{"test", "--opa-bundle", policies, filepath.Join(dir, "empty.yaml")}, 2, []string{"no objects"}},
		"no such output": {[]string{"test", "--opa-bundle", policies, "-o", "tea", pods}, 2, []string{"text or json"}},
		"no such trace":  {[]string{"explain", "--opa-bundle", policies, "--trace", "some", pods}, 2, []string{"fails, notes or full"}},
	} {
		out, code := policyCommand(t, test.args...)
		if code != test.code {
			t.Errorf("%s: exit code %d: %s", name, code, out)
		}
		for _, want := range test.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in: %s", name, want, out)
			}
		}
	}
	t.Run("json", func(t *testing.T) {
		out, _ := policyCommand(t, "test", "--opa-bundle", policies, "-o", "json", pods)
		var lines []policyLine
		if err := json.NewDecoder(strings.NewReader(out)).Decode(&lines); err != nil || len(lines) != 2 || lines[0].Verdict != verdictRefused || lines[1].Verdict != verdictPass {
			t.Errorf("%v: %s", err, out)
		}
	})
}
