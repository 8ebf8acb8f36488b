package kubeapiserver

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apiserver/pkg/audit/policy"

	"github.com/yare-io/yare/apiserver/audit"
)

// auditOptions say what of the requests is written down, and where.
type auditOptions struct {
	policyFile string

	log                  audit.LogConfig
	format               string
	logMode, webhookMode string
	logBatch, hookBatch  batchOptions
	hook                 audit.WebhookConfig
	logTruncate          truncateOptions
	hookTruncate         truncateOptions
	logVersion           string
	hookVersion          string

	// backends are made by auditor, and run by the server.
	backends []audit.Backend
}

// batchOptions say how events wait, and whether batches are held back.
type batchOptions struct {
	audit.BatchConfig
	throttle bool
}

// truncateOptions say what is too large.
type truncateOptions struct {
	enabled            bool
	maxEvent, maxBatch int
}

// The modes of a backend.
const (
	batchMode    = "batch"
	blockingMode = "blocking"
	strictMode   = "blocking-strict"
)

func (o *auditOptions) add(flags *pflag.FlagSet) {
	flags.StringVar(&o.policyFile, "audit-policy-file", "", "file with the audit.k8s.io/v1 Policy that says what is written down")
	flags.StringVar(&o.log.Path, "audit-log-path", "", "file for audit events, - for the standard output")
	flags.StringVar(&o.format, "audit-log-format", string(audit.JSON), "json or legacy")
	flags.IntVar(&o.log.MaxMegabytes, "audit-log-maxsize", 100, "size in megabytes at which the log is put aside and begun anew")
	flags.IntVar(&o.log.MaxBackups, "audit-log-maxbackup", 0, "how many old logs to keep; 0: all")
	flags.IntVar(&o.log.MaxAgeDays, "audit-log-maxage", 0, "how many days to keep old logs; 0: for ever")
	flags.BoolVar(&o.log.Compress, "audit-log-compress", false, "compress old logs with gzip")
	flags.StringVar(&o.logMode, "audit-log-mode", blockingMode, "batch, blocking or blocking-strict")
	flags.StringVar(&o.hook.Kubeconfig, "audit-webhook-config-file", "", "kubeconfig of the server that audit events are sent to")
	flags.StringVar(&o.webhookMode, "audit-webhook-mode", batchMode, "batch, blocking or blocking-strict")
	flags.DurationVar(&o.hook.Backoff, "audit-webhook-initial-backoff", 10*time.Second, "pause before a failed request is sent again")
	flags.StringVar(&o.logVersion, "audit-log-version", auditVersion, "version of the events in the log: audit.k8s.io/v1")
	flags.StringVar(&o.hookVersion, "audit-webhook-version", auditVersion, "version of the events that are sent: audit.k8s.io/v1")
	o.logTruncate.add(flags, "audit-log")
	o.hookTruncate.add(flags, "audit-webhook")
	addBatch(flags, "audit-log", &o.logBatch, audit.BatchConfig{Buffer: 10_000, MaxSize: 1})
	addBatch(flags, "audit-webhook", &o.hookBatch, audit.BatchConfig{Buffer: 10_000, MaxSize: 400, MaxWait: 30 * time.Second, QPS: 10, Burst: 15})
}

// auditVersion is the one version of events.
const auditVersion = "audit.k8s.io/v1"

func (o *truncateOptions) add(flags *pflag.FlagSet, prefix string) {
	flags.BoolVar(&o.enabled, prefix+"-truncate-enabled", false, "drop the bodies of events that are too large, and events that still are")
	flags.IntVar(&o.maxBatch, prefix+"-truncate-max-batch-size", 10<<20, "largest batch in bytes when truncating")
	flags.IntVar(&o.maxEvent, prefix+"-truncate-max-event-size", 100<<10, "largest event in bytes when truncating")
}

