package faulttest

import (
	"errors"
	"os"
	"syscall"
)

// Fill takes all the room that is left on a file system, with a file that can be
// removed again.
func Fill(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	block := make([]byte, 1<<20)
	for {
		n, err := file.Write(block)
		switch {
		case errors.Is(err, syscall.ENOSPC) && n == 0 && len(block) == 1:
			return nil
		case errors.Is(err, syscall.ENOSPC):
			block = block[:max(len(block)/2, 1)]
		case err != nil:
			return err
		}
	}
}
