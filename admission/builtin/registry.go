package builtin

// registry is every plugin in the order they run, which is Kubernetes'.
var registry = []entry{
	{"NamespaceLifecycle", true, newNamespaceLifecycle},
	{"ServiceAccount", true, newServiceAccount},
}
