package encrypted

import (
	"strings"
	"testing"
)

const header = "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources:\n"

func TestConfigurationsThatMakeNoSenseAreRefused(t *testing.T) {
	const key = "{name: a, secret: c2VjcmV0IGlzIHNlY3VyZQ==}"
	entry := func(resources, providers string) string {
		return header + "- {resources: [" + resources + "], providers: [" + providers + "]}\n"
	}
	for name, text := range map[string]string{
		"another kind":        strings.Replace(entry("secrets", "{identity: {}}"), "Encryption", "Other", 1),
		"unknown field":       entry("secrets", "{identity: {}, strength: 9}"),
		"no entry":            header,
		"no provider":         entry("secrets", ""),
		"two kinds":           entry("secrets", "{identity: {}, aesgcm: {keys: ["+key+"]}}"),
		"no kind":             entry("secrets", "{}"),
		"a lone star":         entry("'*'", "{identity: {}}"),
		"a star group":        entry("'secrets.*'", "{identity: {}}"),
		"upper case":          entry("Secrets", "{identity: {}}"),
		"a subresource":       entry("pods/status", "{identity: {}}"),
		"twice":               entry("secrets, secrets", "{identity: {}}"),
		"covered":             entry("secrets, '*.*'", "{identity: {}}"),
		"covered by a group":  entry("deployments.apps, '*.apps'", "{identity: {}}"),
		"no key":              entry("secrets", "{aesgcm: {keys: []}}"),
		"the same name":       entry("secrets", "{aesgcm: {keys: ["+key+", "+key+"]}}"),
		"a colon":             entry("secrets", "{aesgcm: {keys: [{name: 'a:b', secret: c2VjcmV0IGlzIHNlY3VyZQ==}]}}"),
		"a key too short":     entry("secrets", "{aescbc: {keys: [{name: a, secret: c2Vj}]}}"),
		"a secretbox of 16":   entry("secrets", "{secretbox: {keys: ["+key+"]}}"),
		"no base64":           entry("secrets", "{aesgcm: {keys: [{name: a, secret: '%%%'}]}}"),
		"kms version 1":       entry("secrets", "{kms: {name: a, endpoint: 'unix:///x'}}"),
		"kms over tcp":        entry("secrets", "{kms: {apiVersion: v2, name: a, endpoint: 'tcp://x'}}"),
		"kms with cache size": entry("secrets", "{kms: {apiVersion: v2, name: a, endpoint: 'unix:///x', cachesize: 5}}"),
		"kms twice":           entry("secrets", "{kms: {apiVersion: v2, name: a, endpoint: 'unix:///x'}}, {kms: {apiVersion: v2, name: a, endpoint: 'unix:///x'}}"),
	} {
		if _, err := parse([]byte(text)); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if _, err := parse([]byte(entry("secrets, '*.apps'", "{kms: {apiVersion: v2, name: a, endpoint: 'unix:///x'}}, {identity: {}}"))); err != nil {
		t.Errorf("a good configuration: %v", err)
	}
}

func TestAnEntryBehindAWildcardIsRefused(t *testing.T) {
	config, err := parse([]byte(header + "- {resources: ['*.*'], providers: [{identity: {}}]}\n- {resources: [secrets], providers: [{identity: {}}]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newKeyring(t.Context(), config, nil); err == nil {
		t.Fatal("an entry that has no effect was accepted")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(header + "- {resources: [secrets], providers: [{aesgcm: {keys: [{name: a, secret: c2VjcmV0IGlzIHNlY3VyZQ==}]}}]}\n"))
	f.Add([]byte(header + "- {resources: ['*.'], providers: [{kms: {apiVersion: v2, name: a, endpoint: 'unix:///x'}}]}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		config, err := parse(data)
		if err != nil {
			return
		}
		for _, entry := range config.Resources {
			for i := range entry.Providers {
				if entry.Providers[i].KMS != nil {
					return // would connect
				}
			}
		}
		// What is accepted can be used, unless a wildcard covers it.
		if keys, err := newKeyring(t.Context(), config, nil); err == nil {
			keys.close()
		} else if !strings.Contains(err.Error(), "covered") {
			t.Fatal(err)
		}
	})
}
