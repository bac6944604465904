package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"lightningrod/cmd/internal/api"
	"lightningrod/node"
	"lightningrod/node/store"
)

// backup asks the node that runs for a backup, or makes one of the files of one that does not.
func backup(ctx context.Context, cfg *config, stdout io.Writer) error {
	var made api.BackupFile
	err := api.NewClient(cfg.Listen.API).Do(ctx, "POST", "/backups", nil, &made, "")
	if errors.Is(err, api.ErrUnreachable) {
		err = locked(cfg, func() error {
			made, err = backupFiles(cfg)
			return err
		})
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, made.Path)
	return err
}

func backupFiles(cfg *config) (api.BackupFile, error) {
	path := filepath.Join(cfg.dir(), "node.db")
	if _, err := os.Lstat(path); err != nil {
		return api.BackupFile{}, err // Open would make one
	}
	s, err := store.Open(path)
	if err != nil {
		return api.BackupFile{}, explain(err)
	}
	defer s.Close()
	return api.WriteBackup(cfg.BackupDir, s.Backup)
}

// restore makes a database that may be old fit to run on.
func restore(cfg *config, keeper *seedKeeper, from string, stdout io.Writer) error {
	if _, err := os.Lstat(keeper.path()); err != nil {
		return exitError{exitSeed, fmt.Errorf("no seed in %s: it comes first, with rodd init --restore", cfg.dir())}
	}
	secret, err := keeper.open()
	if err != nil {
		return err
	}
	conf := cfg.node()
	conf.Seed = secret
	late, err := node.Restore(conf, from)
	if err != nil {
		return err
	}
	if err := keeper.settled(); err != nil { // the database knows
		return err
	}
	_, err = fmt.Fprintf(stdout, "The database is in place. Channels given up: %d. Nothing of them will be published; run rodd, so that their peers are asked to close them.\n", late)
	return err
}
