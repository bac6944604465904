//go:build !unix

package store

import (
	"errors"
	"io"
)

// lockFile refuses: without a lock that dies with the process two nodes could sign from one file.
func lockFile(string) (io.Closer, error) {
	return nil, errors.New("this system has no file lock that the store can use")
}

func syncDir(string) error { return nil }
