package mutation

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// The parts of an image's name, as Gatekeeper's documents have them. What they
// exclude would be read as another part the next time.
var (
	domainPattern = regexp.MustCompile(`^(\w[\w-]*\.[\w.-]*\w|localhost)(:\d+)?$`)
	pathPattern   = regexp.MustCompile(`^[a-z0-9]+(([._/]|__|-*)[a-z0-9]+)*$`)
	tagPattern    = regexp.MustCompile(`^(:\w[\w.-]{0,127}|@[A-Za-z][A-Za-z0-9]*([-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9A-Fa-f]{32,})$`)
)

// Image is the parts of an image's name; an empty one is left as it is.
type Image struct {
	Domain string `json:"assignDomain"`
	Path   string `json:"assignPath"`
	// Tag begins with ":", or with "@" when it is a digest.
	Tag string `json:"assignTag"`
}

func (i Image) validate() error {
	switch {
	case i == Image{}:
		return errors.New("one of assignDomain, assignPath and assignTag is needed")
	case i.Domain != "" && !domainPattern.MatchString(i.Domain):
		return fmt.Errorf("assignDomain %q is no domain", i.Domain)
	case i.Path != "" && !pathPattern.MatchString(i.Path):
		return fmt.Errorf("assignPath %q is no path", i.Path)
	case i.Tag != "" && !tagPattern.MatchString(i.Tag):
		return fmt.Errorf("assignTag %q is neither :tag nor @digest", i.Tag)
	case i.Domain == "" && split(i.Path).Domain != "":
		return fmt.Errorf("assignPath %q begins with a domain: put that into assignDomain", i.Path)
	}
	return nil
}

// split takes an image's name apart.
func split(name string) Image {
	var parts Image
	if domain, rest, found := strings.Cut(name, "/"); found && (strings.ContainsAny(domain, ".:") || domain == "localhost") {
		parts.Domain, name = domain, rest
	}
	parts.Path = name
	if at := strings.IndexAny(name, ":@"); at >= 0 {
		parts.Path, parts.Tag = name[:at], name[at:]
	}
	return parts
}

func (i Image) String() string {
	if i.Domain != "" {
		return i.Domain + "/" + i.Path + i.Tag
	}
	return i.Path + i.Tag
}

// AssignImage rewrites parts of the image's name at the place.
func AssignImage(location string, parts Image, tests []Test) (*Change, error) {
	place, err := ParseLocation(location)
	if err != nil {
		return nil, err
	}
	if err := parts.validate(); err != nil {
		return nil, err
	}
	if place[0].field == "metadata" || place.endsInList() {
		return nil, errors.New("the location must be a field outside metadata")
	}
	return newChange(place, tests, func(old any, there bool) (any, bool, error) {
		name, ok := old.(string)
		if there && !ok {
			return nil, false, fmt.Errorf("there is no name of an image but %T", old)
		}
		next := split(name)
		for _, part := range []struct {
			to   *string
			from string
		}{{&next.Domain, parts.Domain}, {&next.Path, parts.Path}, {&next.Tag, parts.Tag}} {
			if part.from != "" {
				*part.to = part.from
			}
		}
		return next.String(), next.String() != name, nil
	})
}
