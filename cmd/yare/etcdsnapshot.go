package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/yare-io/yare/storage/etcd"
	"github.com/yare-io/yare/storage/etcd/snapshots"
)

const (
	onDemandPrefix  = "on-demand"
	scheduledPrefix = "etcd-snapshot"
	// revisionBump is what etcd recommends: more than any cluster writes between
	// a snapshot and its end.
	revisionBump = 1_000_000_000
)

// snapshotOptions are the flags of a server about snapshots of its etcd.
type snapshotOptions struct {
	dir      string
	schedule snapshots.Schedule
	disabled bool
}

func (o *snapshotOptions) add(flags *pflag.FlagSet) {
	flags.StringVar(&o.dir, "etcd-snapshot-dir", "", "where snapshots of the embedded etcd are kept (default: snapshots in the data dir)")
	flags.StringVar(&o.schedule.Prefix, "etcd-snapshot-name", scheduledPrefix, "what the names of scheduled snapshots begin with")
	flags.StringVar(&o.schedule.Cron, "etcd-snapshot-schedule-cron", "0 */12 * * *", "when to take snapshots of the embedded etcd, as crontab has it")
	flags.IntVar(&o.schedule.Keep, "etcd-snapshot-retention", 5, "how many scheduled snapshots are kept")
	flags.BoolVar(&o.disabled, "etcd-disable-snapshots", false, "take no snapshots on a schedule")
}

// complete checks the schedule and turns it off where there is no embedded etcd.
func (o *snapshotOptions) complete(dataDir string, embedded bool) error {
	if o.dir == "" {
		o.dir = filepath.Join(dataDir, "snapshots")
	}
	if !embedded {
		o.disabled = true
	}
	if o.disabled {
		return nil
	}
	if err := o.schedule.Check(); err != nil {
		return fmt.Errorf("--etcd-snapshot-schedule-cron and --etcd-snapshot-retention: %w", err)
	}
	return nil
}

// run takes snapshots through the socket of the embedded etcd until ctx ends.
func (o *snapshotOptions) run(ctx context.Context, dataDir string, logger *slog.Logger) error {
	if o.disabled {
		return nil
	}
	dir := snapshotDir(o.dir, etcd.Config{Endpoints: []string{etcdSocket(dataDir)}})
	dir.Logger = logger.With("component", "etcd-snapshot")
	return dir.Run(ctx, o.schedule)
}

func snapshotDir(path string, config etcd.Config) *snapshots.Dir {
	return &snapshots.Dir{Path: path, Save: func(ctx context.Context, file string) error {
		return etcd.SaveSnapshot(ctx, config, file)
	}}
}

func etcdSocket(dataDir string) string {
	return "unix://" + filepath.Join(runDir(dataDir), "etcd.sock")
}

// snapshotCommand is what the subcommands of etcd-snapshot share.
type snapshotCommand struct {
	dataDir, dir string
	servers      []string
	tls          etcd.TLS
	out          io.Writer
}

func newEtcdSnapshotCommand() *cobra.Command {
	s := &snapshotCommand{}
	command := &cobra.Command{
		Use: "etcd-snapshot", GroupID: "cluster",
		Short: "Save, list, restore and prune snapshots of etcd",
		Long: `Snapshots have etcd's own format: one of any etcd can be restored here, and one
saved here by etcdutl. They are in the clear, with all secrets in them that the
cluster does not encrypt itself.`,
	}
	flags := command.PersistentFlags()
	flags.StringVar(&s.dataDir, "data-dir", defaultDataDir, "data dir of the server")
	flags.StringVar(&s.dir, "etcd-snapshot-dir", "", "where snapshots are kept (default: snapshots in the data dir)")
	command.PersistentPreRunE = func(cmd *cobra.Command, _ []string) (err error) {
		s.out = cmd.OutOrStdout()
		if s.dataDir, err = filepath.Abs(s.dataDir); err == nil && s.dir == "" {
			s.dir = filepath.Join(s.dataDir, "snapshots")
		}
		return err
	}
	command.AddCommand(s.saveCommand(), s.listCommand(), s.pruneCommand(), s.restoreCommand())
	return command
}

