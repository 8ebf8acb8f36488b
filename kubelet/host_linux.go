package kubelet

import (
	"os"
	"strconv"
	"strings"
)

const (
	capSysAdmin    = 21
	capSysResource = 24
)

// capable says whether this process has a capability.
func capable(number uint) bool {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(data)) {
		if text, ok := strings.CutPrefix(line, "CapEff:"); ok {
			mask, err := strconv.ParseUint(strings.TrimSpace(text), 16, 64)
			return err == nil && mask&(1<<number) != 0
		}
	}
	return false
}

func mayMount() bool { return capable(capSysAdmin) }

// lowestOOMScore is the least out-of-memory score that may be given here: without the capability to lower scores, our own.
func lowestOOMScore() int64 {
	const least = -1000
	if capable(capSysResource) {
		return least
	}
	data, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return 0
	}
	own, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	if err != nil {
		return 0
	}
	return own
}
