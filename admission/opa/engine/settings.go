package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/yare-io/yare/admission/opa/scope"
)

// SettingsName is the section of OPA's configuration, below plugins, that has
// the settings of admission.
const SettingsName = "kubernetes_admission"

// Answer is what happens to requests that no policy could decide on.
type Answer string

// The answers when there is no decision.
const (
	Deny  Answer = "Deny"
	Allow Answer = "Allow"
)

// Settings say which requests policies decide on, and how.
type Settings struct {
	// Scope is which requests are decided on.
	scope.Scope
	// Packages whose rules count, with those below them:
	// "kubernetes.admission" and "main" when empty.
	Packages []string `json:"packages,omitempty"`
	// OnError is the answer when an evaluation fails or takes too long: Deny
	// when empty.
	OnError Answer `json:"onError,omitempty"`
	// BeforeActivation is the answer until every bundle is active: Deny when
	// empty.
	BeforeActivation Answer `json:"beforeActivation,omitempty"`
	// TimeoutSeconds bounds one evaluation: 1 when zero, at most 30.
	TimeoutSeconds float64 `json:"timeoutSeconds,omitempty"`
	// StepsLimit bounds how many expressions one evaluation may evaluate: five
	// million when zero.
	StepsLimit int64 `json:"stepsLimit,omitempty"`
	// MemoryLimitMiB bounds by how much the process may grow while an evaluation
	// runs: 256 when zero.
	MemoryLimitMiB int64 `json:"memoryLimitMiB,omitempty"`
	// StrictBuiltinErrors makes an error in a builtin function fail the
	// evaluation, where else the expression is undefined as in OPA's server.
	StrictBuiltinErrors bool `json:"strictBuiltinErrors,omitempty"`
	// AllowBuiltins names builtins to allow that reach outside, as http.send.
	AllowBuiltins []string `json:"allowBuiltins,omitempty"`
	// Data is the resources that policies see as data.kubernetes.
	Data []Resource `json:"data,omitempty"`
	// Gatekeeper turns on ConstraintTemplates and constraints. It is read at the
	// start; discovery does not change it.
	Gatekeeper *Gatekeeper `json:"gatekeeper,omitempty"`
}

// Gatekeeper says where ConstraintTemplates and constraints come from.
type Gatekeeper struct {
	// Manifests are files, and directories of YAML and JSON files.
	Manifests []string `json:"manifests,omitempty"`
	// API makes those count that are stored in the API.
	API bool `json:"api,omitempty"`
	// AuditIntervalSeconds is from one audit of what exists to the next: 60 when
	// not set; 0 turns audits off. Only with API.
	AuditIntervalSeconds *int `json:"auditIntervalSeconds,omitempty"`
	// ViolationsLimit is how many violations the status of a constraint shows: 20
	// when zero, at most 500.
	ViolationsLimit int `json:"violationsLimit,omitempty"`
}

const (
	defaultAudit      = 60
	defaultViolations = 20
	mostViolations    = 500
)

func (g *Gatekeeper) complete() error {
	if !g.API && len(g.Manifests) == 0 {
		return errors.New("gatekeeper: api or manifests is needed")
	}
	if g.AuditIntervalSeconds == nil {
		g.AuditIntervalSeconds = new(int)
		*g.AuditIntervalSeconds = defaultAudit
	}
	if g.ViolationsLimit == 0 {
		g.ViolationsLimit = defaultViolations
	}
	if *g.AuditIntervalSeconds < 0 || g.ViolationsLimit < 0 || g.ViolationsLimit > mostViolations {
		return fmt.Errorf("gatekeeper: auditIntervalSeconds must not be negative, violationsLimit from 0 to %d", mostViolations)
	}
	return nil
}

// AuditInterval is from the end of one audit to the start of the next; zero:
// none.
func (g *Gatekeeper) AuditInterval() time.Duration {
	return time.Duration(*g.AuditIntervalSeconds) * time.Second
}

// Resource names a resource that policies see.
type Resource struct {
	Group    string `json:"group,omitempty"`
	Resource string `json:"resource"`
}

const (
	defaultTimeout   = 1.0
	longestTimeout   = 30.0
	defaultMemoryMiB = 256
	defaultSteps     = 5_000_000
)

// ParseSettings reads the settings and fills in defaults. Unknown fields are
// errors.
func ParseSettings(raw []byte) (*Settings, error) {
	settings := &Settings{}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(settings); err != nil {
		return nil, fmt.Errorf("%s: %w", SettingsName, err)
	}
	if err := settings.complete(); err != nil {
		return nil, fmt.Errorf("%s: %w", SettingsName, err)
	}
	return settings, nil
}

func (s *Settings) complete() error {
	if len(s.Packages) == 0 {
		s.Packages = []string{"kubernetes.admission", "main"}
	}
	for name, answer := range map[string]*Answer{"onError": &s.OnError, "beforeActivation": &s.BeforeActivation} {
		if *answer == "" {
			*answer = Deny
		}
		if *answer != Deny && *answer != Allow {
			return fmt.Errorf("%s must be Deny or Allow, not %q", name, *answer)
		}
	}
	if s.TimeoutSeconds == 0 {
		s.TimeoutSeconds = defaultTimeout
	}
	if s.TimeoutSeconds < 0 || s.TimeoutSeconds > longestTimeout {
		return fmt.Errorf("timeoutSeconds must be above 0 and at most %g", longestTimeout)
	}
	if s.MemoryLimitMiB == 0 {
		s.MemoryLimitMiB = defaultMemoryMiB
	}
	if s.StepsLimit == 0 {
		s.StepsLimit = defaultSteps
	}
	if s.MemoryLimitMiB < 0 || s.StepsLimit < 0 {
		return errors.New("memoryLimitMiB and stepsLimit must not be negative")
	}
	for _, resource := range s.Data {
		if resource.Resource == "" {
			return errors.New("data: every entry needs a resource")
		}
	}
	if s.Gatekeeper != nil {
		if err := s.Gatekeeper.complete(); err != nil {
			return err
		}
	}
	return s.Scope.Complete()
}

// Timeout is how long one evaluation may take.
func (s *Settings) Timeout() time.Duration {
	return time.Duration(s.TimeoutSeconds * float64(time.Second))
}
