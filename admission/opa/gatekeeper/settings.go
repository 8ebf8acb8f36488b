package gatekeeper

import (
	"encoding/json"
	"errors"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/admission/opa/scope"
)

// process is what an exclusion of Gatekeeper's Config is about.
type process string

// The processes of Gatekeeper that there are here.
const (
	webhook  process = "webhook"
	mutating process = "mutation-webhook"
	auditing process = "audit"
)

// settings are what a Config and SyncSets say.
type settings struct {
	synced   []schema.GroupVersionKind
	excluded []exclusion
}

type exclusion struct {
	Processes          []process `json:"processes"`
	ExcludedNamespaces []string  `json:"excludedNamespaces"`
}

// kind is a group, version and kind as Gatekeeper writes them.
type kind struct {
	Group   string `json:"group"`
	Version string `json:"version"`
	Kind    string `json:"kind"`
}

// addConfig reads a Config.
func (s *settings) addConfig(object *unstructured.Unstructured) error {
	var spec struct {
		Sync struct {
			SyncOnly []kind `json:"syncOnly"`
		} `json:"sync"`
		Match      []exclusion `json:"match"`
		Validation struct {
			Traces []json.RawMessage `json:"traces"`
		} `json:"validation"`
	}
	if err := specOf(object, &spec); err != nil {
		return err
	}
	if len(spec.Validation.Traces) > 0 {
		return errors.New("validation.traces is not supported: yare policy explain shows traces")
	}
	for _, e := range spec.Match {
		for _, p := range e.Processes {
			if !slices.Contains([]process{"*", webhook, mutating, auditing, "sync"}, p) {
				return errors.New("match.processes: there is no process " + string(p))
			}
		}
	}
	s.excluded = append(s.excluded, spec.Match...)
	s.sync(spec.Sync.SyncOnly)
	return nil
}

// addSyncSet reads a SyncSet.
func (s *settings) addSyncSet(object *unstructured.Unstructured) error {
	var spec struct {
		GVKs []kind `json:"gvks"`
	}
	if err := specOf(object, &spec); err != nil {
		return err
	}
	s.sync(spec.GVKs)
	return nil
}

func (s *settings) sync(kinds []kind) {
	for _, k := range kinds {
		if gvk := (schema.GroupVersionKind(k)); !slices.Contains(s.synced, gvk) {
			s.synced = append(s.synced, gvk)
		}
	}
}

// excludes reports whether a process leaves a namespace alone.
func (s *settings) excludes(p process, namespace string) bool {
	return namespace != "" && slices.ContainsFunc(s.excluded, func(e exclusion) bool {
		return (slices.Contains(e.Processes, "*") || slices.Contains(e.Processes, p)) && scope.Matches(e.ExcludedNamespaces, namespace)
	})
}

// specOf reads an object's spec.
func specOf(object *unstructured.Unstructured, into any) error {
	raw, err := json.Marshal(object.Object["spec"])
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}
