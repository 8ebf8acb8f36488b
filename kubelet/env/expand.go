// Package env works out the environment, command and arguments of a container from the pod's spec and the objects it refers
// to. It owns the order in which sources override each other and the words of their errors; how objects are
// fetched is its caller's business.
package env

import "strings"

// Expand replaces each $(NAME) with what lookup gives; unknown names stay as they are, and $$ stands for $.
func Expand(s string, lookup func(name string) (string, bool)) string {
	if !strings.Contains(s, "$") {
		return s
	}
	var out strings.Builder
	for {
		at := strings.IndexByte(s, '$')
		if at < 0 || at+1 == len(s) {
			out.WriteString(s)
			return out.String()
		}
		out.WriteString(s[:at])
		text, rest := expandOne(s[at:], lookup)
		out.WriteString(text)
		s = rest
	}
}

// expandOne reads one reference at the start of s, which begins with $ and has at least one more byte.
func expandOne(s string, lookup func(string) (string, bool)) (text, rest string) {
	switch s[1] {
	case '$':
		return "$", s[2:]
	case '(':
		end := strings.IndexByte(s, ')')
		if end < 0 {
			return "$(", s[2:]
		}
		if value, ok := lookup(s[2:end]); ok {
			return value, s[end+1:]
		}
		return s[:end+1], s[end+1:]
	}
	return s[:2], s[2:]
}

// ExpandAll expands every string of the list.
func ExpandAll(list []string, lookup func(name string) (string, bool)) []string {
	if list == nil {
		return nil
	}
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = Expand(s, lookup)
	}
	return out
}
