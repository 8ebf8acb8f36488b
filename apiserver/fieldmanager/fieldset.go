package fieldmanager

import (
	"errors"
	"strings"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// errUnusual says that what was met is left to apimachinery: duplicates,
// characters that need escapes, records in another version, and the like.
var errUnusual = errors.New("unusual")

// node is a place in a set of fields, and what of the set is below it. Its key
// is that of FieldsV1, as escaped as there: f:spec, or k:{\"name\":\"a\"}.
type node struct {
	key string
	// member: the place itself is in the set.
	member bool
	// kids are sorted by compareKeys. A node without kids is a member.
	kids []node
}

// empty reports whether the set has nothing at or below the place.
func (n *node) empty() bool { return !n.member && len(n.kids) == 0 }

// add puts a set below n, after those that are there.
func (n *node) add(kid node) {
	if n.kids == nil {
		n.kids = make([]node, 0, 4)
	}
	n.kids = append(n.kids, kid)
}

// appendJSON writes what is below n as FieldsV1.
func (n *node) appendJSON(out []byte) []byte {
	out = append(out, '{')
	if n.member && len(n.kids) > 0 {
		out = append(out, `".":{},`...)
	}
	for i := range n.kids {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, '"')
		out = append(out, n.kids[i].key...)
		out = append(out, `":`...)
		out = n.kids[i].appendJSON(out)
	}
	return append(out, '}')
}

// parseFields reads FieldsV1 as apimachinery and appendJSON write it.
func parseFields(raw string) (node, error) {
	p := parser{rest: raw}
	var root node
	if err := p.object(&root, 0); err != nil {
		return node{}, err
	}
	if p.rest != "" || root.member {
		return node{}, errUnusual
	}
	return root, nil
}

type parser struct{ rest string }

func (p *parser) take(c byte) bool {
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// maxDepth is far beyond the depth of any type, and bounds recursion.
const maxDepth = 100

func (p *parser) object(into *node, depth int) error {
	if depth > maxDepth || !p.take('{') {
		return errUnusual
	}
	if p.take('}') {
		into.member = depth > 0
		return nil
	}
	for {
		key, err := p.key()
		if err != nil {
			return err
		}
		if key == "." {
			if into.member || len(into.kids) > 0 || !strings.HasPrefix(p.rest, "{}") {
				return errUnusual
			}
			into.member = true
			p.rest = p.rest[2:]
		} else {
			kid := node{key: key}
			if err := p.object(&kid, depth+1); err != nil {
				return err
			}
			if n := len(into.kids); n > 0 && compareKeys(into.kids[n-1].key, key) >= 0 {
				return errUnusual
			}
			into.kids = append(into.kids, kid)
		}
		if p.take('}') {
			return nil
		}
		if !p.take(',') {
			return errUnusual
		}
	}
}

// key reads a key and its colon. No other escapes than quotes are expected.
func (p *parser) key() (string, error) {
	if !p.take('"') {
		return "", errUnusual
	}
	for i := 0; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '\\':
			if i+1 >= len(p.rest) || p.rest[i+1] != '"' {
				return "", errUnusual
			}
			i++
		case c == '"':
			key := p.rest[:i]
			p.rest = p.rest[i+1:]
			if !known(key) || !p.take(':') {
				return "", errUnusual
			}
			return key, nil
		case !plain(c):
			return "", errUnusual
		}
	}
	return "", errUnusual
}

func known(key string) bool {
	return key == "." || (len(key) > 2 && key[1] == ':' && (key[0] == 'f' || key[0] == 'k' || key[0] == 'v'))
}

// plain reports whether a byte stands for itself in JSON, however it is
// escaped.
func plain(c byte) bool {
	return c >= ' ' && c < 0x7f && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&'
}

func isPlain(s string) bool {
	for i := range len(s) {
		if !plain(s[i]) {
			return false
		}
	}
	return true
}

// compareKeys orders as fieldpath.PathElement.Compare does: names of fields,
// keys of items by their fields, values of items.
func compareKeys(a, b string) int {
	switch {
	case a == b:
		return 0
	case a[0] != b[0]:
		return int(a[0]) - int(b[0]) // f before k before v, as it happens
	case a[0] == 'f':
		return strings.Compare(a, b)
	}
	// Both are JSON. What differs first decides, if it is in a string or in
	// two whole numbers.
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	if inString(a[:i]) {
		x, _, _ := strings.Cut(a[i:], `\"`)
		y, _, _ := strings.Cut(b[i:], `\"`)
		return strings.Compare(x, y)
	}
	return compareDecoded(a, b)
}

// inString reports whether what follows the beginning of a key is inside of a
// string.
func inString(head string) bool {
	return strings.Count(head, `\"`)%2 == 1
}

func compareDecoded(a, b string) int {
	x, err := fieldpath.DeserializePathElement(strings.ReplaceAll(a, `\"`, `"`))
	if err != nil {
		return strings.Compare(a, b)
	}
	y, err := fieldpath.DeserializePathElement(strings.ReplaceAll(b, `\"`, `"`))
	if err != nil {
		return strings.Compare(a, b)
	}
	return x.Compare(y)
}

// union returns the set of what is in either.
func (n node) union(m node) node {
	out := node{key: n.key, member: n.member || m.member, kids: make([]node, 0, max(len(n.kids), len(m.kids)))}
	i, j := 0, 0
	for i < len(n.kids) && j < len(m.kids) {
		switch c := compareKeys(n.kids[i].key, m.kids[j].key); {
		case c < 0:
			out.kids = append(out.kids, n.kids[i])
			i++
		case c > 0:
			out.kids = append(out.kids, m.kids[j])
			j++
		default:
			out.kids = append(out.kids, n.kids[i].union(m.kids[j]))
			i++
			j++
		}
	}
	out.kids = append(out.kids, n.kids[i:]...)
	out.kids = append(out.kids, m.kids[j:]...)
	return out
}

// minus returns what is in n and not in m, place by place, and whether that is
// less than n. n is left alone.
func (n node) minus(m node) (node, bool) {
	less := false
	if n.member && m.member {
		n.member, less = false, true
	}
	copied := false
	i, j := 0, 0
	kids := n.kids
	for i < len(kids) && j < len(m.kids) {
		c := compareKeys(kids[i].key, m.kids[j].key)
		if c != 0 {
			if c < 0 {
				i++
			} else {
				j++
			}
			continue
		}
		kid, changed := kids[i].minus(m.kids[j])
		j++
		if !changed {
			i++
			continue
		}
		if !copied {
			kids, copied = append([]node(nil), kids...), true
		}
		if kid.empty() {
			kids = append(kids[:i], kids[i+1:]...)
		} else {
			kids[i] = kid
			i++
		}
	}
	n.kids = kids
	return n, less || copied
}