func (s *snapshotCommand) saveCommand() *cobra.Command {
	var name string
	command := &cobra.Command{
		Use: "save", Args: cobra.NoArgs,
		Short: "Take a snapshot of the etcd of a running server, or of an external one",
		RunE: func(cmd *cobra.Command, _ []string) error {
			config := etcd.Config{Endpoints: s.servers, TLS: s.tls}
			if len(config.Endpoints) == 0 {
				var err error
				if config, err = memberConfig(s.dataDir); err != nil {
					return err
				}
			}
			taken, err := snapshotDir(s.dir, config).Take(cmd.Context(), name)
			if err == nil {
				fmt.Fprintf(s.out, "saved %s, %d bytes\n", taken.Path, taken.Size)
			}
			return err
		},
	}
	flags := command.Flags()
	flags.StringVar(&name, "name", onDemandPrefix, "what the name of the snapshot begins with")
	flags.StringSliceVar(&s.servers, "etcd-servers", nil, "URL of an external etcd member (default: the embedded one)")
	flags.StringVar(&s.tls.CA, "etcd-cafile", "", "authority that vouches for etcd")
	flags.StringVar(&s.tls.Cert, "etcd-certfile", "", "client certificate for etcd")
	flags.StringVar(&s.tls.Key, "etcd-keyfile", "", "its private key")
	return command
}

func (s *snapshotCommand) listCommand() *cobra.Command {
	return &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Args: cobra.NoArgs, Short: "List the snapshots",
		RunE: func(*cobra.Command, []string) error {
			all, err := (&snapshots.Dir{Path: s.dir}).List("")
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(s.out, 0, 8, 3, ' ', 0)
			fmt.Fprintln(table, "NAME\tSIZE\tCREATED")
			for _, one := range all {
				fmt.Fprintf(table, "%s\t%d\t%s\n", one.Name, one.Size, one.Time.UTC().Format(time.RFC3339))
			}
			return table.Flush()
		},
	}
}

func (s *snapshotCommand) pruneCommand() *cobra.Command {
	var name string
	var keep int
	command := &cobra.Command{
		Use: "prune", Args: cobra.NoArgs, Short: "Remove all but the newest snapshots",
		RunE: func(*cobra.Command, []string) error {
			removed, err := (&snapshots.Dir{Path: s.dir}).Prune(name, keep)
			for _, one := range removed {
				fmt.Fprintf(s.out, "removed %s\n", one.Name)
			}
			return err
		},
	}
	command.Flags().StringVar(&name, "name", onDemandPrefix, "what the names of the snapshots begin with")
	command.Flags().IntVar(&keep, "snapshot-retention", 5, "how many snapshots to keep")
	return command
}

func (s *snapshotCommand) restoreCommand() *cobra.Command {
	var bump uint64
	command := &cobra.Command{
		Use: "restore SNAPSHOT", Args: cobra.ExactArgs(1),
		Short: "Make a snapshot the data of the server, which must be stopped",
		Long: `Makes a snapshot, named as in "ls" or by its path, the data of the embedded etcd.
What was there is kept beside it. Revisions go on above all that were ever given
out, so that clients notice and read again.`,
		RunE: func(_ *cobra.Command, args []string) error { return s.restore(args[0], bump) },
	}
	command.Flags().Uint64Var(&bump, "bump-revision", revisionBump, "how far above the snapshot's revisions the cluster goes on")
	return command
}

func (s *snapshotCommand) restore(name string, bump uint64) (err error) {
	path := name
	if filepath.Base(name) == name {
		path = filepath.Join(s.dir, name)
	}
	if err := os.MkdirAll(s.dataDir, 0o711); err != nil {
		return err
	}
	unlock, err := lockDataDir(s.dataDir)
	if err != nil {
		return fmt.Errorf("stop the server first: %w", err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	return restoreSnapshot(s.out, s.dataDir, path, bump)
}

// restoreSnapshot makes a snapshot the data of the embedded etcd, in a data dir
// that is locked, and keeps what was there beside it. It is a cluster of one.
func restoreSnapshot(out io.Writer, dataDir, path string, bump uint64) error {
	data := filepath.Join(dataDir, "etcd")
	fresh, old := data+".restoring", fmt.Sprintf("%s.before-%d", data, time.Now().Unix())
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	if err := etcd.RestoreSnapshot(path, fresh, bump, slog.New(slog.DiscardHandler)); err != nil {
		return errors.Join(err, os.RemoveAll(fresh))
	}
	if err := os.Rename(data, old); err == nil {
		fmt.Fprintf(out, "kept what was there as %s\n", old)
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Rename(fresh, data); err != nil {
		return err
	}
	fmt.Fprintf(out, "restored %s\n", path)
	return nil
}
