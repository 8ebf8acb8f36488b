package podspec

import (
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/rule"
)

const maxFileMode = 0o777

// volumeList checks the pod's volumes and remembers them by name.
func (sc *scope) volumeList(at *field.Path) field.ErrorList {
	var errs field.ErrorList
	sc.volumes = make(map[string]*corev1.Volume, len(sc.spec.Volumes))
	for i := range sc.spec.Volumes {
		v, p := &sc.spec.Volumes[i], at.Index(i)
		switch _, seen := sc.volumes[v.Name]; {
		case v.Name == "":
			errs = append(errs, field.Required(p.Child("name"), ""))
		case seen:
			errs = append(errs, field.Duplicate(p.Child("name"), v.Name))
		default:
			errs = append(errs, rule.DNSLabel(p.Child("name"), v.Name)...)
		}
		errs = append(errs, validateSource(p, &v.VolumeSource)...)
		sc.volumes[v.Name] = v
	}
	return errs
}

// sourceCheck is one kind of volume: whether it is the one given, and what is
// wrong with it.
type sourceCheck struct {
	name  string
	given bool
	check func(*field.Path) field.ErrorList
}

// validateSource wants exactly one source.
func validateSource(at *field.Path, s *corev1.VolumeSource) field.ErrorList {
	return exactlyOneSource(at, append(fileSources(s), deviceSources(s)...))
}

func exactlyOneSource(at *field.Path, sources []sourceCheck) field.ErrorList {
	var errs field.ErrorList
	given := 0
	for _, s := range sources {
		if !s.given {
			continue
		}
		if given++; given > 1 {
			errs = append(errs, field.Forbidden(at.Child(s.name), "may not specify more than 1 volume type"))
			continue
		}
		errs = append(errs, s.check(at.Child(s.name))...)
	}
	if given == 0 {
		errs = append(errs, field.Required(at, "must specify a volume type"))
	}
	return errs
}

// fileSources are the volumes that Kubernetes itself fills or finds.
func fileSources(s *corev1.VolumeSource) []sourceCheck {
	return []sourceCheck{
		{"emptyDir", s.EmptyDir != nil, func(p *field.Path) field.ErrorList { return validateEmptyDir(p, s.EmptyDir) }},
		{"hostPath", s.HostPath != nil, func(p *field.Path) field.ErrorList { return ValidateHostPath(p, s.HostPath) }},
		{"gitRepo", s.GitRepo != nil, func(p *field.Path) field.ErrorList { return validateGitRepo(p, s.GitRepo) }},
		{"secret", s.Secret != nil, func(p *field.Path) field.ErrorList { return validateSecretVolume(p, s.Secret) }},
		{"configMap", s.ConfigMap != nil, func(p *field.Path) field.ErrorList { return validateConfigMapVolume(p, s.ConfigMap) }},
		{"downwardAPI", s.DownwardAPI != nil, func(p *field.Path) field.ErrorList {
			return append(validateMode(p.Child("defaultMode"), s.DownwardAPI.DefaultMode), validateDownward(p, s.DownwardAPI.Items)...)
		}},
		{"projected", s.Projected != nil, func(p *field.Path) field.ErrorList { return validateProjected(p, s.Projected) }},
		{"persistentVolumeClaim", s.PersistentVolumeClaim != nil, func(p *field.Path) field.ErrorList {
			return rule.Required(p.Child("claimName"), s.PersistentVolumeClaim.ClaimName)
		}},
		{"ephemeral", s.Ephemeral != nil, func(p *field.Path) field.ErrorList { return validateEphemeralVolume(p, s.Ephemeral) }},
		{"csi", s.CSI != nil, func(p *field.Path) field.ErrorList { return validateInlineCSI(p, s.CSI) }},
		{"image", s.Image != nil, func(p *field.Path) field.ErrorList { return validateImageVolume(p, s.Image) }},
	}
}

func validateEmptyDir(at *field.Path, s *corev1.EmptyDirVolumeSource) field.ErrorList {
	var errs field.ErrorList
	if s.SizeLimit != nil {
		errs = append(errs, rule.Quantity(at.Child("sizeLimit"), *s.SizeLimit)...)
	}
	return errs
}

// ValidateHostPath returns what is wrong with a volume on the node.
func ValidateHostPath(at *field.Path, s *corev1.HostPathVolumeSource) field.ErrorList {
	if s.Path == "" {
		return field.ErrorList{field.Required(at.Child("path"), "")}
	}
	errs := noBacksteps(at.Child("path"), s.Path)
	return append(errs, rule.OptionalOneOf(at.Child("type"), s.Type, corev1.HostPathUnset, corev1.HostPathDirectoryOrCreate,
		corev1.HostPathDirectory, corev1.HostPathFileOrCreate, corev1.HostPathFile, corev1.HostPathSocket,
		corev1.HostPathCharDev, corev1.HostPathBlockDev)...)
}

