package volume

import (
	"fmt"
	"os"

	v1 "k8s.io/api/core/v1"
)

// File is one file of a volume made from API objects.
type File struct {
	Data []byte
	Mode os.FileMode
	// UID, if set, owns the file: a token that only its container's user may read.
	UID *int64
}

// pick lays out the keys of an object: all of them, or the items asked for.
func pick(data map[string][]byte, items []v1.KeyToPath, mode int32, optional bool, what string) (map[string]File, error) {
	files := map[string]File{}
	if len(items) == 0 {
		for key, value := range data {
			files[key] = File{Data: value, Mode: os.FileMode(mode)}
		}
		return files, nil
	}
	for _, item := range items {
		value, ok := data[item.Key]
		if !ok && optional {
			continue
		}
		if !ok {
			return nil, fmt.Errorf("%s references non-existent config key: %s", what, item.Key)
		}
		fileMode := mode
		if item.Mode != nil {
			fileMode = *item.Mode
		}
		files[item.Path] = File{Data: value, Mode: os.FileMode(fileMode)}
	}
	return files, nil
}

func modeOr(mode *int32, usual int32) int32 {
	if mode == nil {
		return usual
	}
	return *mode
}

func isTrue(b *bool) bool { return b != nil && *b }
