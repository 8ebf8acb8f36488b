// Package verdict reads what rules return: whether a request is refused and
// why, what its sender is warned of, and how the object is to be changed. What
// it cannot read is an error, never a silent yes. It refuses to know how rules
// are evaluated.
package verdict

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Reason is why a request is refused.
type Reason struct {
	Message string
	// Code is the HTTP status to answer with; 0 stands for 403.
	Code int32
	// Rule is the path of the rule that said so.
	Rule string
}

// Operation is one operation of a JSON patch (RFC 6902), as decoded.
type Operation = map[string]any

// Verdict is what rules returned, taken together.
type Verdict struct {
	Denials  []Reason
	Warnings []string
	Patch    []Operation
}

// Limits on what rules may return.
const (
	maxReasons    = 256
	maxMessage    = 4096
	maxOperations = 1024
)

// Add takes the value of a rule: deny, violation, warn, patch or main. path is
// the rule's, for messages.
func (v *Verdict) Add(rule, path string, value any) error {
	var err error
	switch rule {
	case "deny", "violation":
		err = v.deny(path, value)
	case "warn":
		err = v.warn(path, value)
	case "patch":
		err = v.patch(value)
	case "main":
		err = v.main(path, value)
	default:
		err = fmt.Errorf("%q has no meaning", rule)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if len(v.Denials) > maxReasons || len(v.Warnings) > maxReasons || len(v.Patch) > maxOperations {
		return fmt.Errorf("%s: more than %d messages or %d patch operations", path, maxReasons, maxOperations)
	}
	return nil
}

func (v *Verdict) deny(path string, value any) error {
	reasons, err := reasonsOf(path, value)
	for _, reason := range reasons {
		if !slices.Contains(v.Denials, reason) {
			v.Denials = append(v.Denials, reason)
		}
	}
	return err
}

func (v *Verdict) warn(path string, value any) error {
	reasons, err := reasonsOf(path, value)
	for _, reason := range reasons {
		if !slices.Contains(v.Warnings, reason.Message) {
			v.Warnings = append(v.Warnings, reason.Message)
		}
	}
	return err
}

// reasonsOf reads a set or array of reasons, one reason, or a truth value.
func reasonsOf(path string, value any) ([]Reason, error) {
	switch value := value.(type) {
	case []any:
		reasons := make([]Reason, 0, len(value))
		for _, item := range value {
			reason, err := reasonOf(path, item)
			if err != nil {
				return nil, err
			}
			reasons = append(reasons, reason)
		}
		return reasons, nil
	case bool:
		if !value {
			return nil, nil
		}
		return []Reason{{Message: "refused by " + path, Rule: path}}, nil
	}
	reason, err := reasonOf(path, value)
	if err != nil {
		return nil, err
	}
	return []Reason{reason}, nil
}

// reasonOf reads a string, or an object with msg or message, and perhaps code.
func reasonOf(path string, value any) (Reason, error) {
	switch value := value.(type) {
	case string:
		return newReason(path, value, 0), nil
	case map[string]any:
		for _, key := range []string{"msg", "message"} {
			if message, ok := value[key].(string); ok {
				code, err := codeOf(value["code"])
				return newReason(path, message, code), err
			}
		}
		return Reason{}, errors.New("a result must be a string, or an object with a string msg")
	}
	return Reason{}, fmt.Errorf("a result must be a string or an object, not %T", value)
}

func newReason(path, message string, code int32) Reason {
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage], "") + "…"
	}
	if message == "" {
		message = "refused by " + path
	}
	return Reason{Message: message, Code: code, Rule: path}
}

// codeOf reads an HTTP status that refuses.
func codeOf(value any) (int32, error) {
	if value == nil {
		return 0, nil
	}
	number, ok := value.(json.Number)
	if !ok {
		return 0, fmt.Errorf("code must be a number, not %T", value)
	}
	code, err := number.Int64()
	if err != nil || code < http.StatusBadRequest || code > 599 {
		return 0, fmt.Errorf("code must be an HTTP status from 400 to 599, not %s", number)
	}
	return int32(code), nil
}

// patch reads operations, in a set or array, which may be nested once so that
// a rule can return several in order.
func (v *Verdict) patch(value any) error {
	items, ok := value.([]any)
	if !ok {
		return fmt.Errorf("a patch must be a set or array of operations, not %T", value)
	}
	for _, item := range items {
		several, ok := item.([]any)
		if !ok {
			several = []any{item}
		}
		for _, one := range several {
			operation, ok := one.(map[string]any)
			if !ok {
				return fmt.Errorf("an operation of a patch must be an object, not %T", one)
			}
			v.Patch = append(v.Patch, operation)
		}
	}
	return nil
}

// main reads an AdmissionReview with a response, as OPA answers to a webhook.
func (v *Verdict) main(path string, value any) error {
	review, ok := value.(map[string]any)
	if !ok {
		return fmt.Errorf("it must be an AdmissionReview, not %T", value)
	}
	response, ok := review["response"].(map[string]any)
	if !ok {
		return errors.New("it must have an object named response")
	}
	allowed, ok := response["allowed"].(bool)
	if !ok {
		return errors.New("response.allowed must be true or false")
	}
	if warnings := response["warnings"]; warnings != nil {
		if err := v.warn(path, warnings); err != nil {
			return err
		}
	}
	if !allowed {
		reason, err := statusOf(path, response["status"])
		v.Denials = append(v.Denials, reason)
		return err
	}
	return v.encodedPatch(response)
}

// statusOf reads the status of a refusal.
func statusOf(path string, value any) (Reason, error) {
	status, _ := value.(map[string]any)
	for _, key := range []string{"message", "reason"} {
		if message, ok := status[key].(string); ok && message != "" {
			code, err := codeOf(status["code"])
			return newReason(path, message, code), err
		}
	}
	return newReason(path, "", 0), nil
}

// encodedPatch reads a patch as webhooks return it, JSON in base64, or as an
// array.
func (v *Verdict) encodedPatch(response map[string]any) error {
	encoded, ok := response["patch"].(string)
	if !ok {
		if response["patch"] == nil {
			return nil
		}
		return v.patch(response["patch"])
	}
	if kind, set := response["patchType"]; set && kind != "JSONPatch" {
		return fmt.Errorf("patchType must be JSONPatch, not %v", kind)
	}
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return fmt.Errorf("patch: %w", err)
	}
	var operations []any
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&operations); err != nil {
		return fmt.Errorf("patch: %w", err)
	}
	return v.patch(operations)
}

// Settle drops reasons that another rule's message contains: a main rule joins
// the messages of the rules below it.
func (v *Verdict) Settle() {
	v.Denials = slices.DeleteFunc(slices.Clone(v.Denials), func(r Reason) bool {
		return slices.ContainsFunc(v.Denials, func(other Reason) bool {
			return other.Rule != r.Rule && strings.HasSuffix(other.Rule, ".main") && strings.Contains(other.Message, r.Message)
		})
	})
}
