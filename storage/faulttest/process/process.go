// Package process runs the servers of tests. Each ends with the test binary,
// however that ends.
package process

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// Process is a server under way.
type Process struct {
	*os.Process
	// Exited gets the result of the process when it has ended, then is closed.
	Exited <-chan error
}

// Start starts a command. It sets the command's Pdeathsig and keeps the rest of
// its SysProcAttr.
func Start(command *exec.Cmd) (*Process, error) {
	if command.SysProcAttr == nil {
		command.SysProcAttr = &syscall.SysProcAttr{}
	}
	command.SysProcAttr.Pdeathsig = syscall.SIGKILL
	started, exited := make(chan error, 1), make(chan error, 1)
	go func() {
		// The signal comes when the thread ends that started the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(exited)
		err := command.Start()
		started <- err
		if err == nil {
			exited <- command.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return &Process{Process: command.Process, Exited: exited}, nil
}

// Kill ends the process as a crash does, and returns when it has ended.
func (p *Process) Kill() error {
	if err := p.Process.Kill(); err != nil {
		select {
		case <-p.Exited:
			return nil // by itself
		default:
			return err
		}
	}
	<-p.Exited
	return nil
}

// Pause stops the process where it is, until Resume.
func (p *Process) Pause() error { return p.Signal(syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (p *Process) Resume() error { return p.Signal(syscall.SIGCONT) }
