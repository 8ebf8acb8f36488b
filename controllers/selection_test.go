package controllers

import (
	"slices"
	"testing"
)

func TestControllersAreChosenAsByTheFlag(t *testing.T) {
	table := []descriptor{{name: "one-controller", alias: "one"}, {name: "two-controller", alias: "two"}, {name: "off-controller", alias: "off", offByDefault: true}}
	cases := []struct {
		list, want []string
	}{
		{nil, []string{"one-controller", "two-controller"}},
		{[]string{"*", "-two"}, []string{"one-controller"}},
		{[]string{"*", "off"}, []string{"one-controller", "two-controller", "off-controller"}},
		{[]string{"two-controller"}, []string{"two-controller"}},
		{[]string{"-one"}, nil},
	}
	for _, c := range cases {
		chosen, err := choose(table, c.list)
		var names []string
		for _, d := range chosen {
			names = append(names, d.name)
		}
		if err != nil || !slices.Equal(names, c.want) {
			t.Errorf("%v chooses %v (%v), want %v", c.list, names, err, c.want)
		}
	}
	if _, err := choose(table, []string{"*", "three"}); err == nil {
		t.Error("an unknown name was taken")
	}
}

func TestNamesInTheTableAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range descriptors {
		for _, name := range []string{d.name, d.alias} {
			if name == "" || seen[name] {
				t.Errorf("name %q is empty or taken twice", name)
			}
			seen[name] = true
		}
		if d.identity == "" || d.component == "" || d.workers == 0 || d.build == nil {
			t.Errorf("%s is incomplete", d.name)
		}
	}
}
