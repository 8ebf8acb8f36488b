package apiserver

import (
	"encoding/json"
	"net/http"
	"runtime"
	"slices"

	"k8s.io/apimachinery/pkg/version"
)

// Version is what the server says it is: the Kubernetes release whose API it
// serves, marked as Yare's. Builds set GitCommit and BuildDate by -ldflags.
var Version = version.Info{
	Major:                 "1",
	Minor:                 "37",
	EmulationMajor:        "1",
	EmulationMinor:        "37",
	MinCompatibilityMajor: "1",
	MinCompatibilityMinor: "36",
	GitVersion:            "v1.37.2+yare",
	GitTreeState:          "clean",
	GoVersion:             runtime.Version(),
	Compiler:              runtime.Compiler,
	Platform:              runtime.GOOS + "/" + runtime.GOARCH,
}

func (s *Server) serveVersion(w http.ResponseWriter, r *http.Request) {
	s.sendJSON(w, r, Version)
}

// sendJSON answers with a value that is no API object.
func (s *Server) sendJSON(w http.ResponseWriter, r *http.Request, value any) {
	body, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.send(w, r, http.StatusOK, "application/json", body)
}

func sortedUnique(values []string) []string {
	slices.Sort(values)
	return slices.Compact(values)
}
