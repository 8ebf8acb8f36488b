package controllers

import (
	"github.com/yare-io/yare/controllers/deployment"
	"github.com/yare-io/yare/controllers/endpointslice"
	"github.com/yare-io/yare/controllers/replicaset"
	"github.com/yare-io/yare/controllers/worker"
)

// descriptor says of one controller how it is called and how it is made.
type descriptor struct {
	// name is the one of kube-controller-manager --controllers, alias the
	// shorter one used before.
	name, alias string
	// identity is its service account in kube-system.
	identity string
	// component is the source its events show.
	component    string
	offByDefault bool
	// workers is how many keys it reconciles at once unless told otherwise.
	workers int
	build   func(env *worker.Env, config *Config) (worker.Runner, error)
}

// plain adapts a constructor that needs no configuration.
func plain(build func(*worker.Env) (worker.Runner, error)) func(*worker.Env, *Config) (worker.Runner, error) {
	return func(env *worker.Env, _ *Config) (worker.Runner, error) { return build(env) }
}

var descriptors = []descriptor{
	{name: "deployment-controller", alias: "deployment", identity: "deployment-controller",
		component: "deployment-controller", workers: 5, build: plain(deployment.New)},
	{name: "replicaset-controller", alias: "replicaset", identity: "replicaset-controller",
		component: "replicaset-controller", workers: 5, build: plain(replicaset.New)},
	{name: "endpointslice-controller", alias: "endpointslice", identity: "endpointslice-controller",
		component: "endpoint-slice-controller", workers: 5, build: plain(endpointslice.New)},
}
