// Package mutation changes one place of an object, as Gatekeeper's mutators say:
// it reads the language of locations, finds the place, and sets, merges, prunes or
// rewrites what is there. It refuses to know which objects are concerned.
package mutation

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Location is a place in objects: fields, and elements of lists that are found
// by the value of one of their fields.
type Location []step

// step is a field, or the choice of elements of a list.
type step struct {
	field string
	// key and value choose elements; all: every element.
	list  bool
	key   string
	value any
	all   bool
}

// maxSteps bounds the depth of a location.
const maxSteps = 64

// ParseLocation reads a location such as
// spec.containers[name: main].image, "*" standing for every element. Names with
// other characters than letters, digits, - and _ are quoted.
func ParseLocation(text string) (Location, error) {
	p := &parser{rest: text}
	var location Location
	for {
		field, err := p.name()
		if err != nil {
			return nil, fmt.Errorf("location %q: %w", text, err)
		}
		location = append(location, step{field: field})
		if p.take('[') {
			choice, err := p.choice()
			if err != nil {
				return nil, fmt.Errorf("location %q: %w", text, err)
			}
			location = append(location, choice)
		}
		if len(location) > maxSteps {
			return nil, fmt.Errorf("location: more than %d steps", maxSteps)
		}
		if p.end() {
			return location, nil
		}
		if !p.take('.') {
			return nil, fmt.Errorf("location %q: a dot is missing before %q", text, p.rest)
		}
	}
}

// parser reads a location from the left.
type parser struct{ rest string }

func (p *parser) space()    { p.rest = strings.TrimLeft(p.rest, " \t\r\n") }
func (p *parser) end() bool { p.space(); return p.rest == "" }

func (p *parser) take(c byte) bool {
	if p.end() || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// name is the name of a field, quoted or not.
func (p *parser) name() (string, error) {
	if p.end() {
		return "", errors.New("it ends where a field should be")
	}
	if p.rest[0] == '"' || p.rest[0] == '\'' {
		return p.quoted()
	}
	end := strings.IndexFunc(p.rest, func(r rune) bool { return !wordly(r) })
	if end < 0 {
		end = len(p.rest)
	}
	if end == 0 {
		return "", fmt.Errorf("%q is no field", p.rest)
	}
	found := p.rest[:end]
	p.rest = p.rest[end:]
	if found[0] >= '0' && found[0] <= '9' {
		return "", fmt.Errorf("%s: a field that begins with a digit must be quoted", found)
	}
	return found, nil
}

func wordly(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' || r == '-'
}

func (p *parser) quoted() (string, error) {
	quote, found := rune(p.rest[0]), &strings.Builder{}
	escaped := false
	for at, r := range p.rest[1:] {
		switch {
		case escaped:
			found.WriteRune(r)
			escaped = false
		case r == '\\':
			escaped = true
		case r == quote:
			p.rest = p.rest[1+at+1:]
			return found.String(), nil
		default:
			found.WriteRune(r)
		}
	}
	return "", errors.New("a quote is not closed")
}

// choice reads what stands in brackets: key: value.
func (p *parser) choice() (step, error) {
	found := step{list: true}
	var err error
	if found.key, err = p.name(); err != nil {
		return step{}, err
	}
	if !p.take(':') {
		return step{}, fmt.Errorf("a colon is missing behind %s", found.key)
	}
	switch {
	case p.take('*'):
		found.all = true
	case !p.end() && p.rest[0] >= '0' && p.rest[0] <= '9':
		if found.value, err = p.number(); err != nil {
			return step{}, err
		}
	default:
		if found.value, err = p.name(); err != nil {
			return step{}, err
		}
	}
	if !p.take(']') {
		return step{}, errors.New("a bracket is not closed")
	}
	return found, nil
}

func (p *parser) number() (int64, error) {
	end := strings.IndexFunc(p.rest, func(r rune) bool { return !wordly(r) })
	if end < 0 {
		end = len(p.rest)
	}
	number, err := strconv.ParseInt(p.rest[:end], 10, 64)
	p.rest = p.rest[end:]
	return number, err
}

// isBelow reports whether a location begins with another.
func (l Location) isBelow(other Location) bool {
	if len(other) > len(l) {
		return false
	}
	for i, s := range other {
		if l[i] != s {
			return false
		}
	}
	return true
}

// endsInList reports whether the place is an element of a list.
func (l Location) endsInList() bool { return l[len(l)-1].list }
