package jwt_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/yare-io/yare/apiserver/reload"
)

// TestTheFileIsFollowed: issuers come and go with the file while the server
// runs, and a bad file changes nothing.
func TestTheFileIsFollowed(t *testing.T) {
	first, second := newProvider(t), newProvider(t)
	file := filepath.Join(t.TempDir(), "authentication.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	now := clocktesting.NewFakeClock(time.Now())
	write(first.configuration(bySubject))
	a := first.authenticator(bySubject, now)
	a.Follow(file, []byte(first.configuration(bySubject)), []string{"https://kubernetes.default.svc"})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		a.Run(ctx, slog.New(slog.DiscardHandler))
	}()
	defer func() { cancel(); <-ended }()
	takes := func(p *provider) bool {
		_, ok, _ := a.AuthenticateToken(t.Context(), p.token(nil))
		return ok
	}
	eventually := func(what string, holds func() bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("in vain: %s", what)
			}
			now.Step(reload.Interval)
		}
	}
	if !takes(first) || takes(second) {
		t.Fatal("not as the file says at the start")
	}
	write(second.configuration(bySubject))
	eventually("the second issuer has taken the first's place", func() bool { return takes(second) && !takes(first) })
	write("jwt: nonsense")
	// The next good file shows that the bad one has been looked at.
	for range 3 {
		now.Step(reload.Interval)
		if !takes(second) {
			t.Fatal("a bad file took the issuer away")
		}
	}
	write(first.configuration(bySubject))
	eventually("the first issuer is back", func() bool { return takes(first) && !takes(second) })
}
