package worker

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestOnlyWhatIsNotRoutineIsAWarning(t *testing.T) {
	resource := schema.GroupResource{Resource: "endpoints"}
	conflict := apierrors.NewConflict(resource, "a", errors.New("changed"))
	exists := apierrors.NewAlreadyExists(resource, "a")
	for _, c := range []struct {
		err  error
		want slog.Level
	}{
		{conflict, slog.LevelDebug},
		{fmt.Errorf("update: %w", conflict), slog.LevelDebug},
		{exists, slog.LevelDebug},
		{ErrAgain, slog.LevelDebug},
		{errors.Join(conflict, exists), slog.LevelDebug},
		{errors.Join(conflict, errors.New("disk full")), slog.LevelWarn},
		{errors.New("disk full"), slog.LevelWarn},
	} {
		if got := levelOf(c.err); got != c.want {
			t.Errorf("%v is logged as %s, want %s", c.err, got, c.want)
		}
	}
}
