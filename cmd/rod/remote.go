package main

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"lightningrod/cmd/internal/api"
	"lightningrod/cmd/rod/internal/facts"

	"github.com/alecthomas/kong"
)

// Remote is how to reach a node and how to show its answers: flags of every command.
type Remote struct {
	Socket    string `group:"node" env:"ROD_LISTEN_API" placeholder:"PATH" complete:"file" help:"The node's unix socket. If not given: the one in its data folder."`
	TLS       string `group:"node" name:"tls" env:"ROD_TLS" placeholder:"HOST:PORT" help:"Instead of the socket: the node's API over TLS (listen.tls of rodd). Needs --token-file."`
	TokenFile string `group:"node" env:"ROD_TOKEN_FILE" placeholder:"PATH" complete:"file" help:"With --tls: file with a bearer token of rod token create."`
	Cert      string `group:"node" env:"ROD_CERT" placeholder:"PATH" complete:"file" help:"With --tls: PEM file with the certificates to trust. If not given: tls.cert in the data folder if it is there, and the system's."`
	Pin       string `group:"node" env:"ROD_PIN" placeholder:"HEX" help:"With --tls: SHA-256 of the node's certificate, as rodd logs it. Then no other certificate is good, and nothing else of it counts."`
	DataDir   string `group:"node" env:"ROD_DATA_DIR" placeholder:"DIR" complete:"file" help:"The node's data folder; ~/.rod if not given."`
	Network   string `group:"node" env:"ROD_NETWORK" default:"regtest" enum:"regtest,signet" help:"The node's network: regtest or signet."`
	JSON      bool   `group:"node" name:"json" xor:"shape" help:"JSON on a terminal too."`
	Table     bool   `group:"node" xor:"shape" help:"Text and tables for people in a pipe too."`
}

// dir is the folder of the node's files.
func (r *Remote) dir() (string, error) {
	dir := r.DataDir
	if dir == "" {
		var err error
		if dir, err = api.DefaultDir(); err != nil {
			return "", err
		}
	}
	return filepath.Join(dir, r.Network), nil
}

func (r *Remote) socket() (string, error) {
	if r.Socket != "" {
		return r.Socket, nil
	}
	dir, err := r.dir()
	return filepath.Join(dir, "api.sock"), err
}

// session is one command at work.
type session struct {
	*Remote
	ctx            context.Context
	stdout, stderr io.Writer
	command, tree  *kong.Node
}

// question is a command that asks for what its tags in the tree of commands say: get, post or delete a path. Columns are what a
// terminal shows of each entry of a list, by their names in JSON, failure.code being the code in failure; a number behind one cuts it to so
// many characters.
type question struct{}

// Run asks, and shows the answer.
func (question) Run(s *session) error { return s.asked("") }

// questionOf is a question about one thing, named in the path as {}.
type questionOf struct {
	Which string `arg:""`
}

// Run asks, and shows the answer.
func (q *questionOf) Run(s *session) error { return s.asked(q.Which) }

func (s *session) asked(which string) error {
	tag := s.command.Tag
	columns := strings.Fields(tag.Get("columns"))
	for _, method := range []string{"get", "post", "delete"} {
		path := strings.Replace(tag.Get(method), "{}", url.PathEscape(which), 1)
		switch {
		case path == "":
			continue
		case len(columns) > 0:
			return s.list(path, url.Values{}, columns)
		}
		return s.do(strings.ToUpper(method), path, nil, "")
	}
	panic(s.command.FullPath() + " asks for nothing")
}

// do asks the node and shows its answer.
func (s *session) do(method, path string, in any, key string) error {
	var out facts.Facts
	if err := s.call(method, path, in, &out, key); err != nil {
		return err
	}
	return s.show(out)
}

func (s *session) call(method, path string, in, out any, key string) error {
	client, err := s.client()
	if err != nil {
		return err
	}
	return s.explain(client.Do(s.ctx, method, path, in, out, key))
}

func (s *session) client() (*api.Client, error) {
	if s.TLS != "" {
		return s.remote()
	}
	if s.TokenFile != "" || s.Cert != "" || s.Pin != "" {
		return nil, wrong("--token-file, --cert and --pin are for --tls")
	}
	socket, err := s.socket()
	return api.NewClient(socket), err
}

// tokenLimit bounds what is read of a token's file.
const tokenLimit = 1024

