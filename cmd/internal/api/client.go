package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// Client speaks to a Server over its unix socket.
type Client struct {
	socket string
	http   http.Client
}

// NewClient connects to nothing yet.
func NewClient(socket string) *Client {
	c := &Client{socket: socket}
	c.http.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	return c
}

// ErrUnreachable: nobody answers on the socket.
var ErrUnreachable = errors.New("no node answers")

// Do asks for path below /v1 and fills out with the answer. In and out may be nil; a refusal is an *Error. Key is the
// Idempotency-Key, if any.
func (c *Client) Do(ctx context.Context, method, path string, in, out any, key string) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://rod"+routesBase+path, body)
	if err != nil {
		return err
	}
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	resp, err := c.send(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("answer of the node: %w", err)
	}
	return nil
}

// send gives a response that is a success.
func (c *Client) send(r *http.Request) (*http.Response, error) {
	resp, err := c.http.Do(r)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			return nil, fmt.Errorf("%w on %s (is rodd running? %v)", ErrUnreachable, c.socket, op.Err)
		}
		return nil, err
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	var failed errorBody
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&failed); err != nil || failed.Error == nil {
		return nil, fmt.Errorf("the node answered %s", resp.Status)
	}
	return nil, failed.Error
}

// Follow calls f with every event after a number, until ctx ends, the node does, or f returns an error.
func (c *Client) Follow(ctx context.Context, after Number, f func(Event) error) error {
	r, err := http.NewRequestWithContext(ctx, "GET", "http://rod"+routesBase+"/events", nil)
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "text/event-stream")
	if after != 0 {
		r.Header.Set("Last-Event-ID", after.String())
	}
	resp, err := c.send(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var ev Event
		if err := json.Unmarshal([]byte(data), &ev); err != nil {
			return fmt.Errorf("event: %w", err)
		}
		if ev.Kind == "" {
			continue // a gap
		}
		if err := f(ev); err != nil {
			return err
		}
	}
	return lines.Err()
}
