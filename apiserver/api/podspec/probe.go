package podspec

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/rule"
)

// probes checks a container's three probes.
func (sc *scope) probes(path *field.Path, c *corev1.Container) field.ErrorList {
	errs := sc.probe(path.Child("livenessProbe"), c.LivenessProbe)
	errs = append(errs, succeedsAtOnce(path.Child("livenessProbe"), c.LivenessProbe)...)
	errs = append(errs, sc.probe(path.Child("readinessProbe"), c.ReadinessProbe)...)
	if p := c.ReadinessProbe; p != nil && p.TerminationGracePeriodSeconds != nil {
		errs = append(errs, field.Invalid(path.Child("readinessProbe", "terminationGracePeriodSeconds"),
			*p.TerminationGracePeriodSeconds, "must not be set for readinessProbes"))
	}
	errs = append(errs, sc.probe(path.Child("startupProbe"), c.StartupProbe)...)
	return append(errs, succeedsAtOnce(path.Child("startupProbe"), c.StartupProbe)...)
}

// succeedsAtOnce wants a success threshold of one, since the probe's purpose is to find
// failure.
func succeedsAtOnce(path *field.Path, p *corev1.Probe) field.ErrorList {
	if p == nil || p.SuccessThreshold == 1 {
		return nil
	}
	return field.ErrorList{field.Invalid(path.Child("successThreshold"), p.SuccessThreshold, "must be 1")}
}

func (sc *scope) probe(path *field.Path, p *corev1.Probe) field.ErrorList {
	if p == nil {
		return nil
	}
	errs := sc.handler(path, corev1.LifecycleHandler{Exec: p.Exec, HTTPGet: p.HTTPGet, TCPSocket: p.TCPSocket}, p.GRPC)
	for _, f := range []struct {
		name  string
		value int32
	}{
		{"initialDelaySeconds", p.InitialDelaySeconds},
		{"timeoutSeconds", p.TimeoutSeconds},
		{"periodSeconds", p.PeriodSeconds},
		{"successThreshold", p.SuccessThreshold},
		{"failureThreshold", p.FailureThreshold},
	} {
		errs = append(errs, rule.NonNegative(path.Child(f.name), f.value)...)
	}
	if g := p.TerminationGracePeriodSeconds; g != nil && *g <= 0 {
		errs = append(errs, field.Invalid(path.Child("terminationGracePeriodSeconds"), *g, rule.NotPositive))
	}
	return errs
}

// lifecycle checks what is run after a container's start and before its end.
func (sc *scope) lifecycle(path *field.Path, l *corev1.Lifecycle) field.ErrorList {
	if l == nil {
		return nil
	}
	var errs field.ErrorList
	if l.PostStart != nil {
		errs = append(errs, sc.handler(path.Child("postStart"), *l.PostStart, nil)...)
	}
	if l.PreStop != nil {
		errs = append(errs, sc.handler(path.Child("preStop"), *l.PreStop, nil)...)
	}
	if l.StopSignal != nil {
		errs = append(errs, sc.stopSignal(path.Child("stopSignal"), *l.StopSignal)...)
	}
	return errs
}

func (sc *scope) stopSignal(path *field.Path, s corev1.Signal) field.ErrorList {
	if sc.spec.OS == nil || sc.spec.OS.Name == "" {
		return field.ErrorList{field.Forbidden(path, "may not be set for containers with empty `spec.os.name`")}
	}
	if sc.spec.OS.Name == corev1.Windows {
		return rule.Supported(path, s, corev1.SIGTERM, corev1.SIGKILL)
	}
	return rule.Supported(path, s, linuxSignals...)
}

// handler checks that exactly one way is given to probe or to notify.
func (sc *scope) handler(path *field.Path, h corev1.LifecycleHandler, grpc *corev1.GRPCAction) field.ErrorList {
	var errs field.ErrorList
	given := 0
	add := func(name string, check func(*field.Path) field.ErrorList) {
		given++
		if given > 1 {
			errs = append(errs, field.Forbidden(path.Child(name), "may not specify more than 1 handler type"))
			return
		}
		errs = append(errs, check(path.Child(name))...)
	}
	if h.Exec != nil {
		add("exec", func(p *field.Path) field.ErrorList { return validateExec(p, h.Exec) })
	}
	if h.HTTPGet != nil {
		add("httpGet", func(p *field.Path) field.ErrorList { return validateHTTPGet(p, h.HTTPGet) })
	}
	if h.TCPSocket != nil {
		add("tcpSocket", func(p *field.Path) field.ErrorList { return rule.PortOrName(p.Child("port"), h.TCPSocket.Port) })
	}
	if grpc != nil {
		add("grpc", func(p *field.Path) field.ErrorList { return rule.Port(p.Child("port"), grpc.Port) })
	}
	if h.Sleep != nil {
		add("sleep", func(p *field.Path) field.ErrorList { return sc.sleep(p, h.Sleep) })
	}
	if given == 0 {
		errs = append(errs, field.Required(path, "must specify a handler type"))
	}
	return errs
}

func (sc *scope) sleep(path *field.Path, a *corev1.SleepAction) field.ErrorList {
	if a.Seconds >= 0 && a.Seconds <= sc.grace {
		return nil
	}
	return field.ErrorList{field.Invalid(path, a.Seconds,
		fmt.Sprintf("must be non-negative and less than terminationGracePeriodSeconds (%d)", sc.grace))}
}

func validateExec(path *field.Path, a *corev1.ExecAction) field.ErrorList {
	if len(a.Command) == 0 {
		return field.ErrorList{field.Required(path.Child("command"), "")}
	}
	return nil
}

func validateHTTPGet(path *field.Path, a *corev1.HTTPGetAction) field.ErrorList {
	errs := rule.Required(path.Child("path"), a.Path)
	errs = append(errs, rule.PortOrName(path.Child("port"), a.Port)...)
	errs = append(errs, rule.Supported(path.Child("scheme"), a.Scheme, corev1.URISchemeHTTP, corev1.URISchemeHTTPS)...)
	for _, h := range a.HTTPHeaders {
		errs = append(errs, rule.Invalid(path.Child("httpHeaders"), h.Name, validation.IsHTTPHeaderName(h.Name))...)
	}
	return errs
}
