package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/yare-io/yare/admission/config"
)

// load reads an AdmissionConfiguration with some plugins.
func load(t *testing.T, plugins string) (*config.Config, error) {
	t.Helper()
	folder := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(folder, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	write("kubeconfig", "apiVersion: v1\nkind: Config\nusers: [{name: '*', user: {token: t}}]\n")
	write("quota.yaml", "apiVersion: apiserver.config.k8s.io/v1\nkind: ResourceQuotaConfiguration\nlimitedResources: [{resource: pods, matchContains: [cpu]}]\n")
	text := strings.ReplaceAll(plugins, "FOLDER", folder)
	return config.Load(write("config.yaml", "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n"+text))
}

func TestSettingsAreRead(t *testing.T) {
	c, err := load(t, `
- name: ResourceQuota
  path: quota.yaml
- name: EventRateLimit
  configuration: {apiVersion: eventratelimit.admission.k8s.io/v1alpha1, kind: Configuration, limits: [{type: Server, qps: 5, burst: 10}]}
- name: PodNodeSelector
  configuration: {podNodeSelectorPluginConfig: {clusterDefaultNodeSelector: a=b, team: c=d}}
- name: PodTolerationRestriction
  configuration: {apiVersion: podtolerationrestriction.admission.k8s.io/v1alpha1, kind: Configuration, default: [{key: a}], whitelist: [{key: b}]}
- name: PodSecurity
  configuration: {apiVersion: pod-security.admission.config.k8s.io/v1, kind: PodSecurityConfiguration, defaults: {enforce: baseline}}
- name: MutatingAdmissionWebhook
  configuration: {apiVersion: apiserver.config.k8s.io/v1, kind: WebhookAdmissionConfiguration, kubeConfigFile: FOLDER/kubeconfig}
`)
	if err != nil {
		t.Fatal(err)
	}
	b := c.Builtin
	if len(b.LimitedResources) != 1 || b.LimitedResources[0].Resource != "pods" || len(b.EventRateLimits) != 1 || b.EventRateLimits[0].Burst != 10 ||
		b.NodeSelectors.ClusterDefault != "a=b" || b.NodeSelectors.Namespaces["team"] != "c=d" ||
		b.Tolerations.Default[0].Key != "a" || b.Tolerations.Allowed[0].Key != "b" || b.PodSecurity.Defaults.Enforce != "baseline" {
		t.Errorf("read %+v", b)
	}
}

func TestWrongSettingsAreRefused(t *testing.T) {
	for plugins, words := range map[string]string{
		"- {name: Magic, configuration: {}}":         "there is no such plugin",
		"- {name: PodSecurity}":                      "configuration or path is needed",
		"- {name: ResourceQuota, path: absent.yaml}": "no such file",
		"- {name: ResourceQuota, path: quota.yaml}\n- {name: ResourceQuota, path: quota.yaml}":                                                                                   "given twice",
		"- {name: ResourceQuota, configuration: {apiVersion: v1, kind: Pod}}":                                                                                                    "ResourceQuotaConfiguration is needed",
		"- {name: ValidatingAdmissionWebhook, configuration: {apiVersion: apiserver.config.k8s.io/v1, kind: WebhookAdmissionConfiguration, nonsense: 1}}":                        "unknown field",
		"- {name: ValidatingAdmissionWebhook, configuration: {apiVersion: apiserver.config.k8s.io/v1, kind: WebhookAdmissionConfiguration, staticManifestsDir: /etc/x}}":         "staticManifestsDir, a beta feature of Kubernetes, is not supported",
		"- {name: ValidatingAdmissionPolicy, configuration: {apiVersion: apiserver.config.k8s.io/v1, kind: ValidatingAdmissionPolicyConfiguration, staticManifestsDir: /etc/x}}": "staticManifestsDir, a beta feature of Kubernetes, is not supported",
	} {
		if _, err := load(t, plugins+"\n"); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v, want %q", plugins, err, words)
		}
	}
}
