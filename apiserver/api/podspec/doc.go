// Package podspec knows what a pod specification means: its defaults, what is
// wrong with it, and which changes to it are allowed. Pods, pod templates and
// every kind that carries a template share it. It knows no strategy, no
// storage and no kind around the specification.
package podspec
