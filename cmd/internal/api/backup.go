package api

import (
	"os"
	"path/filepath"
	"time"
)

// BackupFile is a backup that was written on the node's machine.
type BackupFile struct {
	Path string `json:"path" doc:"on the node's machine"`
	Size int64  `json:"size_bytes"`
}

// Backup writes a backup of the database. Where is the operator's choice and not the caller's.
func (d *Daemon) Backup() (BackupFile, error) { return WriteBackup(d.Backups, d.Node.Backup) }

// WriteBackup has f write a backup into dir, under the time as its name.
func WriteBackup(dir string, f func(path string) error) (BackupFile, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return BackupFile{}, &Error{Code: Internal, Message: err.Error()}
	}
	path := filepath.Join(dir, "node-"+time.Now().UTC().Format("20060102T150405.000Z")+".db")
	if err := f(path); err != nil {
		return BackupFile{}, &Error{Code: Internal, Message: err.Error()}
	}
	info, err := os.Stat(path)
	if err != nil {
		return BackupFile{}, &Error{Code: Internal, Message: err.Error()}
	}
	return BackupFile{Path: path, Size: info.Size()}, nil
}
