package etcd

import (
	"context"
	"log/slog"

	"go.uber.org/zap/zapcore"
)

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

// Write implements zapcore.Core.
func (c zapCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	c.logger.Log(context.Background(), slogLevel(entry.Level), entry.Message, attributes(fields)...)
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
