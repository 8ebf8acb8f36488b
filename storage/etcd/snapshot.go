package etcd

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/google/uuid"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"
)

// SaveSnapshot writes what an external cluster, or an embedded server that
// listens, has at one revision into a file, in the format of etcdctl snapshot
// save. The file is there whole, and checked, or not at all.
func SaveSnapshot(ctx context.Context, config Config, path string) (err error) {
	config, err = config.withDefaults()
	if err != nil {
		return err
	}
	client, err := connect(config, zap.NewNop())
	if err != nil {
		return err
	}
	defer client.Close()
	part := path + ".part"
	defer os.Remove(part)
	stream, err := client.SnapshotWithVersion(ctx)
	if err != nil {
		return fmt.Errorf("save snapshot: %w", err)
	}
	defer stream.Snapshot.Close()
	if err := writeSynced(part, stream.Snapshot); err != nil {
		return fmt.Errorf("save snapshot: %w", err)
	}
	if err := CheckSnapshot(part); err != nil {
		return fmt.Errorf("save snapshot: %w", err)
	}
	if err := errors.Join(os.Rename(part, path), syncDir(filepath.Dir(path))); err != nil {
		return fmt.Errorf("save snapshot: %w", err)
	}
	return nil
}

// writeSynced writes a file that only its owner can read, for there are secrets
// in it.
func writeSynced(path string, from io.Reader) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, from)
	return errors.Join(err, file.Sync(), file.Close())
}

func syncDir(dir string) error {
	file, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

// page is what the database under etcd writes in: a snapshot is many of them,
// and a hash of all after the last.
const page = 512

// ErrDamaged is a snapshot that is not as it was saved.
var ErrDamaged = errors.New("the snapshot is damaged: its hash does not match")

// CheckSnapshot compares a snapshot with the hash at its end.
func CheckSnapshot(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if info.Size()%page != sha256.Size {
		return fmt.Errorf("%s has no hash at its end: %w", path, ErrDamaged)
	}
	hash := sha256.New()
	if _, err := io.CopyN(hash, file, info.Size()-sha256.Size); err != nil {
		return err
	}
	want, err := io.ReadAll(file)
	if err != nil {
		return err
	}
	if !bytes.Equal(hash.Sum(nil), want) {
		return fmt.Errorf("%s: %w", path, ErrDamaged)
	}
	return nil
}

// RestoreSnapshot makes the data of an embedded server out of a snapshot, which
// may come from any etcd, in a directory that does not exist. Revisions go on
// bump above those of the snapshot, and all before is compacted: so clients
// that saw more than the snapshot has notice, and read again. A bump of zero
// leaves the revisions as they are.
func RestoreSnapshot(path, dir string, bump uint64, logger *slog.Logger) error {
	if err := CheckSnapshot(path); err != nil {
		return fmt.Errorf("restore snapshot: %w", err)
	}
	err := snapshot.NewV3(zap.New(zapCore{logger: logger.With("component", "etcd")})).Restore(snapshot.RestoreConfig{
		SnapshotPath: path, OutputDataDir: dir,
		Name: member, PeerURLs: []string{peerURL}, InitialCluster: member + "=" + peerURL, InitialClusterToken: uuid.NewString(),
		RevisionBump: bump, MarkCompacted: bump > 0,
	})
	if err != nil {
		return fmt.Errorf("restore snapshot: %w", err)
	}
	return nil
}