// remote is a client of the API over TLS.
func (s *session) remote() (*api.Client, error) {
	r := api.Remote{Addr: s.TLS}
	switch _, _, err := net.SplitHostPort(s.TLS); {
	case err != nil:
		return nil, wrong("--tls: %q is not host:port", s.TLS)
	case s.Cert != "" && s.Pin != "":
		return nil, wrong("--cert and --pin: one of them")
	case s.TokenFile == "":
		return nil, wrong("--token-file: none given, and the API over TLS asks for a token")
	}
	token, err := os.ReadFile(s.TokenFile)
	if r.Token = strings.TrimSpace(string(token)); err == nil && (r.Token == "" || len(token) > tokenLimit || strings.ContainsAny(r.Token, " \r\n\t")) {
		err = fmt.Errorf("%s has no token in it", s.TokenFile)
	}
	if err != nil {
		return nil, wrong("--token-file: %v", err)
	}
	if s.Pin != "" {
		if r.Pin, err = hex.DecodeString(strings.ReplaceAll(s.Pin, ":", "")); err != nil || len(r.Pin) != 32 {
			return nil, wrong("--pin: %d characters, need 64 hex digits", len(s.Pin))
		}
		return api.NewRemote(r), nil
	}
	if r.Roots, err = s.roots(); err != nil {
		return nil, wrong("--cert: %v", err)
	}
	return api.NewRemote(r), nil
}

// roots are the certificates to trust.
func (s *session) roots() (*x509.CertPool, error) {
	pool, path := x509.NewCertPool(), s.Cert
	if path == "" {
		if system, err := x509.SystemCertPool(); err == nil {
			pool = system
		}
		dir, err := s.dir()
		if err != nil {
			return pool, nil
		}
		path = filepath.Join(dir, "tls.cert")
	}
	pem, err := os.ReadFile(path)
	switch {
	case err != nil && s.Cert == "":
		return pool, nil
	case err != nil:
		return nil, err
	case !pool.AppendCertsFromPEM(pem):
		return nil, fmt.Errorf("%s has no certificate in it", path)
	}
	return pool, nil
}

// explain says what to do when no node answers.
func (s *session) explain(err error) error {
	switch {
	case errors.Is(err, api.ErrUntrusted):
		return statusError{exitUnreachable, fmt.Errorf("%w; tell which is the node's with --cert or --pin", err)}
	case !errors.Is(err, api.ErrUnreachable):
		return err
	case s.TLS != "":
		return statusError{exitUnreachable, fmt.Errorf("no node answers on %s: does its rodd have --listen.tls?", s.TLS)}
	}
	socket, _ := s.socket()
	if _, gone := os.Stat(socket); errors.Is(gone, fs.ErrPermission) || strings.Contains(err.Error(), "permission denied") {
		return statusError{exitUnreachable, fmt.Errorf("%s belongs to somebody else: only the user who runs rodd may open it", socket)}
	}
	start := "rodd"
	if s.Network != "regtest" {
		start += " --network " + s.Network
	}
	if s.Socket != "" {
		start += " --listen.api " + s.Socket
	} else if s.DataDir != "" {
		start += " --data-dir " + s.DataDir
	}
	return statusError{exitUnreachable, fmt.Errorf("no node answers on %s: start one with \"%s\"", socket, start)}
}

// statusError is an error with its own exit status. Without a text everything is said already.
type statusError struct {
	status int
	error
}

func (e statusError) Unwrap() error { return e.error }

// wrong is an error of the command line.
func wrong(format string, args ...any) error {
	return statusError{exitUsage, fmt.Errorf(format, args...)}
}

// statusOf is the exit status of what the API answers.
var statusOf = map[api.Code]int{
	api.Invalid: exitUsage, api.TooLarge: exitUsage, api.Unavailable: exitUnreachable, api.Unknown: exitPending,
	api.Refused: exitRefused, api.Forbidden: exitRefused, api.Unauthorized: exitRefused, api.Conflict: exitRefused,
}

// exitOf is the exit status of an error.
func exitOf(err error) int {
	var own statusError
	var e *api.Error
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &own):
		return own.status
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, api.ErrUnreachable):
		return exitUnreachable
	case errors.As(err, &e) && statusOf[e.Code] != 0:
		return statusOf[e.Code]
	}
	return exitFailed
}
