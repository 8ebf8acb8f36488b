package apiserver

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/warning"
	"sigs.k8s.io/yaml"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/apiserver/audit"
	"github.com/yare-io/yare/apiserver/codec"
	"github.com/yare-io/yare/apiserver/fieldmanager"
	"github.com/yare-io/yare/apiserver/patch"
)

func (s *Server) handlePatch(w http.ResponseWriter, r *http.Request, c *call) error {
	a, err := s.negotiate(r, c, c.res.offer)
	if err != nil {
		return err
	}
	p, err := s.readPatch(r, c)
	if err != nil {
		return err
	}
	if p.kind == types.ApplyYAMLPatchType {
		return s.handleApply(w, r, c, a, p)
	}
	wr := newWrite(r.Context(), c, admission.Update, p.options, p.options.DryRun, fieldmanager.NameOf(p.options.FieldManager, r.UserAgent()))
	obj, err := s.update(r.Context(), wr, func(old *current) (runtime.Object, error) {
		return p.apply(r, c, old.obj, old.encoded)
	})
	if err != nil {
		return err
	}
	s.reply(w, r, http.StatusOK, a, fresh{obj})
	return nil
}

// clientPatch is a patch as a client sent it.
type clientPatch struct {
	kind    types.PatchType
	body    []byte
	options *metav1.PatchOptions
}

func (s *Server) readPatch(r *http.Request, c *call) (*clientPatch, error) {
	kind, err := patchType(r.Header.Get("Content-Type"), c.patchTypes())
	if err != nil {
		return nil, err
	}
	options, err := patchOptions(c.query, kind)
	if err != nil {
		return nil, err
	}
	p := &clientPatch{kind: kind, options: options}
	if p.body, err = s.readBody(r); err != nil {
		return nil, err
	}
	if err := p.transcode(); err != nil {
		return nil, err
	}
	if err := codec.CheckSize(p.format(), p.body); err != nil {
		return nil, undecodable(err)
	}
	if record := audit.From(r.Context()); record.WantsRequest() {
		record.RequestObject(p.inJSON())
	}
	return p, nil
}

// format is that of the body, once an apply in CBOR is transcoded.
func (p *clientPatch) format() codec.Format {
	if p.kind == types.ApplyYAMLPatchType {
		return codec.YAML
	}
	return codec.JSON
}

// transcode makes an apply in CBOR one in JSON, which is YAML.
func (p *clientPatch) transcode() error {
	if p.kind != types.ApplyCBORPatchType {
		return nil
	}
	body, err := codec.FromCBOR(p.body)
	if err != nil {
		return undecodable(fmt.Errorf("error decoding patch: %w", err))
	}
	p.kind, p.body = types.ApplyYAMLPatchType, body
	return nil
}

// inJSON is the patch as an audit record keeps it; nil when it cannot be read.
func (p *clientPatch) inJSON() []byte {
	if p.kind != types.ApplyYAMLPatchType {
		return p.body
	}
	raw, err := yaml.YAMLToJSON(p.body)
	if err != nil {
		return nil
	}
	return raw
}

// patchTypes are those that the bodies of a call take: a strategic merge needs
// to know the Go type.
func (c *call) patchTypes() []string {
	all := []string{string(types.JSONPatchType), string(types.MergePatchType), string(types.ApplyYAMLPatchType), string(types.ApplyCBORPatchType)}
	if c.res.row.Schema != nil && c.kind() == c.res.row.Kind {
		return all
	}
	return slices.Insert(all, 2, string(types.StrategicMergePatchType))
}

func patchType(contentType string, accepted []string) (types.PatchType, error) {
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err == nil && slices.Contains(accepted, mediaType) {
		return types.PatchType(mediaType), nil
	}
	return "", fmt.Errorf("%w: the body of the request was in an unknown format - accepted media types include: %s",
		codec.ErrUnsupported, strings.Join(accepted, ", "))
}

// apply returns a patched copy of an object.
func (p *clientPatch) apply(r *http.Request, c *call, obj runtime.Object, encoded encodable) (runtime.Object, error) {
	if out := p.merge(c, obj); out != nil {
		return out, p.insist(out, obj)
	}
	kind := c.kind()
	bare, err := encoded.Encoded(codec.JSON.Bare())
	if err != nil {
		return nil, err
	}
	original, err := codec.Wrap(codec.JSON, kind, bare)
	if err != nil {
		return nil, err
	}
	patched, problems, err := patch.Apply(p.kind, original, p.body, c.newBody())
	if err != nil {
		return nil, err
	}
	out := c.newBody()
	_, more, err := c.parse(codec.JSON, patched, out, p.options.FieldValidation != metav1.FieldValidationIgnore)
	if errors.Is(err, codec.ErrTooManyItems) {
		return nil, undecodable(err)
	}
	if err != nil {
		return nil, unfit(patched, err)
	}
	if err := p.strictness(r.Context(), patched, append(problems, more...)); err != nil {
		return nil, err
	}
	return out, p.insist(out, obj)
}

// merge returns a copy of an object with a merge patch that is simple, nil when
// it is not.
func (p *clientPatch) merge(c *call, obj runtime.Object) runtime.Object {
	if p.kind != types.MergePatchType || c.res.row.Schema != nil || reflect.TypeOf(obj) != reflect.TypeOf(c.newBody()) {
		return nil
	}
	out := obj.DeepCopyObject()
	if !patch.MergeTyped(out, p.body) {
		return nil
	}
	return out
}

// strictness does with unknown and duplicate fields, of the patch and of what
// it makes, what the client asked for.
func (p *clientPatch) strictness(ctx context.Context, patched []byte, problems []error) error {
	switch {
	case len(problems) == 0 || p.options.FieldValidation == metav1.FieldValidationIgnore:
		return nil
	case p.options.FieldValidation == metav1.FieldValidationStrict:
		return unfit(patched, runtime.NewStrictDecodingError(problems))
	}
	for _, problem := range problems {
		warning.AddWarning(ctx, "", problem.Error())
	}
	return nil
}

// unfit says that the patch makes something of the object that it cannot be.
func unfit(patched []byte, err error) error {
	return apierrors.NewInvalid(schema.GroupKind{}, "", field.ErrorList{field.Invalid(field.NewPath("patch"), string(patched), err.Error())})
}

// insist refuses a patch that takes away the object's name, which would
// otherwise read as a request for another object.
func (p *clientPatch) insist(out, old runtime.Object) error {
	m, err := meta.Accessor(out)
	if err != nil {
		return err
	}
	before, err := meta.Accessor(old)
	if err != nil {
		return err
	}
	if m.GetName() == "" {
		m.SetName(before.GetName())
	}
	return nil
}
