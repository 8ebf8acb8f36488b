package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/yare-io/yare/cmd/yare/kubeapiserver"
	"github.com/yare-io/yare/controllers"
)

// envtestFile lies beside the links that `yare envtest install` makes, and
// tells the programs behind them how to behave in a test suite.
const envtestFile = "yare-envtest.json"

// envtestSettings are its content.
type envtestSettings struct {
	// Storage is memory, or etcd for what the etcd link keeps on disk.
	Storage string `json:"storage"`
	// Controllers run inside kube-apiserver.
	Controllers []string `json:"controllers,omitempty"`
}

func newEnvtestCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "envtest", GroupID: "cluster", Short: "Stand in for Kubernetes in test suites of controllers",
	}
	settings := envtestSettings{}
	install := &cobra.Command{
		Use: "install DIR", Args: cobra.ExactArgs(1), Short: "Lay out kube-apiserver, etcd and kubectl in a directory",
		Long: `Makes links named kube-apiserver, etcd and kubectl in DIR. A suite that uses
controller-runtime's envtest runs on them with KUBEBUILDER_ASSETS=DIR.

Objects are kept in memory, in kube-apiserver, unless --storage=etcd is given.
With --controllers, kube-apiserver runs these controllers too, so that deleted
namespaces go away and dependents are collected.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := settings.check(); err != nil {
				return err
			}
			noted, err := settings.install(args[0])
			if noted != "" {
				fmt.Fprintln(cmd.ErrOrStderr(), noted)
			}
			return err
		},
	}
	install.Flags().StringVar(&settings.Storage, "storage", "memory", "where objects are kept: memory or etcd")
	install.Flags().StringSliceVar(&settings.Controllers, "controllers", nil, "controllers to run, such as namespace,garbagecollector,serviceaccount")
	command.AddCommand(install)
	return command
}

func (s envtestSettings) check() error {
	if s.Storage != "memory" && s.Storage != "etcd" {
		return fmt.Errorf("--storage must be memory or etcd, not %q", s.Storage)
	}
	if len(s.Controllers) == 0 {
		return nil
	}
	return controllers.CheckNames(s.Controllers)
}

// install makes the links. It says what it could not find.
func (s envtestSettings) install(dir string) (noted string, err error) {
	binary, err := os.Executable()
	if err == nil {
		binary, err = filepath.EvalSymlinks(binary)
	}
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	links := map[string]string{"kube-apiserver": binary, "etcd": binary}
	kubectl := filepath.Join(filepath.Dir(binary), "kubectl")
	if _, err := os.Stat(kubectl); err != nil {
		kubectl, err = exec.LookPath("kubectl")
		if err != nil {
			noted = "no kubectl beside this program or in PATH: DIR gets none"
		}
	}
	if noted == "" {
		links["kubectl"] = kubectl
	}
	for name, target := range links {
		if err := relink(target, filepath.Join(dir, name)); err != nil {
			return noted, err
		}
	}
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return noted, err
	}
	return noted, os.WriteFile(filepath.Join(dir, envtestFile), append(raw, '\n'), 0o644)
}

// relink makes a link, in place of an older one but of nothing else.
func relink(target, link string) error {
	info, err := os.Lstat(link)
	switch {
	case err == nil && info.Mode()&os.ModeSymlink == 0:
		return fmt.Errorf("%s is there and no link: remove it first", link)
	case err == nil:
		if err := os.Remove(link); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return os.Symlink(target, link)
}

// envtestHere returns the settings beside the link that this program was
// called by; nil when it is not one of a test suite.
func envtestHere(called string) (*envtestSettings, error) {
	if !slices.Contains([]string{"kube-apiserver", "etcd"}, filepath.Base(called)) {
		return nil, nil
	}
	file := filepath.Join(filepath.Dir(called), envtestFile)
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	settings := &envtestSettings{}
	if err := json.Unmarshal(raw, settings); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return settings, settings.check()
}

// adjust makes an API server one of a test suite.
func (s *envtestSettings) adjust(o *kubeapiserver.Options) {
	o.AllowLoopbackWebhooks()
	if s.Storage == "memory" {
		o.StorageBackend, o.EtcdServers = "memory", nil
	}
}
