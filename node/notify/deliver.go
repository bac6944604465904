package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"syscall"
	"time"
)

// newClient makes the one HTTP client: no proxy, no redirects, no cookies, and a look at each address before it is
// connected to.
func newClient(cfg Config) *http.Client {
	dialer := &net.Dialer{
		Timeout: cfg.Timeout,
		Control: func(_, address string, _ syscall.RawConn) error { return checkAddress(address, cfg.AllowLocal) },
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            dialer.DialContext,
			TLSClientConfig:        &tls.Config{RootCAs: cfg.RootCAs, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    cfg.Timeout,
			ResponseHeaderTimeout:  cfg.Timeout,
			MaxResponseHeaderBytes: 16 << 10,
			MaxIdleConns:           cfg.MaxInFlight,
			MaxIdleConnsPerHost:    cfg.MaxPerHost,
			IdleConnTimeout:        30 * time.Second,
			DisableCompression:     true,
			ForceAttemptHTTP2:      true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// checkAddress is the check of what a name turned out to be, just before the connection is made.
func checkAddress(address string, allowLocal bool) error {
	if allowLocal {
		return nil
	}
	ap, err := netip.ParseAddrPort(address)
	if err != nil || !public(ap.Addr()) {
		return fmt.Errorf("address %w: not public", ErrForbidden)
	}
	return nil
}

// attempt tries an item once and decides what is next.
func (d *Deliverer) attempt(it *item) {
	begun := d.cfg.Clock.Now()
	if d.expired(it, begun) {
		d.done(it, Expired)
		return
	}
	started := time.Now()
	code, retryAfter, err := d.post(it)
	if err != nil && d.ctx.Err() != nil {
		return // broken off by Close: nothing is known about this attempt
	}
	it.Attempts++
	now := d.cfg.Clock.Now()
	log := Attempt{ID: it.ID, Host: it.host, Number: it.Attempts, Begun: begun, Took: time.Since(started), Code: code, Err: err}

	status := judge(code, err)
	if status == 0 {
		it.due = now.Add(max(d.backoff(it.Attempts), min(retryAfter, d.cfg.MaxBackoff)))
		switch {
		case it.Attempts >= d.cfg.MaxAttempts:
			status = Exhausted
		case d.expired(it, it.due):
			status = Expired
		default:
			log.Next = it.due
		}
	}
	d.cfg.Logger.Debug("notification tried", "id", it.ID, "host", it.host, "attempt", it.Attempts, "code", code, "err", err, "next", log.Next)
	d.cfg.Results.Attempted(log)
	if status == 0 {
		d.settle(it, true)
		return
	}
	d.done(it, status)
}

func (d *Deliverer) expired(it *item, at time.Time) bool {
	return !it.Expires.IsZero() && !at.Before(it.Expires)
}

func (d *Deliverer) done(it *item, s Status) {
	if d.settle(it, false) {
		d.cfg.Results.Done(it.ID, s)
	}
}

// maxAnswer is how much of a body is read so that its connection can be used again.
const maxAnswer = 4 << 10

// post makes the request. The error has nothing of the URL in it but the host.
func (d *Deliverer) post(it *item) (code int, retryAfter time.Duration, err error) {
	u, err := parseURL(it.URL, d.cfg.AllowLocal)
	if err != nil {
		return 0, 0, err
	}
	ctx, cancel := context.WithTimeout(d.ctx, d.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(it.Body))
	if err != nil {
		return 0, 0, fmt.Errorf("url %w: malformed", ErrForbidden)
	}
	for k, v := range it.Header {
		req.Header[http.CanonicalHeaderKey(k)] = v
	}
	if req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "lightning-rod")
	}
	resp, err := d.client.Do(req)
	if err != nil {
		var withURL *url.Error
		if errors.As(err, &withURL) {
			err = withURL.Err
		}
		return 0, 0, err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer)
	if s, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 31); err == nil {
		retryAfter = time.Duration(s) * time.Second
	}
	return resp.StatusCode, retryAfter, nil
}

// judge gives the end that an answer means, or 0 when it is to be tried again.
func judge(code int, err error) Status {
	switch {
	case errors.Is(err, ErrForbidden):
		return Forbidden
	case err != nil:
		return 0
	case code >= 200 && code < 300:
		return Delivered
	case code >= 500, code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests:
		return 0
	default: // redirects too: bLIP-55 has them not followed
		return Refused
	}
}

// backoff doubles from MinBackoff to MaxBackoff, less up to half of it by chance.
func (d *Deliverer) backoff(attempts int) time.Duration {
	wait := d.cfg.MaxBackoff
	if n := attempts - 1; n < 30 && d.cfg.MinBackoff<<n>>n == d.cfg.MinBackoff {
		wait = min(wait, d.cfg.MinBackoff<<n)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return wait - time.Duration(d.rand.Int64N(int64(wait)/2+1))
}
