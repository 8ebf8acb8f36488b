package main

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/yare-io/yare/cmd/yare/kubeapiserver"
)

func newAPIServerCommand() *cobra.Command {
	options, logs := &kubeapiserver.Options{}, &logFlags{}
	command := &cobra.Command{
		Use: "kube-apiserver", GroupID: "component", Args: cobra.NoArgs,
		Short: "Run the API server alone",
		Long:  "Serves the Kubernetes API over HTTPS, on etcd, on PostgreSQL or in memory.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			logger, err := logs.logger()
			if err != nil {
				return err
			}
			settings, err := envtestHere(os.Args[0])
			if err != nil {
				return err
			}
			if settings != nil {
				settings.adjust(options)
			}
			if !options.AllowPrivileged {
				return errors.New("--allow-privileged=false is not supported: use pod security admission")
			}
			if options.SecurePort == 0 {
				return errors.New("--secure-port must not be 0: clients have to know the port")
			}
			options.KeepPolicies(filepath.Join(defaultDataDir, "opa"))
			trust, err := options.Trust()
			if err != nil {
				return err
			}
			server, err := kubeapiserver.New(cmd.Context(), options, trust, logger)
			if err != nil {
				return err
			}
			if settings != nil && len(settings.Controllers) > 0 {
				return server.RunWithControllers(cmd.Context(), settings.Controllers)
			}
			return server.Run(cmd.Context())
		},
	}
	options.AddStandalone(command.Flags())
	logs.add(command.Flags())
	return command
}
