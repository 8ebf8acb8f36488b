// Package operator is a small operator on controller-runtime: a Backup keeps a
// ConfigMap that says what it backs up, and reports in its status. It exists
// for its test suite, which is written as such suites are and runs on whatever
// KUBEBUILDER_ASSETS has.
package operator
