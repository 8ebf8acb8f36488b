package podspec

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// deprecatedLabels are node labels with their successors.
var deprecatedLabels = map[string]string{
	"beta.kubernetes.io/arch":                  corev1.LabelArchStable,
	"beta.kubernetes.io/os":                    corev1.LabelOSStable,
	"failure-domain.beta.kubernetes.io/region": corev1.LabelTopologyRegion,
	"failure-domain.beta.kubernetes.io/zone":   corev1.LabelTopologyZone,
	"beta.kubernetes.io/instance-type":         corev1.LabelInstanceTypeStable,
}

// Warnings tells a client what of a specification is allowed but probably not
// meant.
func Warnings(path *field.Path, s *corev1.PodSpec) []string {
	var texts []string
	for key := range s.NodeSelector {
		if successor, ok := deprecatedLabels[key]; ok {
			texts = append(texts, fmt.Sprintf("%s: deprecated since v1.14; use %q instead", path.Child("nodeSelector").Key(key), successor))
		}
	}
	for i := range s.InitContainers {
		texts = append(texts, envWarnings(path.Child("initContainers").Index(i), s.InitContainers[i].Env)...)
	}
	for i := range s.Containers {
		texts = append(texts, envWarnings(path.Child("containers").Index(i), s.Containers[i].Env)...)
	}
	texts = append(texts, secretWarnings(path.Child("imagePullSecrets"), s.ImagePullSecrets)...)
	for i, v := range s.Volumes {
		if v.GitRepo != nil {
			texts = append(texts, fmt.Sprintf("%s: deprecated in v1.11, and disabled by default in v1.33+", path.Child("volumes").Index(i).Child("gitRepo")))
		}
	}
	if g := s.TerminationGracePeriodSeconds; g != nil && *g < 0 {
		texts = append(texts, fmt.Sprintf("%s: must be >= 0; negative values are invalid and will be treated as 1", path.Child("terminationGracePeriodSeconds")))
	}
	return texts
}

func envWarnings(path *field.Path, env []corev1.EnvVar) []string {
	var texts []string
	seen := sets.New[string]()
	for i, e := range env {
		if seen.Has(e.Name) {
			texts = append(texts, fmt.Sprintf("%s: hides previous definition of %q, which may be dropped when using apply", path.Child("env").Index(i), e.Name))
		}
		seen.Insert(e.Name)
	}
	return texts
}

func secretWarnings(path *field.Path, secrets []corev1.LocalObjectReference) []string {
	var texts []string
	seen := sets.New[string]()
	for i, s := range secrets {
		switch {
		case s.Name == "":
			texts = append(texts, fmt.Sprintf("%s: invalid empty name %q", path.Index(i).Child("name"), s.Name))
		case seen.Has(s.Name):
			texts = append(texts, fmt.Sprintf("%s: duplicate name %q", path.Index(i).Child("name"), s.Name))
		}
		seen.Insert(s.Name)
	}
	return texts
}
