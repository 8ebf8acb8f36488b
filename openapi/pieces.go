package openapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/yare-io/yare/apiserver/codec"
	"github.com/yare-io/yare/apiserver/registry"
)

// pieces are what the OpenAPI 2 document is joined of: one for each row that
// has a schema of its own, for the rest of each part, for each parameter, and
// one for all models in the binary that these refer to. A change of one row
// makes one piece; the others are joined as they are, compressed.
type pieces struct {
	media string
	kept  map[pieceKey]*piece
	// titles stand before the sections, separator between members of one, and
	// end behind all: compressed, as pieces are.
	titles         [3][]byte
	separator, end []byte
}

// pieceKey names a piece by one of its fields: models by the names of all.
type pieceKey struct {
	row                 *registry.Resource
	part, models, param string
}

type piece struct {
	key pieceKey
	// rows are those of a part.
	rows []*registry.Resource
	// models and params are what it refers to.
	models []string
	params []*piece
	// sections are its members of paths, definitions and parameters. In protobuf
	// the first is a fragment with all of them.
	sections [3][]byte
}

func newPieces(media, version string) (*pieces, error) {
	head, err := marshal(v2HeadOf(version))
	if err != nil {
		return nil, err
	}
	open := string(bytes.TrimSuffix(head, []byte("}\n"))) + `,"paths":{`
	titles, separator, end := [3]string{open, `},"definitions":{`, `},"parameters":{`}, ",", "}}\n"
	if media != mediaJSON {
		alone, err := v2Protobuf([]byte(open + "}}"))
		if err != nil {
			return nil, err
		}
		titles, separator, end = [3]string{string(alone)}, "", ""
	}
	p := &pieces{media: media, kept: map[pieceKey]*piece{}}
	for i, title := range titles {
		if p.titles[i], err = codec.Deflate([]byte(title)); err != nil {
			return nil, err
		}
	}
	if p.separator, err = codec.Deflate([]byte(separator)); err != nil {
		return nil, err
	}
	if p.end, err = codec.Deflate([]byte(end)); err != nil {
		return nil, err
	}
	return p, nil
}

// join makes what is missing, forgets what is not used any more, and returns
// the document.
func (p *pieces) join(parts []part) (compressed, error) {
	base, err := loadModels()
	if err != nil {
		return nil, err
	}
	var order []*piece
	for _, part := range parts {
		made, err := p.describePart(base, part)
		if err != nil {
			return nil, fmt.Errorf("describe %s: %w", part.name, err)
		}
		order = append(order, made...)
	}
	order = append(order, paramsOf(order)...)
	models, err := p.models(base, order)
	if err != nil {
		return nil, err
	}
	order = append(order, models)
	clear(p.kept)
	for _, one := range order {
		p.kept[one.key] = one
	}
	return p.document(order), nil
}

// describePart makes the pieces of a part.
func (p *pieces) describePart(base *models, part part) ([]*piece, error) {
	whole := &piece{key: pieceKey{part: part.name}}
	endpoints := slices.Clone(part.roots)
	order := []*piece{whole}
	for _, row := range part.rows {
		if row.Schema == nil {
			whole.rows = append(whole.rows, row)
			continue
		}
		one := &piece{key: pieceKey{row: row}}
		if kept := p.kept[one.key]; kept != nil {
			order = append(order, kept)
			continue
		}
		m, err := base.withUntyped([]*registry.Resource{row}, true)
		if err != nil {
			return nil, err
		}
		if err := p.describe(one, m, endpointsOf(row, m)); err != nil {
			return nil, err
		}
		order = append(order, one)
	}
	if kept := p.kept[whole.key]; kept != nil && slices.Equal(kept.rows, whole.rows) {
		order[0] = kept
		return order, nil
	}
	m, err := base.withUntyped(whole.rows, true)
	if err != nil {
		return nil, err
	}
	for _, row := range whole.rows {
		endpoints = append(endpoints, endpointsOf(row, m)...)
	}
	return order, p.describe(whole, m, endpoints)
}

// describe puts endpoints into a piece, and the models that are not in the
// binary.
func (p *pieces) describe(one *piece, m *models, endpoints []endpoint) error {
	b := newV2Builder()
	sections := v2Sections{Paths: b.paths(endpoints), Definitions: make(map[string]json.RawMessage, len(m.byName))}
	names := modelNames(endpoints)
	for name, model := range m.byName {
		sections.Definitions[name] = model.v2
		for _, ref := range model.Refs {
			names[ref] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if m.byName[name] == nil {
			one.models = append(one.models, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.params)) {
		used, err := p.param(name, b.params[name])
		if err != nil {
			return err
		}
		one.params = append(one.params, used)
	}
	return p.keep(one, sections)
}

// models makes the piece of the models that others refer to, and of those that
// these refer to.
func (p *pieces) models(base *models, users []*piece) (*piece, error) {
	names := map[string]bool{}
	for _, user := range users {
		for _, name := range user.models {
			names[name] = true
		}
	}
	one := &piece{key: pieceKey{models: strings.Join(slices.Sorted(maps.Keys(names)), " ")}}
	if kept := p.kept[one.key]; kept != nil {
		return kept, nil
	}
	closed, err := base.closure(names)
	if err != nil {
		return nil, err
	}
	definitions := make(map[string]json.RawMessage, len(closed))
	for name, model := range closed {
		definitions[name] = model.v2
	}
	return one, p.keep(one, v2Sections{Definitions: definitions})
}

// paramsOf are the parameters that pieces refer to.
func paramsOf(users []*piece) (params []*piece) {
	found := map[*piece]bool{}
	for _, user := range users {
		for _, param := range user.params {
			if !found[param] {
				found[param] = true
				params = append(params, param)
			}
		}
	}
	return params
}

func (p *pieces) param(name string, param v2Param) (*piece, error) {
	one := &piece{key: pieceKey{param: name}}
	if kept := p.kept[one.key]; kept != nil {
		return kept, nil
	}
	return one, p.keep(one, v2Sections{Parameters: map[string]v2Param{name: param}})
}

// keep encodes what a piece has, and keeps it.
func (p *pieces) keep(one *piece, sections v2Sections) error {
	encode := one.encodeJSON
	if p.media != mediaJSON {
		encode = one.encodeProtobuf
	}
	if err := encode(sections); err != nil {
		return err
	}
	p.kept[one.key] = one
	return nil
}

func (one *piece) encodeProtobuf(sections v2Sections) error {
	fragment, err := v2Fragment(sections)
	if err != nil {
		return err
	}
	one.sections[0], err = codec.Deflate(fragment)
	return err
}

func (one *piece) encodeJSON(sections v2Sections) error {
	// Maps without their braces: their members stand in larger ones.
	for i, section := range []any{sections.Paths, sections.Definitions, sections.Parameters} {
		content, err := marshal(section)
		if err != nil {
			return err
		}
		members := bytes.TrimSuffix(bytes.TrimPrefix(content, []byte("{")), []byte("}\n"))
		if len(members) == 0 || content[0] != '{' {
			continue
		}
		if one.sections[i], err = codec.Deflate(members); err != nil {
			return err
		}
	}
	return nil
}

// document joins pieces.
func (p *pieces) document(order []*piece) compressed {
	var out [][]byte
	for i, title := range p.titles {
		out = append(out, title)
		first := len(out)
		for _, one := range order {
			if one.sections[i] == nil {
				continue
			}
			if len(out) > first {
				out = append(out, p.separator)
			}
			out = append(out, one.sections[i])
		}
	}
	return codec.JoinGzip(append(out, p.end))
}
