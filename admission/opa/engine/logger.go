package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"

	"github.com/open-policy-agent/opa/v1/logging"
)

// logger lets OPA write into this process's log. Its messages are OPA's.
type logger struct {
	slog  *slog.Logger
	level *slog.LevelVar
}

func newLogger(to *slog.Logger) logging.Logger {
	level := &slog.LevelVar{}
	level.Set(slog.LevelDebug)
	return logger{to.With("component", "opa"), level}
}

func (l logger) log(level slog.Level, format string, args []any) {
	ctx := context.Background()
	if level < l.level.Level() || !l.slog.Enabled(ctx, level) {
		return
	}
	message := format
	if len(args) > 0 {
		message = fmt.Sprintf(format, args...)
	}
	l.slog.Log(ctx, level, message)
}

// Debug implements logging.Logger.
func (l logger) Debug(format string, args ...any) { l.log(slog.LevelDebug, format, args) }

// Info implements logging.Logger.
func (l logger) Info(format string, args ...any) { l.log(slog.LevelInfo, format, args) }

// Warn implements logging.Logger.
func (l logger) Warn(format string, args ...any) { l.log(slog.LevelWarn, format, args) }

// Error implements logging.Logger.
func (l logger) Error(format string, args ...any) { l.log(slog.LevelError, format, args) }

// WithFields implements logging.Logger.
func (l logger) WithFields(fields map[string]any) logging.Logger {
	args := make([]any, 0, 2*len(fields))
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		args = append(args, key, readable(fields[key]))
	}
	return logger{l.slog.With(args...), l.level}
}

// document is a value that logs of text, too, show as JSON: decisions are to be
// read by machines.
type document struct{ any }

// readable makes documents of values that text cannot show.
func readable(value any) any {
	switch value.(type) {
	case error, fmt.Stringer:
		return value
	}
	switch reflect.ValueOf(value).Kind() {
	case reflect.Map, reflect.Slice, reflect.Struct, reflect.Pointer:
		return document{value}
	}
	return value
}

// MarshalJSON implements json.Marshaler.
func (d document) MarshalJSON() ([]byte, error) { return json.Marshal(d.any) }

// MarshalText implements encoding.TextMarshaler.
func (d document) MarshalText() ([]byte, error) { return json.Marshal(d.any) }

var levels = map[logging.Level]slog.Level{
	logging.Debug: slog.LevelDebug, logging.Info: slog.LevelInfo, logging.Warn: slog.LevelWarn, logging.Error: slog.LevelError,
}

// GetLevel implements logging.Logger.
func (l logger) GetLevel() logging.Level {
	for _, level := range []logging.Level{logging.Debug, logging.Info, logging.Warn} {
		if at := levels[level]; at >= l.level.Level() && l.slog.Enabled(context.Background(), at) {
			return level
		}
	}
	return logging.Error
}

// SetLevel implements logging.Logger. It can make OPA say less than the
// process's log would take, not more.
func (l logger) SetLevel(level logging.Level) {
	if at, ok := levels[level]; ok {
		l.level.Set(at)
	}
}
