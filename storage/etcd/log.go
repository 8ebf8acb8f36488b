package etcd

import (
	"context"
	"log/slog"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func zapLogger(config Config) *zap.Logger {
	return zap.New(zapCore{logger: config.Logger.With("component", "etcd")})
}

// zapCore hands what etcd logs to slog. What etcd calls information is chatter
// to everybody else and becomes debug output.
type zapCore struct {
	logger *slog.Logger
}

func slogLevel(level zapcore.Level) slog.Level {
	switch {
	case level >= zapcore.ErrorLevel:
		return slog.LevelError
	case level == zapcore.WarnLevel:
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

// Enabled implements zapcore.Core.
func (c zapCore) Enabled(level zapcore.Level) bool {
	// Even slog's debug level has no use for zap's.
	return level > zapcore.DebugLevel && c.logger.Enabled(context.Background(), slogLevel(level))
}

// With implements zapcore.Core.
func (c zapCore) With(fields []zapcore.Field) zapcore.Core {
	return zapCore{c.logger.With(attributes(fields)...)}
}

// Check implements zapcore.Core.
func (c zapCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(entry.Level) {
		return checked.AddCore(entry, c)
	}
	return checked
}

// harmless is what etcd warns of although it is meant to be so: how it is
// embedded here, the first start on an empty folder, sockets closed when it
// stops, and what is answered to a member that asks to join too early. Of a lost
// peer it tells once more when it counts as inactive.
var harmless = map[string]bool{
	"Running http and grpc server on single port. This is not recommended for production.":                                  true,
	"simple token is not cryptographically signed":                                                                          true,
	"Failed to detect schema version":                                                                                       true,
	"failed to update storage version":                                                                                      true,
	"stopped insecure grpc server due to error":                                                                             true,
	"stopping insecure grpc server due to error":                                                                            true,
	"scheme is http or unix while key and cert files are present; ignoring key and cert files":                              true,
	"scheme is http or unix while --client-cert-auth is enabled; ignoring client cert auth for this URL":                    true,
	"setting up serving from embedded etcd failed.":                                                                         true,
	"Validation on configuration change failed":                                                                             true,
	"lost TCP streaming connection with remote peer":                                                                        true,
	"closed TCP streaming connection with remote peer":                                                                      true,
	"prober detected unhealthy status":                                                                                      true,
	"rejecting member add request; local member has not been connected to majority peers, reconfigure breaks active quorum": true,
}

// Write implements zapcore.Core.
func (c zapCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	level := slogLevel(entry.Level)
	if harmless[entry.Message] {
		level = slog.LevelDebug
	}
	c.logger.Log(context.Background(), level, entry.Message, attributes(fields)...)
	return nil
}

// Sync implements zapcore.Core.
func (c zapCore) Sync() error { return nil }

func attributes(fields []zapcore.Field) []any {
	encoder := zapcore.NewMapObjectEncoder()
	for _, field := range fields {
		field.AddTo(encoder)
	}
	attributes := make([]any, 0, 2*len(fields))
	for _, field := range fields {
		attributes = append(attributes, field.Key, encoder.Fields[field.Key])
	}
	return attributes
}
