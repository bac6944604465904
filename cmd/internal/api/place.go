package api

import (
	"fmt"
	"os"
	"path/filepath"
)

// DefaultDir is where a node keeps its files if nobody says otherwise.
func DefaultDir() (string, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no home folder, give a data folder: %w", err)
	}
	return filepath.Join(home, ".rod"), nil
}
