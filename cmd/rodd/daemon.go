package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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
	backend, err := openChain(ctx, cfg, log)
	if err != nil {
		return exitError{exitChain, err}
	}
	defer closeChain(backend, log)

	conf := cfg.node()
	conf.Seed, conf.Backend, conf.Log = secret, backend, log
	n, err := node.New(conf)
	if errors.Is(err, store.ErrLocked) {
		return exitError{exitLocked, err}
	}
	if err != nil {
		return err
	}
	defer func() {
		if e := n.Stop(); e != nil && err == nil {
			err = fmt.Errorf("the node stopped: %w", e)
		}
	}()
	daemon := &api.Daemon{Node: n, Params: conf.Params, Alias: cfg.Alias, LSP: cfg.LSP, Backend: cfg.Chain.Backend, Version: version()}
	if c, ok := backend.(*embedded.Chain); ok {
		daemon.Miner = c
	}
	server, err := api.New(daemon, cfg.dir(), log)
	if err != nil {
		return err
	}
	faces, err := openFaces(cfg, server, log)
	if err != nil {
		server.Close()
		return err
	}
	defer faces.close(server)
	if err := n.Start(ctx); err != nil {
		return err
	}
	faces.serve()
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

// chainBackend is either backend.
type chainBackend interface {
	node.Backend
	Close() error
}

func openChain(ctx context.Context, cfg *config, log *slog.Logger) (chainBackend, error) {
	if cfg.Chain.Backend == "embedded" {
		return embedded.New(embedded.Config{Dir: filepath.Join(cfg.dir(), "chain")})
	}
	b := cfg.Bitcoind
	access := bitcoind.Access{Addr: b.Addr, Cookie: b.Cookie, User: b.User, Password: b.Password}
	if b.PasswordFile != "" {
		p, err := os.ReadFile(b.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("bitcoind.password-file: %w", err)
		}
		access.Password = strings.TrimRight(string(p), "\r\n")
	}
	ctx, cancel := context.WithTimeout(ctx, b.Wait)
	defer cancel()
	return bitcoind.New(ctx, bitcoind.Config{Access: access, Params: cfg.params(), Log: log})
}

// closePatience is how long the chain may take to close. On a full disk the embedded chain's database waits for ever
// (goleveldb's DB.Close, once a write has failed); its journal makes the next start good.
const closePatience = 5 * time.Second

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

// faces are where the API is served.
type faces struct {
	log     *slog.Logger
	servers []*http.Server
	on      []net.Listener
}

func openFaces(cfg *config, s *api.Server, log *slog.Logger) (*faces, error) {
	f := &faces{log: log}
	sock, err := listenUnix(cfg.Listen.API)
	if err != nil {
		return nil, fmt.Errorf("listen.api: %w", err)
	}
	f.add(sock, s.Handler(true))
	if cfg.Listen.TLS != "" {
		cert, err := certificate(cfg.dir(), cfg.Listen.TLSNames, time.Now())
		if err != nil {
			return nil, f.fail(fmt.Errorf("listen.tls: %w", err))
		}
		l, err := tls.Listen("tcp", cfg.Listen.TLS, &tls.Config{
			Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2", "http/1.1"},
		})
		if err != nil {
			return nil, f.fail(fmt.Errorf("listen.tls: %w", err))
		}
		f.add(l, s.Handler(false))
	}
	if cfg.Listen.Metrics != "" {
		l, err := net.Listen("tcp", cfg.Listen.Metrics)
		if err != nil {
			return nil, f.fail(fmt.Errorf("listen.metrics: %w", err))
		}
		f.add(l, s.Metrics())
	}
	return f, nil
}

func (f *faces) add(l net.Listener, h http.Handler) {
	f.on = append(f.on, l)
	f.servers = append(f.servers, &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(f.log.Handler(), slog.LevelDebug),
	})
}

func (f *faces) fail(err error) error {
	for _, l := range f.on {
		l.Close()
	}
	return err
}

func (f *faces) serve() {
	for i, s := range f.servers {
		go func() {
			if err := s.Serve(f.on[i]); !errors.Is(err, http.ErrServerClosed) {
				f.log.Error("the API is no longer served", "address", f.on[i].Addr(), "error", err)
			}
		}()
	}
}

// drainPatience is how long requests that run may take when the node ends.
const drainPatience = 10 * time.Second

// close drains: nothing new is begun, what runs may finish.
func (f *faces) close(s *api.Server) {
	s.Drain()
	ctx, cancel := context.WithTimeout(context.Background(), drainPatience)
	defer cancel()
	for i, hs := range f.servers {
		if err := hs.Shutdown(ctx); err != nil {
			hs.Close()
		}
		f.on[i].Close() // if it was never served
	}
	if err := s.Close(); err != nil {
		f.log.Warn("API", "error", err)
	}
}

// listenUnix listens where only the owner may connect. A socket that a dead process left goes: we hold the folder's lock.
func listenUnix(path string) (net.Listener, error) {
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&os.ModeSocket == 0 {
			return nil, fmt.Errorf("%s is there and is no socket", path)
		}
		if c, err := net.Dial("unix", path); err == nil {
			c.Close()
			return nil, fmt.Errorf("another process answers on %s", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	old := syscall.Umask(0o177) // there is no moment at which others may connect
	defer syscall.Umask(old)
	return net.Listen("unix", path)
}
