// Package helm tests that helm, as its users have it, installs, upgrades, rolls
// back, tests and uninstalls a chart on Yare.
package helm
