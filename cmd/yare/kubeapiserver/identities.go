package kubeapiserver

import (
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/rest"
)

// JSONOnly makes clients speak JSON, which all kinds have.
func JSONOnly(config *rest.Config) *rest.Config {
	config.ContentConfig = rest.ContentConfig{}
	return config
}

// System is a user of the control plane.
func System(name string, groups ...string) user.Info {
	return &user.DefaultInfo{Name: "system:" + name, Groups: append(groups, user.AllAuthenticated)}
}

// ServiceAccount is an account of kube-system.
func ServiceAccount(name string) user.Info {
	return &user.DefaultInfo{
		Name:   "system:serviceaccount:kube-system:" + name,
		Groups: []string{"system:serviceaccounts", "system:serviceaccounts:kube-system", user.AllAuthenticated},
	}
}
