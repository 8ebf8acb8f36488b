// Command yare is a whole Kubernetes cluster in one binary: API server,
// scheduler, controllers, node agent and service proxy, together (yare server,
// yare agent) or each alone under its Kubernetes name. Called through a link
// of such a name, it acts as that part.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/yare-io/yare/cmd/yare/heap"
)

// version is what the API and the nodes report; the build sets it.
var version = "v1.37.2+yare"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once

	go heap.Follow(ctx)
	command := newCommand()
	command.SetArgs(arguments(command, os.Args))
	if err := command.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		var exit exitCode
		if errors.As(err, &exit) {
			os.Exit(exit.code)
		}
		os.Exit(1)
	}
}

func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "yare",
		Short: "A Kubernetes cluster in one binary",
		Long: `Yare is a Kubernetes-compatible orchestration platform in one binary.

  yare server    a control plane and, unless told otherwise, a node on this machine
  yare agent     a node that joins a server

Each part also runs alone, under its Kubernetes name and flags. A link to this
binary with such a name (kube-apiserver, kubelet, ...) acts as that part.`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddGroup(
		&cobra.Group{ID: "cluster", Title: "Clusters:"},
		&cobra.Group{ID: "component", Title: "Parts of a cluster:"},
	)
	root.AddCommand(newServerCommand(), newAgentCommand(), newResetCommand(), newEnvtestCommand())
	root.AddCommand(newEtcdSnapshotCommand(), newEtcdMemberCommand(), newStorageCommand(), newPolicyCommand())
	root.AddCommand(newAPIServerCommand(), newControllerManagerCommand(), newSchedulerCommand(), newKubeletCommand(), newKubeProxyCommand(), newEtcdCommand())
	return root
}

// arguments are those of the command line, with the component's name put
// first when the binary was called by it.
func arguments(root *cobra.Command, args []string) []string {
	called := filepath.Base(args[0])
	component := slices.ContainsFunc(root.Commands(), func(c *cobra.Command) bool {
		return c.GroupID == "component" && c.Name() == called
	})
	if component {
		return append([]string{called}, args[1:]...)
	}
	return args[1:]
}
