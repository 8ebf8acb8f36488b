package memory_test

import (
	"testing"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/memory"
	"github.com/yare-io/yare/storage/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) storage.Store { return memory.New(memory.Config{}) })
}
