package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/yare-io/yare/storage/etcd"
)

// newEtcdMemberCommand looks after the members of the embedded etcd, from any
// server that runs.
func newEtcdMemberCommand() *cobra.Command {
	var dataDir string
	command := &cobra.Command{
		Use: "etcd-member", GroupID: "cluster",
		Short: "List and remove the members of the embedded etcd",
		Long:  "Looks after the servers that keep the cluster's objects together. Run it on one of them.",
	}
	command.PersistentFlags().StringVar(&dataDir, "data-dir", defaultDataDir, "data dir of a server that runs here")
	list := &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Args: cobra.NoArgs, Short: "List the members and how they are",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return listMembers(cmd.Context(), cmd.OutOrStdout(), dataDir)
		},
	}
	remove := &cobra.Command{
		Use: "remove NAME", Args: cobra.ExactArgs(1),
		Short: "Take a member out, whose server is lost or is to be retired",
		Long: `Takes a member out of the cluster for good. If its server runs, it ends; to join
again, it needs its data dir removed. etcd refuses what would leave less than most
of the members at work.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			config, err := memberConfig(dataDir)
			if err != nil {
				return err
			}
			if err := etcd.RemoveMember(cmd.Context(), config, args[0]); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "removed %s\n", args[0])
			return nil
		},
	}
	command.AddCommand(list, remove)
	return command
}

// memberConfig reaches the etcd of the server that runs on a data dir.
func memberConfig(dataDir string) (etcd.Config, error) {
	dataDir, err := filepath.Abs(dataDir)
	if err != nil {
		return etcd.Config{}, err
	}
	socket := etcdSocket(dataDir)
	if _, err := os.Stat(socket[len("unix://"):]); err != nil {
		return etcd.Config{}, fmt.Errorf("no server with an embedded etcd runs on %s: %w", dataDir, err)
	}
	return etcd.Config{Endpoints: []string{socket}}, nil
}

// memberTLS is what a server shows to the members of others.
func memberTLS(dataDir string) etcd.TLS {
	keys := filepath.Join(dataDir, "pki")
	return etcd.TLS{
		CA:   filepath.Join(keys, "etcd", "ca.crt"),
		Cert: filepath.Join(keys, "apiserver-etcd-client.crt"), Key: filepath.Join(keys, "apiserver-etcd-client.key"),
	}
}

func listMembers(ctx context.Context, out io.Writer, dataDir string) error {
	config, err := memberConfig(dataDir)
	if err != nil {
		return err
	}
	members, err := etcd.Members(ctx, config, memberTLS(dataDir))
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 8, 3, ' ', 0)
	fmt.Fprintln(table, "NAME\tROLE\tHEALTH\tSIZE\tPEER")
	for _, m := range members {
		role, health := "voter", "ok"
		switch {
		case m.Learner:
			role = "learner"
		case m.Leader:
			role = "leader"
		}
		if m.Err != nil {
			health = m.Err.Error()
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\n", m.Name, role, health, m.Size, m.PeerURL)
	}
	return table.Flush()
}
