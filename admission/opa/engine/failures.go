package engine

import (
	"errors"
	"maps"
	"sync"

	bundleplugin "github.com/open-policy-agent/opa/v1/plugins/bundle"
)

// failures are what was last wrong with each bundle.
type failures struct {
	mu     sync.Mutex
	byName map[string]error
}

// note takes the status of a bundle after an attempt to load it.
func (f *failures) note(status bundleplugin.Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.byName == nil {
		f.byName = map[string]error{}
	}
	delete(f.byName, status.Name)
	if status.Message != "" {
		f.byName[status.Name] = errors.Join(append([]error{errors.New(status.Message)}, status.Errors...)...)
	}
}

// set notes what is wrong with a bundle before OPA has seen it.
func (f *failures) set(name string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.byName == nil {
		f.byName = map[string]error{}
	}
	f.byName[name] = err
}

func (f *failures) all() map[string]error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.byName)
}
