package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"lightningrod/chain/bitcoind"
	"lightningrod/chain/embedded"
	"lightningrod/cmd/internal/api"
	"lightningrod/node"
	"lightningrod/node/store"
)

// runNode runs the node until ctx ends or it ends by itself.
func runNode(ctx context.Context, cfg *config, keeper *seedKeeper, log *slog.Logger) (err error) {
	begin := time.Now()
	secret, err := keeper.open()
	if err != nil {
		return err
	}
	if keeper.unseen {
		log.Info("a new seed was made, for the chain in the same folder", "file", keeper.path())
	}
	backend, err := openChain(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer closeChain(backend, log)

	n, err := openNode(cfg, keeper, secret, backend, log)
	if err != nil {
		return err
	}
	defer func() {
		if e := n.Stop(); e != nil && err == nil {
			err = fmt.Errorf("the node stopped: %w", e)
		}
	}()
	daemon := &api.Daemon{
		Node: n, Params: cfg.params(), Alias: cfg.Alias, LSP: cfg.LSP, Backend: cfg.Chain.Backend, Version: version(), Backups: cfg.BackupDir,
	}
	if c, ok := backend.(*embedded.Chain); ok {
		daemon.Miner = c
	}
	server, err := api.New(daemon, cfg.dir(), log)
	if err != nil {
		return err
	}
	faces, err := openFaces(cfg, server, log, func() string { return progress(n) })
	if err != nil {
		server.Close()
		return err
	}
	defer faces.close(server)
	faces.serve()
	stopNews := goNews(n, log)
	defer stopNews()
	if err := startNode(ctx, n, log); err != nil {
		return err
	}
	if ctx.Err() != nil {
		log.Info("stopped while starting")
		return nil
	}
	faces.starting.over.Store(true)
	id := n.ID()
	log.Info("ready", "node", fmt.Sprintf("%x", id[:]), "network", cfg.Network, "chain", cfg.Chain.Backend, "height", n.Tip(),
		"listen", fmt.Sprint(n.Addrs()), "api", cfg.Listen.API, "after", time.Since(begin).Round(time.Millisecond).String())
	if err := notify("READY=1"); err != nil {
		log.Warn("systemd cannot be told", "error", err)
	}
	select {
	case <-ctx.Done():
		log.Info("stopping")
	case <-n.Done():
		return fmt.Errorf("the node ended: %w", n.Err())
	}
	_ = notify("STOPPING=1")
	return nil
}

// openNode opens the node's files.
func openNode(cfg *config, keeper *seedKeeper, secret []byte, backend node.Backend, log *slog.Logger) (n *node.Node, err error) {
	conf := cfg.node()
	conf.Seed, conf.Backend, conf.Log = secret, backend, log
	if conf.Origin, conf.Birthday, err = keeper.origin(); err != nil {
		return nil, err
	}
	if n, err = node.New(conf); err != nil {
		return nil, explain(err)
	}
	if err := keeper.settled(); err != nil { // the database knows now
		n.Stop()
		return nil, err
	}
	return n, nil
}

// explain gives what New refuses its exit status, and says what can be done.
func explain(err error) error {
	switch {
	case errors.Is(err, store.ErrLocked):
		return exitError{exitLocked, err}
	case errors.Is(err, store.ErrBackup), errors.Is(err, node.ErrOld):
		return exitError{exitOld, fmt.Errorf("%w: put the newest node.db back, or give the channels up to their peers with rodd restore", err)}
	}
	return err
}

// startNode catches up with the chain. That may take long, so that meanwhile it says how far it is: to the log, and to systemd, which would
// otherwise lose patience.
func startNode(ctx context.Context, n *node.Node, log *slog.Logger) error {
	started := make(chan error, 1)
	go func() { started <- n.Start(ctx) }()
	t := time.NewTicker(5 * time.Second)
	defer t.Stop()
	for {
		select {
		case err := <-started:
			if ctx.Err() != nil { // it was given up
				return nil
			}
			var op *net.OpError
			if errors.As(err, &op) && op.Op == "listen" {
				return fmt.Errorf("listen.p2p: %w", err)
			}
			return err
		case <-t.C:
			log.Info("starting", "progress", progress(n))
			_ = notify("STATUS=" + progress(n) + "\nEXTEND_TIMEOUT_USEC=30000000")
		}
	}
}

func progress(n *node.Node) string {
	at, of := n.CaughtUp()
	return fmt.Sprintf("block %d of %d", at, of)
}

// chainBackend is either backend.
type chainBackend interface {
	node.Backend
	Close() error
}

func openChain(ctx context.Context, cfg *config, log *slog.Logger) (chainBackend, error) {
	if cfg.Chain.Backend == "embedded" {
		return embedded.New(embedded.Config{Dir: filepath.Join(cfg.dir(), "chain")})
	}
	access, err := cfg.access()
	if err != nil {
		return nil, exitError{exitChain, err}
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.Bitcoind.Wait)
	defer cancel()
	backend, err := bitcoind.New(ctx, bitcoind.Config{Access: access, Params: cfg.params(), ZMQ: cfg.Bitcoind.ZMQ, Log: log})
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w, after bitcoind.wait %v", err, cfg.Bitcoind.Wait)
	}
	if err != nil {
		return nil, exitError{exitChain, err}
	}
	return backend, nil
}

// access is how to reach bitcoind.
func (c *config) access() (bitcoind.Access, error) {
	b := c.Bitcoind
	a := bitcoind.Access{Addr: b.Addr, Cookie: b.Cookie, User: b.User, Password: b.Password}
	if b.PasswordFile == "" {
		return a, nil
	}
	p, err := os.ReadFile(b.PasswordFile)
	if err != nil {
		return a, fmt.Errorf("bitcoind.password-file: %w", err)
	}
	a.Password = strings.TrimRight(string(p), "\r\n")
	return a, nil
}

// closePatience is how long the chain may take to close. On a full disk the embedded chain's database waits for ever
// (goleveldb's DB.Close, once a write has failed); its journal makes the next start good.
const closePatience = 2 * time.Second

func closeChain(b chainBackend, log *slog.Logger) {
	done := make(chan error, 1)
	go func() { done <- b.Close() }()
	select {
	case err := <-done:
		if err != nil {
			log.Warn("closing the chain", "error", err)
		}
	case <-time.After(closePatience):
		log.Warn("closing the chain takes too long, it is left as it is")
	}
}
