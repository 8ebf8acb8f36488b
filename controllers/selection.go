package controllers

import (
	"fmt"
	"strings"
)

// choose returns the descriptors that the --controllers list turns on, in the
// table's order. An unknown name is an error.
func choose(all []descriptor, list []string) ([]descriptor, error) {
	if len(list) == 0 {
		list = []string{"*"}
	}
	on := map[string]bool{}
	star := false
	for _, entry := range list {
		if entry == "*" {
			star = true
			continue
		}
		name, off := strings.CutPrefix(entry, "-")
		d := find(all, name)
		if d == nil {
			return nil, fmt.Errorf("%q is not in the list of known controllers", name)
		}
		if _, named := on[d.name]; !named {
			on[d.name] = !off
		}
	}
	var chosen []descriptor
	for _, d := range all {
		wanted, named := on[d.name]
		if named && wanted || !named && star && !d.offByDefault {
			chosen = append(chosen, d)
		}
	}
	return chosen, nil
}

func find(all []descriptor, name string) *descriptor {
	for i := range all {
		if all[i].name == name || all[i].alias == name {
			return &all[i]
		}
	}
	return nil
}

// Names lists the known controllers, and of them those off by default.
func Names() (all, offByDefault []string) {
	for _, d := range descriptors {
		all = append(all, d.name)
		if d.offByDefault {
			offByDefault = append(offByDefault, d.name)
		}
	}
	return all, offByDefault
}

// CheckNames reports what is wrong with a --controllers list.
func CheckNames(list []string) error {
	_, err := choose(descriptors, list)
	return err
}
