package kubeapiserver

import (
	"errors"
	"log/slog"
	"sort"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/apiserver/api"
	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/encrypted"
)

// Encryption say how values are encrypted at rest.
type Encryption struct {
	// File is the EncryptionConfiguration.
	File   string
	reload bool
}

// EncryptionAtRest is "on" where a file says how objects are encrypted, which
// may leave some or all in the clear, or "off".
func (o *Options) EncryptionAtRest() string {
	if o.encryption.File == "" {
		return "off"
	}
	return "on"
}

// encryptionReload is how often Kubernetes looks at the file.
const encryptionReload = time.Minute

func (o *Encryption) add(flags *pflag.FlagSet) {
	flags.StringVar(&o.File, "encryption-provider-config", "", "EncryptionConfiguration that says how objects are encrypted in the store")
	flags.BoolVar(&o.reload, "encryption-provider-config-automatic-reload", false, "put changes of that file in force without a restart")
}

// wrap puts encryption around a store when there is a configuration. A failure
// closes the store.
func (o *Encryption) wrap(store storage.Store, logger *slog.Logger) (storage.Store, error) {
	if o.File == "" {
		if o.reload {
			return nil, errors.Join(errors.New("--encryption-provider-config-automatic-reload needs --encryption-provider-config"), store.Close())
		}
		return store, nil
	}
	sealed, err := o.Seal(store, logger)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return sealed, nil
}

// Seal puts encryption around a store.
func (o *Encryption) Seal(store storage.Store, logger *slog.Logger) (*encrypted.Store, error) {
	config := encrypted.Config{File: o.File, ResourceOf: keyedResources().of, Logger: logger}
	if o.reload {
		config.ReloadInterval = encryptionReload
	}
	return encrypted.New(store, config)
}

// folders are the stored resources by the folder that their keys are in, the
// longest first.
type folders []folder

type folder struct {
	prefix   string
	resource schema.GroupResource
}

// RegistryRoot is what all keys of objects begin with.
const RegistryRoot = "/registry/"

func keyedResources() folders {
	var all folders
	for _, row := range api.Resources(api.Deps{}) {
		if row.StoragePrefix == "" {
			continue
		}
		resource := schema.GroupResource{Group: row.Kind.Group, Resource: row.Name}
		all = append(all, folder{prefix: RegistryRoot + row.StoragePrefix + "/", resource: resource})
	}
	sort.SliceStable(all, func(i, j int) bool { return len(all[i].prefix) > len(all[j].prefix) })
	return all
}

// of tells which resource a key belongs to. What is not built in is kept below
// its group and its name.
func (f folders) of(key string) (schema.GroupResource, bool) {
	for _, known := range f {
		if strings.HasPrefix(key, known.prefix) {
			return known.resource, true
		}
	}
	parts := strings.SplitN(strings.TrimPrefix(key, RegistryRoot), "/", 3)
	if strings.HasPrefix(key, RegistryRoot) && len(parts) == 3 && strings.Contains(parts[0], ".") {
		return schema.GroupResource{Group: parts[0], Resource: parts[1]}, true
	}
	return schema.GroupResource{}, false
}
