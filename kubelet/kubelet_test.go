package kubelet_test

import (
	"os"
	"testing"

	"github.com/yare-io/yare/kubelet/kubelettest"
)

func TestMain(m *testing.M) { os.Exit(kubelettest.Main(m)) }
