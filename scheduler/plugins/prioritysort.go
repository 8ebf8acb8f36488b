package plugins

// PrioritySort is the order of the queue: by priority, then by waiting time.
// The queue itself keeps it; the plugin is its name in configurations.
type PrioritySort struct{}

// Name returns the plugin's name in configurations.
func (PrioritySort) Name() string { return "PrioritySort" }