func addBatch(flags *pflag.FlagSet, prefix string, b *batchOptions, d audit.BatchConfig) {
	flags.IntVar(&b.Buffer, prefix+"-batch-buffer-size", d.Buffer, "how many events may wait to be batched")
	flags.IntVar(&b.MaxSize, prefix+"-batch-max-size", d.MaxSize, "most events of a batch")
	flags.DurationVar(&b.MaxWait, prefix+"-batch-max-wait", d.MaxWait, "longest wait for a batch to fill")
	flags.BoolVar(&b.throttle, prefix+"-batch-throttle-enable", d.QPS > 0, "hold batches back that come too fast")
	flags.Float32Var(&b.QPS, prefix+"-batch-throttle-qps", d.QPS, "most batches a second")
	flags.IntVar(&b.Burst, prefix+"-batch-throttle-burst", d.Burst, "how many batches may go at once")
}

// auditor returns nil when nothing is to be written down.
func (o *auditOptions) auditor(logger *slog.Logger) (*audit.Auditor, error) {
	if o.policyFile == "" {
		if o.log.Path != "" || o.hook.Kubeconfig != "" {
			return nil, errors.New("--audit-log-path and --audit-webhook-config-file need --audit-policy-file")
		}
		return nil, nil
	}
	for flag, version := range map[string]string{"audit-log-version": o.logVersion, "audit-webhook-version": o.hookVersion} {
		if version != auditVersion {
			return nil, fmt.Errorf("--%s must be %s, not %q", flag, auditVersion, version)
		}
	}
	rules, err := policy.LoadPolicyFromFile(o.policyFile)
	if err != nil {
		return nil, fmt.Errorf("--audit-policy-file: %w", err)
	}
	if o.log.Path != "" {
		o.log.Format, o.log.Strict, o.log.Logger = audit.Format(o.format), o.logMode == strictMode, logger
		if o.log.Format != audit.JSON && o.log.Format != audit.Legacy {
			return nil, fmt.Errorf("--audit-log-format must be json or legacy, not %q", o.format)
		}
		log, err := audit.NewLog(o.log)
		if err != nil {
			return nil, err
		}
		if err := o.use("audit-log", o.logMode, o.logBatch, o.logTruncate, log, logger); err != nil {
			return nil, err
		}
	}
	if o.hook.Kubeconfig != "" {
		o.hook.Strict = o.webhookMode == strictMode
		hook, err := audit.NewWebhook(o.hook)
		if err != nil {
			return nil, err
		}
		if err := o.use("audit-webhook", o.webhookMode, o.hookBatch, o.hookTruncate, hook, logger); err != nil {
			return nil, err
		}
	}
	return audit.New(rules, nil, o.backends...), nil
}

// use adds a backend in its mode.
func (o *auditOptions) use(prefix, mode string, batch batchOptions, truncate truncateOptions, backend audit.Backend, logger *slog.Logger) error {
	if truncate.enabled {
		if truncate.maxEvent <= 0 || truncate.maxBatch < truncate.maxEvent {
			return fmt.Errorf("--%s-truncate-max-event-size must be above 0 and at most --%s-truncate-max-batch-size", prefix, prefix)
		}
		backend = &audit.Truncate{MaxEvent: truncate.maxEvent, MaxBatch: truncate.maxBatch, To: backend}
	}
	switch mode {
	case batchMode:
		if batch.Buffer <= 0 || batch.MaxSize <= 0 {
			return fmt.Errorf("--%s-batch-buffer-size and --%s-batch-max-size must be above 0", prefix, prefix)
		}
		batch.Logger = logger
		if !batch.throttle {
			batch.QPS = 0
		}
		backend = audit.NewBatch(batch.BatchConfig, backend)
	case blockingMode, strictMode:
	default:
		return fmt.Errorf("--%s-mode must be batch, blocking or blocking-strict, not %q", prefix, mode)
	}
	o.backends = append(o.backends, backend)
	return nil
}
