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
	"sync/atomic"
	"syscall"
	"time"

	"lightningrod/cmd/internal/api"
)

// faces are where the API is served.
type faces struct {
	log      *slog.Logger
	starting starting
	servers  []*http.Server
	on       []net.Listener
}

// starting stands before the API until the node serves: whoever asks too early is told so at once, and how far the node is.
type starting struct {
	over atomic.Bool
	how  func() string
}

// gate is h, once the start is over. That the process lives can be seen before.
func (s *starting) gate(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.over.Load() || strings.HasSuffix(r.URL.Path, "/healthz") {
			h.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Retry-After", "1")
		api.Answer(w, &api.Error{Code: api.Unavailable, Message: "the node is starting: " + s.how()})
	})
}

// openFaces listens everywhere, and answers nobody yet. How says how far the start is.
func openFaces(cfg *config, s *api.Server, log *slog.Logger, how func() string) (*faces, error) {
	f := &faces{log: log, starting: starting{how: how}}
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
		log.Info("API over TLS", "address", l.Addr().String(), "certificate", filepath.Join(cfg.dir(), "tls.cert"), "sha256", fingerprint(cert), "expires", cert.Leaf.NotAfter.Format(time.DateOnly))
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
		Handler: f.starting.gate(h), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
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
