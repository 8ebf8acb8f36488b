package authn

import (
	"net/http"
	"slices"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
)

// Anonymous says where requests without credentials are let in, as
// system:anonymous. Authorization still decides what they may do.
type Anonymous struct {
	// Paths are the exact URL paths; nil means all.
	Paths []string
}

func (a Anonymous) allows(path string) bool {
	return a.Paths == nil || slices.Contains(a.Paths, path)
}

// anonymousFallback never takes bad credentials for none.
type anonymousFallback struct {
	first     authenticator.Request
	anonymous Anonymous
}

func (f *anonymousFallback) AuthenticateRequest(request *http.Request) (*authenticator.Response, bool, error) {
	response, ok, err := f.first.AuthenticateRequest(request)
	if ok || err != nil {
		return response, ok, err
	}
	if !f.anonymous.allows(request.URL.Path) {
		return nil, false, nil
	}
	audiences, _ := authenticator.AudiencesFrom(request.Context())
	return &authenticator.Response{
		User:      &user.DefaultInfo{Name: user.Anonymous, Groups: []string{user.AllUnauthenticated}},
		Audiences: audiences,
	}, true, nil
}
