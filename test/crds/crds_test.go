package crds

import (
	_ "embed" // the samples
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// samplesText says what objects need beyond what their schemas say: mostly what
// a CEL rule wants. Keys are Kind.group; values are laid over what is generated.
//
//go:embed samples.yaml
var samplesText []byte

func TestDefinitionsOfRealProjects(t *testing.T) {
	samples := map[string]map[string]any{}
	if err := yaml.Unmarshal(samplesText, &samples); err != nil {
		t.Fatal(err)
	}
	s := start(t)
	var all []manifest
	for _, p := range projects {
		t.Run(p.module, func(t *testing.T) {
			found := p.definitions(t)
			s.install(t, found)
			for _, d := range found {
				t.Run(d.Name, func(t *testing.T) { s.use(t, d, samples[d.Spec.Names.Kind+"."+d.Spec.Group]) })
			}
			s.print(t, found)
			all = append(all, found...)
		})
	}
	s.describes(t, all)
	if out := s.kubectl(t, "", "explain", "certificates.cert-manager.io", "--recursive"); !strings.Contains(out, "renewBefore	<string>") {
		t.Errorf("kubectl explain printed %s", out)
	}
}

// install applies definitions as their users do, and waits until they are served.
func (s *server) install(t *testing.T, all []manifest) {
	t.Helper()
	var text strings.Builder
	for _, d := range all {
		text.WriteString("\n---\n")
		text.Write(d.text)
	}
	s.kubectl(t, text.String(), "apply", "--server-side", "-f", "-")
	for _, d := range all {
		var now apiextensionsv1.CustomResourceDefinition
		s.wait(t, d.Name+" is established", func() bool {
			now = apiextensionsv1.CustomResourceDefinition{}
			if err := json.Unmarshal(s.get(t, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/"+d.Name, "application/json"), &now); err != nil {
				t.Fatal(err)
			}
			return apihelpers.IsCRDConditionTrue(&now, apiextensionsv1.Established)
		})
		if !apihelpers.IsCRDConditionTrue(&now, apiextensionsv1.NamesAccepted) || apihelpers.IsCRDConditionTrue(&now, apiextensionsv1.NonStructuralSchema) {
			t.Errorf("%s has the conditions %v", d.Name, now.Status.Conditions)
		}
	}
}

// use does with a resource what its clients do.
func (s *server) use(t *testing.T, d manifest, sample map[string]any) {
	storage := d.Spec.Versions[slices.IndexFunc(d.Spec.Versions, func(v apiextensionsv1.CustomResourceDefinitionVersion) bool { return v.Storage })]
	if !storage.Served {
		t.Fatalf("version %s is stored and not served", storage.Name)
	}
	obj := newObject(t, d, &storage, sample)
	created, err := s.in(d, storage.Name).Create(t.Context(), obj.DeepCopy(), metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
	if err != nil {
		t.Fatalf("cannot create %s: %v", text(obj), err)
	}
	root := storage.Schema.OpenAPIV3Schema
	if path := lost(withoutStatus(obj.Object), created.Object, ""); path != "" {
		t.Errorf("%s did not come back", path)
	}
	if path := missingDefault(root, created.Object, ""); path != "" {
		t.Errorf("%s has a default and was not filled in", path)
	}
	s.refusesInvalid(t, d, &storage, obj)
	if v := storage.Subresources; v != nil && v.Status != nil {
		s.updatesStatus(t, d, &storage, created)
	}
	if v := storage.Subresources; v != nil && v.Scale != nil {
		s.scales(t, d, &storage)
	}
	for i := range d.Spec.Versions {
		if v := &d.Spec.Versions[i]; v.Served {
			s.isServed(t, d, v, obj.GetName())
		}
	}
}

func text(obj *unstructured.Unstructured) string {
	raw, _ := json.Marshal(obj.Object)
	return string(raw)
}

func withoutStatus(object map[string]any) map[string]any {
	rest := maps.Clone(object)
	delete(rest, "status")
	return rest
}

// newObject generates the smallest object with a spec, a sample laid over it.
func newObject(t *testing.T, d manifest, v *apiextensionsv1.CustomResourceDefinitionVersion, sample map[string]any) *unstructured.Unstructured {
	t.Helper()
	root := v.Schema.OpenAPIV3Schema.DeepCopy()
	if _, ok := root.Properties["spec"]; ok {
		root.Required = append(root.Required, "spec")
	}
	value, err := generate(root, "")
	if err != nil {
		t.Fatal(err)
	}
	object := value.(map[string]any)
	merge(object, sample)
	object["apiVersion"], object["kind"] = d.Spec.Group+"/"+v.Name, d.Spec.Names.Kind
	object["metadata"] = map[string]any{"name": "sample"}
	obj := &unstructured.Unstructured{Object: object}
	if v.Subresources != nil && v.Subresources.Scale != nil {
		path := strings.Split(strings.TrimPrefix(v.Subresources.Scale.SpecReplicasPath, "."), ".")
		if err := unstructured.SetNestedField(object, int64(1), path...); err != nil {
			t.Fatal(err)
		}
	}
	return obj
}

// refusesInvalid spoils the object in several ways, of which the server must
// name the place.
func (s *server) refusesInvalid(t *testing.T, d manifest, v *apiextensionsv1.CustomResourceDefinitionVersion, obj *unstructured.Unstructured) {
	t.Helper()
	for _, p := range probes(v.Schema.OpenAPIV3Schema, obj.Object) {
		spoilt := obj.DeepCopy()
		spoilt.SetName("spoilt")
		p.spoil(spoilt.Object)
		_, err := s.in(d, v.Name).Create(t.Context(), spoilt, metav1.CreateOptions{})
		if !apierrors.IsInvalid(err) {
			t.Errorf("with %s of %s, creating it says %v", p.reason, p.field, err)
			continue
		}
		named := slices.ContainsFunc(causes(err), func(c metav1.StatusCause) bool { return c.Field == p.field && c.Type == p.reason })
		if !named {
			t.Errorf("with %s of %s, the causes are %v", p.reason, p.field, causes(err))
		}
	}
	spec, ok := v.Schema.OpenAPIV3Schema.Properties["spec"]
	if _, isMap := obj.Object["spec"].(map[string]any); !ok || !isMap || len(spec.Properties) == 0 || spec.XPreserveUnknownFields != nil || spec.AdditionalProperties != nil {
		return
	}
	unknown := obj.DeepCopy()
	unknown.SetName("unknown")
	unknown.Object["spec"].(map[string]any)["noSuchField"] = "here"
	_, err := s.in(d, v.Name).Create(t.Context(), unknown, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
	if !apierrors.IsBadRequest(err) || !strings.Contains(err.Error(), `unknown field "spec.noSuchField"`) {
		t.Errorf("an unknown field is answered with %v", err)
	}
}

func causes(err error) []metav1.StatusCause {
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Details != nil {
		return status.Status().Details.Causes
	}
	return nil
}

// updatesStatus writes the status, together with a change of the rest that must
// have no effect.
func (s *server) updatesStatus(t *testing.T, d manifest, v *apiextensionsv1.CustomResourceDefinitionVersion, created *unstructured.Unstructured) {
	t.Helper()
	schema, ok := v.Schema.OpenAPIV3Schema.Properties["status"]
	if !ok {
		return
	}
	status, err := generate(&schema, "status")
	if err != nil {
		t.Fatal(err)
	}
	changed := created.DeepCopy()
	changed.SetLabels(map[string]string{"changed": "too"})
	changed.Object["status"] = status
	updated, err := s.in(d, v.Name).UpdateStatus(t.Context(), changed, metav1.UpdateOptions{})
	if err != nil {
		t.Errorf("cannot write the status %v: %v", status, err)
		return
	}
	if path := lost(status, updated.Object["status"], "status"); path != "" {
		t.Errorf("%s did not come back", path)
	}
	if updated.GetGeneration() != created.GetGeneration() || updated.GetLabels() != nil {
		t.Errorf("a status update made the metadata %v", updated.Object["metadata"])
	}
}

// scales reads, writes and applies the scale.
func (s *server) scales(t *testing.T, d manifest, v *apiextensionsv1.CustomResourceDefinitionVersion) {
	t.Helper()
	read, err := s.in(d, v.Name).Get(t.Context(), "sample", metav1.GetOptions{}, "scale")
	if err != nil {
		t.Fatal(err)
	}
	scale := &autoscalingv1.Scale{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(read.Object, scale); err != nil || scale.Spec.Replicas != 1 {
		t.Errorf("the scale is %s, %v", text(read), err)
	}
	if err := unstructured.SetNestedField(read.Object, int64(3), "spec", "replicas"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.in(d, v.Name).Update(t.Context(), read, metav1.UpdateOptions{}, "scale"); err != nil {
		t.Fatal(err)
	}
	now, err := s.in(d, v.Name).Get(t.Context(), "sample", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	path := strings.Split(strings.TrimPrefix(v.Subresources.Scale.SpecReplicasPath, "."), ".")
	if replicas, _, _ := unstructured.NestedInt64(now.Object, path...); replicas != 3 {
		t.Errorf("scaled to 3, %s is %d", v.Subresources.Scale.SpecReplicasPath, replicas)
	}
	wish := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": map[string]any{"name": "sample"}, "spec": map[string]any{"replicas": int64(5)},
	}}
	if applied, err := s.in(d, v.Name).Apply(t.Context(), "sample", wish, metav1.ApplyOptions{FieldManager: "scaler", Force: true}, "scale"); err != nil {
		t.Error(err)
	} else if replicas, _, _ := unstructured.NestedInt64(applied.Object, "spec", "replicas"); replicas != 5 {
		t.Errorf("applied 5, the scale is %s", text(applied))
	}
	if _, err = s.in(d, v.Name).Apply(t.Context(), "sample", wish, metav1.ApplyOptions{FieldManager: "other"}, "scale"); err != nil {
		t.Errorf("another who wants the same: %v", err)
	}
	_ = unstructured.SetNestedField(wish.Object, int64(6), "spec", "replicas")
	if _, err = s.in(d, v.Name).Apply(t.Context(), "sample", wish, metav1.ApplyOptions{FieldManager: "third"}, "scale"); !apierrors.IsConflict(err) {
		t.Errorf("another who wants something else: %v", err)
	}
}

// isServed looks for the object and for what describes it in a version.
func (s *server) isServed(t *testing.T, d manifest, v *apiextensionsv1.CustomResourceDefinitionVersion, name string) {
	t.Helper()
	obj, err := s.in(d, v.Name).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Errorf("version %s: %v", v.Name, err)
		return
	}
	if want := d.Spec.Group + "/" + v.Name; obj.GetAPIVersion() != want {
		t.Errorf("read in %s, it says %s", want, obj.GetAPIVersion())
	}
	table := &metav1.Table{}
	if err := json.Unmarshal(s.get(t, path(d, v.Name), "application/json;as=Table;v=v1;g=meta.k8s.io"), table); err != nil {
		t.Fatal(err)
	}
	want := []string{"Name"}
	for _, column := range v.AdditionalPrinterColumns {
		want = append(want, column.Name)
	}
	if len(want) == 1 {
		want = append(want, "Age")
	}
	var got []string
	for _, column := range table.ColumnDefinitions {
		got = append(got, column.Name)
	}
	if !slices.Equal(got, want) || len(table.Rows) != 1 || len(table.Rows[0].Cells) != len(want) {
		t.Errorf("version %s has the columns %v with rows %v, want %v", v.Name, got, table.Rows, want)
	}
	var document struct {
		Components struct {
			Schemas map[string]struct {
				Kinds []metav1.GroupVersionKind `json:"x-kubernetes-group-version-kind"`
			}
		}
	}
	if err := json.Unmarshal(s.get(t, "/openapi/v3/apis/"+d.Spec.Group+"/"+v.Name, "application/json"), &document); err != nil {
		t.Fatal(err)
	}
	kind := metav1.GroupVersionKind{Group: d.Spec.Group, Version: v.Name, Kind: d.Spec.Names.Kind}
	described := false
	for _, schema := range document.Components.Schemas {
		described = described || slices.Contains(schema.Kinds, kind)
	}
	if !described {
		t.Errorf("OpenAPI 3 does not describe %v", kind)
	}
}

// print shows the objects of a project to who asks kubectl for them.
func (s *server) print(t *testing.T, all []manifest) {
	t.Helper()
	var names []string
	for _, d := range all {
		names = append(names, d.Name)
	}
	out := s.kubectl(t, "", "get", strings.Join(names, ","), "-A", "--no-headers")
	if got := strings.Count(out, "sample"); got != len(all) {
		t.Errorf("kubectl shows %d of %d objects:\n%s", got, len(all), out)
	}
}

// describes compares discovery and OpenAPI 2 with all that was installed.
func (s *server) describes(t *testing.T, all []manifest) {
	var groups apidiscoveryv2.APIGroupDiscoveryList
	if err := json.Unmarshal(s.get(t, "/apis", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"), &groups); err != nil {
		t.Fatal(err)
	}
	found := map[string]apidiscoveryv2.APIResourceDiscovery{}
	for _, group := range groups.Items {
		for _, version := range group.Versions {
			for _, resource := range version.Resources {
				found[fmt.Sprintf("%s/%s/%s", group.Name, version.Version, resource.Resource)] = resource
			}
		}
	}
	var document struct{ Paths map[string]any }
	if err := json.Unmarshal(s.get(t, "/openapi/v2", "application/json"), &document); err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		for _, v := range d.Spec.Versions {
			name := fmt.Sprintf("%s/%s/%s", d.Spec.Group, v.Name, d.Spec.Names.Plural)
			resource, ok := found[name]
			if ok != v.Served {
				t.Errorf("%s is discovered: %t", name, ok)
			}
			if !v.Served {
				continue
			}
			var subresources []string
			for _, sub := range resource.Subresources {
				subresources = append(subresources, sub.Subresource)
			}
			if resource.ResponseKind.Kind != d.Spec.Names.Kind || !slices.Equal(resource.ShortNames, d.Spec.Names.ShortNames) ||
				!slices.Equal(resource.Categories, d.Spec.Names.Categories) || !slices.Equal(subresources, subresourcesOf(v)) {
				t.Errorf("%s is discovered as %+v", name, resource)
			}
			if document.Paths[path(d, v.Name)] == nil {
				t.Errorf("OpenAPI 2 has no path %s", path(d, v.Name))
			}
		}
	}
}

func subresourcesOf(v apiextensionsv1.CustomResourceDefinitionVersion) []string {
	var names []string
	if v.Subresources != nil && v.Subresources.Scale != nil {
		names = append(names, "scale")
	}
	if v.Subresources != nil && v.Subresources.Status != nil {
		names = append(names, "status")
	}
	return names
}
