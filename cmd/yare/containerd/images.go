package containerd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"time"
)

// ImportAll imports every *.tar in the folders, in the order of their names.
// Archives that have not changed since their last import are passed over. A
// folder that does not exist is empty.
func (p *Process) ImportAll(ctx context.Context, folders ...string) error {
	record := filepath.Join(p.Root, "imported.json")
	imported, err := readRecord(record)
	if err != nil {
		return err
	}
	for _, folder := range folders {
		archives, err := filepath.Glob(filepath.Join(folder, "*.tar"))
		if err != nil {
			return err
		}
		sort.Strings(archives)
		for _, archive := range archives {
			stamp, err := stampOf(archive)
			if err != nil {
				return err
			}
			if imported[archive] == stamp {
				continue
			}
			begin := time.Now()
			if err := p.Import(ctx, archive); err != nil {
				return err
			}
			p.Logger.Info("imported images", "archive", archive, "took", time.Since(begin).Round(time.Millisecond))
			imported[archive] = stamp
			if err := writeRecord(record, imported); err != nil {
				return err
			}
		}
	}
	return nil
}

func stampOf(archive string) (string, error) {
	info, err := os.Stat(archive)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d %d", info.Size(), info.ModTime().UnixNano()), nil
}

func readRecord(file string) (map[string]string, error) {
	record := map[string]string{}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return record, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &record); err != nil {
		return nil, fmt.Errorf("%s: %w: remove the file to import all images again", file, err)
	}
	return record, nil
}

func writeRecord(file string, record map[string]string) error {
	data, err := json.MarshalIndent(record, "", "  ")
	if err != nil {
		return err
	}
	temporary := file + ".new"
	if err := os.WriteFile(temporary, data, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, file)
}
