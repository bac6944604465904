package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Remote is how to reach a Server over TLS.
type Remote struct {
	Addr  string         // host:port
	Roots *x509.CertPool // whom to trust; nil: the system's
	Pin   []byte         // SHA-256 of the server's certificate: then nothing else counts, neither Roots nor names nor dates
	Token string         // bearer token
}

// ErrUntrusted: what answers is not known to be the node.
var ErrUntrusted = errors.New("the certificate is not trusted")

// dialPatience is how long a connection over the network may take to be made.
const dialPatience = 15 * time.Second

// NewRemote connects to nothing yet.
func NewRemote(r Remote) *Client {
	conf := &tls.Config{RootCAs: r.Roots, MinVersion: tls.VersionTLS13}
	if r.Pin != nil {
		conf.InsecureSkipVerify = true // for VerifyConnection to do it
		conf.VerifyConnection = func(s tls.ConnectionState) error {
			sum := sha256.Sum256(s.PeerCertificates[0].Raw) // a server that sends none does not come so far
			if subtle.ConstantTimeCompare(sum[:], r.Pin) == 1 {
				return nil
			}
			return fmt.Errorf("%w: its SHA-256 is %s", ErrUntrusted, hex.EncodeToString(sum[:]))
		}
	}
	c := &Client{where: r.Addr, base: "https://" + r.Addr, token: r.Token}
	c.http.Transport = &http.Transport{
		TLSClientConfig: conf, TLSHandshakeTimeout: dialPatience, ForceAttemptHTTP2: true,
		DialContext: (&net.Dialer{Timeout: dialPatience}).DialContext,
	}
	return c
}

// NewClient connects to a unix socket, and to nothing yet.
func NewClient(socket string) *Client {
	c := &Client{where: socket, base: "http://rod"}
	c.http.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	return c
}

// failed says in our words why there was no answer.
func (c *Client) failed(err error) error {
	var op *net.OpError
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &op) && op.Op == "dial":
		return fmt.Errorf("%w on %s (is rodd running? %v)", ErrUnreachable, c.where, op.Err)
	case errors.As(err, &untrusted):
		return fmt.Errorf("%s: %w: %v", c.where, ErrUntrusted, untrusted.Err)
	case errors.Is(err, ErrUntrusted):
		return fmt.Errorf("%s: %w", c.where, errors.Unwrap(err))
	}
	return err
}
