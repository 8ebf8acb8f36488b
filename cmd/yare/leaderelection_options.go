package main

import (
	"time"

	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	componentbaseconfig "k8s.io/component-base/config/v1alpha1"

	"github.com/yare-io/yare/controllers"
)

// leaderElectionOptions are the flags by which several processes of one part
// agree on the one that works.
type leaderElectionOptions struct {
	elect                               bool
	leaseDuration, renewDeadline, retry time.Duration
	namespace, name                     string
	// identity tells contenders apart; empty: a random one.
	identity string
}

func (o *leaderElectionOptions) add(flags *pflag.FlagSet, name string) {
	flags.BoolVar(&o.elect, "leader-elect", true, "run only while holding a lease")
	flags.DurationVar(&o.leaseDuration, "leader-elect-lease-duration", 15*time.Second, "how long the others wait for a leader that is silent")
	flags.DurationVar(&o.renewDeadline, "leader-elect-renew-deadline", 10*time.Second, "how long a leader tries to renew its lease before it stops")
	flags.DurationVar(&o.retry, "leader-elect-retry-period", 2*time.Second, "pause between two tries to get or to renew the lease")
	flags.StringVar(&o.namespace, "leader-elect-resource-namespace", "kube-system", "namespace of the lease")
	flags.StringVar(&o.name, "leader-elect-resource-name", name, "name of the lease")
}

// complete fills in what a configuration file leaves open; a flag that was
// given wins over the file.
func (o *leaderElectionOptions) complete(flags *pflag.FlagSet, file *componentbaseconfig.LeaderElectionConfiguration) {
	given := func(flag string) bool { return flags.Changed("leader-elect" + flag) }
	if given("") || file.LeaderElect == nil {
		file.LeaderElect = &o.elect
	}
	for flag, field := range map[string]struct {
		file *metav1.Duration
		flag time.Duration
	}{
		"-lease-duration": {&file.LeaseDuration, o.leaseDuration},
		"-renew-deadline": {&file.RenewDeadline, o.renewDeadline},
		"-retry-period":   {&file.RetryPeriod, o.retry},
	} {
		if given(flag) || field.file.Duration == 0 {
			field.file.Duration = field.flag
		}
	}
	if given("-resource-namespace") || file.ResourceNamespace == "" {
		file.ResourceNamespace = o.namespace
	}
	if given("-resource-name") || file.ResourceName == "" {
		file.ResourceName = o.name
	}
}

// controllers is the election in the form of the controllers' manager.
func (o *leaderElectionOptions) controllers() *controllers.LeaderElection {
	if !o.elect {
		return nil
	}
	return &controllers.LeaderElection{
		Namespace: o.namespace, Name: o.name, Identity: o.identity,
		LeaseDuration: o.leaseDuration, RenewDeadline: o.renewDeadline, RetryPeriod: o.retry,
	}
}
