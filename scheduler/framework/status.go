package framework

import "strings"

// Code says how a plugin answered.
type Code int

const (
	// Success: no objection. A nil *Status means the same.
	Success Code = iota
	// Unschedulable: not now; evicting pods could change the answer.
	Unschedulable
	// Unresolvable: not now, and evicting pods cannot change the answer.
	Unresolvable
	// Failed: the plugin could not answer.
	Failed
)

// String returns the name Kubernetes uses for the code.
func (c Code) String() string {
	return [...]string{"Success", "Unschedulable", "UnschedulableAndUnresolvable", "Error"}[c]
}

// Status is a plugin's answer. A nil Status is a success. Statuses are shared
// and must not be changed after they have been returned.
type Status struct {
	Code Code
	// Plugin is the name of the plugin that answered.
	Plugin string
	// Reasons are counted over nodes to build the message a user reads, so
	// they hold nothing that differs from node to node.
	Reasons []string
}

// Reject returns an Unschedulable status.
func Reject(plugin string, reasons ...string) *Status {
	return &Status{Code: Unschedulable, Plugin: plugin, Reasons: reasons}
}

// RejectForGood returns an Unresolvable status.
func RejectForGood(plugin string, reasons ...string) *Status {
	return &Status{Code: Unresolvable, Plugin: plugin, Reasons: reasons}
}

// Fail returns a status for a plugin that could not answer.
func Fail(plugin string, err error) *Status {
	return &Status{Code: Failed, Plugin: plugin, Reasons: []string{err.Error()}}
}

// OK reports whether s is a success.
func (s *Status) OK() bool { return s == nil || s.Code == Success }

// IsFailure reports whether the plugin could not answer.
func (s *Status) IsFailure() bool { return s != nil && s.Code == Failed }

// Message joins the reasons.
func (s *Status) Message() string {
	if s == nil {
		return ""
	}
	return strings.Join(s.Reasons, ", ")
}
