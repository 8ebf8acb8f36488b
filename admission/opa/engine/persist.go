package engine

import "strings"

// keepBundles makes every bundle that comes from elsewhere be kept on disk, so
// that the last good one is there at the next start.
func keepBundles(bundles any) {
	all, _ := bundles.(map[string]any)
	for _, bundle := range all {
		if source, ok := bundle.(map[string]any); ok {
			keepByDefault(source)
		}
	}
}

// fileLimit is how large a file of a bundle may be unless the configuration says
// otherwise, in bytes.
const fileLimit = 64 << 20

// keepByDefault leaves alone what is on disk already, and what says otherwise;
// it also bounds what a bundle's files may unpack to.
func keepByDefault(source map[string]any) {
	if source["size_limit_bytes"] == nil {
		source["size_limit_bytes"] = fileLimit
	}
	resource, _ := source["resource"].(string)
	if _, set := source["persist"]; !set && !strings.HasPrefix(resource, fileScheme) && !strings.HasPrefix(resource, layoutScheme) {
		source["persist"] = true
	}
}