func validateGitRepo(at *field.Path, s *corev1.GitRepoVolumeSource) field.ErrorList {
	errs := rule.Required(at.Child("repository"), s.Repository)
	return append(errs, validateLocalPath(at.Child("directory"), s.Directory)...)
}

func validateSecretVolume(at *field.Path, s *corev1.SecretVolumeSource) field.ErrorList {
	errs := rule.Required(at.Child("secretName"), s.SecretName)
	errs = append(errs, validateMode(at.Child("defaultMode"), s.DefaultMode)...)
	return append(errs, validateItems(at.Child("items"), s.Items)...)
}

func validateConfigMapVolume(at *field.Path, s *corev1.ConfigMapVolumeSource) field.ErrorList {
	errs := rule.Required(at.Child("name"), s.Name)
	errs = append(errs, validateMode(at.Child("defaultMode"), s.DefaultMode)...)
	return append(errs, validateItems(at.Child("items"), s.Items)...)
}

func validateMode(at *field.Path, mode *int32) field.ErrorList {
	if mode == nil || *mode >= 0 && *mode <= maxFileMode {
		return nil
	}
	return field.ErrorList{field.Invalid(at, *mode, "must be a number between 0 and 0777 (octal), both inclusive")}
}

func validateItems(at *field.Path, items []corev1.KeyToPath) field.ErrorList {
	var errs field.ErrorList
	for i, item := range items {
		p := at.Index(i)
		errs = append(errs, rule.Required(p.Child("key"), item.Key)...)
		errs = append(errs, rule.Required(p.Child("path"), item.Path)...)
		errs = append(errs, validateLocalFile(p.Child("path"), item.Path)...)
		errs = append(errs, validateMode(p.Child("mode"), item.Mode)...)
	}
	return errs
}

func validateDownward(at *field.Path, items []corev1.DownwardAPIVolumeFile) field.ErrorList {
	var errs field.ErrorList
	for i := range items {
		f, p := &items[i], at
		errs = append(errs, rule.Required(p.Child("path"), f.Path)...)
		errs = append(errs, validateLocalFile(p.Child("path"), f.Path)...)
		switch {
		case f.FieldRef != nil && f.ResourceFieldRef != nil:
			errs = append(errs, field.Invalid(p, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"))
		case f.FieldRef != nil:
			errs = append(errs, validateFieldRef(p.Child("fieldRef"), f.FieldRef, fileFields)...)
		case f.ResourceFieldRef != nil:
			errs = append(errs, validateResourceRef(p.Child("resourceFieldRef"), f.ResourceFieldRef, true)...)
		default:
			errs = append(errs, field.Required(p, "one of fieldRef and resourceFieldRef is required"))
		}
		errs = append(errs, validateMode(p.Child("mode"), f.Mode)...)
	}
	return errs
}

func validateEphemeralVolume(at *field.Path, s *corev1.EphemeralVolumeSource) field.ErrorList {
	at = at.Child("volumeClaimTemplate")
	if s.VolumeClaimTemplate == nil {
		return field.ErrorList{field.Required(at, "")}
	}
	return ValidateClaimSpec(at.Child("spec"), &s.VolumeClaimTemplate.Spec)
}

func validateInlineCSI(at *field.Path, s *corev1.CSIVolumeSource) field.ErrorList {
	errs := ValidateCSIDriverName(at.Child("driver"), s.Driver)
	if s.NodePublishSecretRef != nil {
		ref := at.Child("nodePublishSecretRef")
		if s.NodePublishSecretRef.Name == "" {
			errs = append(errs, field.Required(ref.Child("name"), ""))
		} else {
			errs = append(errs, rule.DNSSubdomain(ref.Child("name"), s.NodePublishSecretRef.Name)...)
		}
	}
	return errs
}

const maxCSIDriverName = 63

// ValidateCSIDriverName returns what is wrong with the name of a CSI driver.
func ValidateCSIDriverName(at *field.Path, name string) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(at, "")}
	}
	errs := rule.MaxLength(at, name, maxCSIDriverName)
	return append(errs, rule.Invalid(at, name, validation.IsDNS1123Subdomain(strings.ToLower(name)))...)
}

func validateImageVolume(at *field.Path, s *corev1.ImageVolumeSource) field.ErrorList {
	errs := rule.Required(at.Child("reference"), s.Reference)
	if s.Reference != "" && strings.TrimSpace(s.Reference) != s.Reference {
		errs = append(errs, field.Invalid(at.Child("reference"), s.Reference, "must not have leading or trailing whitespace"))
	}
	return append(errs, rule.OneOf(at.Child("pullPolicy"), s.PullPolicy, corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)...)
}

// uniquePaths refuses two files of a projected volume in one place, or one
// below another.
type uniquePaths struct{ seen sets.Set[string] }

func (u *uniquePaths) add(at *field.Path, file string) field.ErrorList {
	if file == "" {
		return nil
	}
	clean := path.Clean(file)
	if u.seen.Has(clean) {
		return field.ErrorList{field.Invalid(at, file, "conflicting duplicate paths")}
	}
	u.seen.Insert(clean)
	return nil
}
