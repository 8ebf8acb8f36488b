package apicoverage

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

// lines reads a table of facts: a line each, by column.
func lines(t testing.TB, name string) []map[string]string {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + name)
	must(t, err)
	all := strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n")
	columns := strings.Split(all[0], "\t")
	var out []map[string]string
	for _, line := range all[1:] {
		entry := map[string]string{}
		for i, value := range strings.Split(line, "\t") {
			entry[columns[i]] = value
		}
		out = append(out, entry)
	}
	return out
}

// documents reads a file of several YAML documents, with what must be made
// afresh filled in.
func documents(t testing.TB, name string, into func([]byte)) {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + name)
	must(t, err)
	content := fresh(t).Replace(string(raw))
	for document := range strings.SplitSeq(content, "\n---\n") {
		into([]byte(document))
	}
}

// samples returns an object of each kind, by apiVersion and kind, and the
// bodies of subresources that take one, by resource/subresource.
func samples(t testing.TB) map[string]map[string]any {
	t.Helper()
	out := map[string]map[string]any{}
	documents(t, "objects.yaml", func(document []byte) {
		var object map[string]any
		must(t, yaml.Unmarshal(document, &object))
		key := object["apiVersion"].(string) + " " + object["kind"].(string)
		if sub, ok := object["for"].(string); ok {
			delete(object, "for")
			key = sub
		}
		if metadata(object)["name"] == nil {
			metadata(object)["name"] = "x"
		}
		out[key] = object
	})
	return out
}

// metadata returns an object's metadata, made when it is not there.
func metadata(object map[string]any) map[string]any {
	m, ok := object["metadata"].(map[string]any)
	if !ok {
		m = map[string]any{}
		object["metadata"] = m
	}
	return m
}

// copied returns a deep copy of what JSON can say.
func copied(t testing.TB, object map[string]any) map[string]any {
	t.Helper()
	raw, err := json.Marshal(object)
	must(t, err)
	var out map[string]any
	decoder := json.NewDecoder(bytes.NewReader(raw))
	must(t, decoder.Decode(&out))
	return out
}

// fresh fills in what no file can hold: certificates that are valid now.
func fresh(t testing.TB) *strings.Replacer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: template.Subject}, key)
	must(t, err)
	stub, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	must(t, err)
	inPEM := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	quoted, err := json.Marshal(string(inPEM("CERTIFICATE", certificate)))
	must(t, err)
	return strings.NewReplacer(
		`"{{certificate}}"`, string(quoted),
		"{{certificate request}}", base64.StdEncoding.EncodeToString(inPEM("CERTIFICATE REQUEST", request)),
		"{{stub}}", base64.StdEncoding.EncodeToString(stub),
	)
}
