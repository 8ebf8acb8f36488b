package main

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

// encryptionOptions say how values are encrypted at rest.
type encryptionOptions struct {
	file   string
	reload bool
}

// encryptionReload is how often Kubernetes looks at the file.
const encryptionReload = time.Minute

func (o *encryptionOptions) add(flags *pflag.FlagSet) {
	flags.StringVar(&o.file, "encryption-provider-config", "", "EncryptionConfiguration that says how objects are encrypted in the store")
	flags.BoolVar(&o.reload, "encryption-provider-config-automatic-reload", false, "put changes of that file in force without a restart")
}

// wrap puts encryption around a store when there is a configuration. A failure
// closes the store.
func (o *encryptionOptions) wrap(store storage.Store, logger *slog.Logger) (storage.Store, error) {
	if o.file == "" {
		if o.reload {
			return nil, errors.Join(errors.New("--encryption-provider-config-automatic-reload needs --encryption-provider-config"), store.Close())
		}
		return store, nil
	}
	sealed, err := o.seal(store, logger)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return sealed, nil
}

func (o *encryptionOptions) seal(store storage.Store, logger *slog.Logger) (*encrypted.Store, error) {
	config := encrypted.Config{File: o.file, ResourceOf: keyedResources().of, Logger: logger}
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

const registryRoot = "/registry/"

func keyedResources() folders {
	var all folders
	for _, row := range api.Resources(api.Deps{}) {
		if row.StoragePrefix == "" {
			continue
		}
		resource := schema.GroupResource{Group: row.Kind.Group, Resource: row.Name}
		all = append(all, folder{prefix: registryRoot + row.StoragePrefix + "/", resource: resource})
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
	parts := strings.SplitN(strings.TrimPrefix(key, registryRoot), "/", 3)
	if strings.HasPrefix(key, registryRoot) && len(parts) == 3 && strings.Contains(parts[0], ".") {
		return schema.GroupResource{Group: parts[0], Resource: parts[1]}, true
	}
	return schema.GroupResource{}, false
}
