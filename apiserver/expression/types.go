package expression

import (
	"github.com/google/cel-go/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"
)

// Types are what is known of the objects that expressions see. An expression
// that asks for a field which a known type does not have does not compile;
// where nil, every field is taken to be there.
type Types struct{ Object, Params *apiservercel.DeclType }

// with returns the known types and others, for a declaration.
func (t Types) with(others ...*apiservercel.DeclType) []*apiservercel.DeclType {
	for _, known := range []*apiservercel.DeclType{t.Object, t.Params} {
		if known != nil {
			others = append(others, known)
		}
	}
	return others
}

func celType(known *apiservercel.DeclType) *cel.Type {
	if known == nil {
		return cel.DynType
	}
	return known.CelType()
}

// environment is the shared one, or one of the scope's own where types are
// known.
func (s *Scope) environment(d declared) (*shared, error) {
	if s == nil || s.Types == (Types{}) {
		return environmentFor(d)
	}
	if own := s.typed[d]; own != nil {
		return own, nil
	}
	own, err := newShared(d, s.Types)
	if err != nil {
		return nil, err
	}
	if s.typed == nil {
		s.typed = map[declared]*shared{}
	}
	s.typed[d] = own
	return own, nil
}
