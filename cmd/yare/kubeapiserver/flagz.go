package kubeapiserver

import "github.com/spf13/pflag"

// classified marks flags whose values nobody is shown, as in Kubernetes.
const classified = "classified"

// Classify keeps the value of a flag, which may hold a secret, off the page of
// flags.
func Classify(flags *pflag.FlagSet, name string) {
	flag := flags.Lookup(name)
	if flag.Annotations == nil {
		flag.Annotations = map[string][]string{}
	}
	flag.Annotations[classified] = []string{"true"}
}

// shown are the flags of the command and their values.
func (o *Options) shown() map[string]string {
	out := map[string]string{}
	o.flags.VisitAll(func(flag *pflag.Flag) {
		out[flag.Name] = flag.Value.String()
		if len(flag.Annotations[classified]) > 0 {
			out[flag.Name] = "CLASSIFIED"
		}
	})
	return out
}
