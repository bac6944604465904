package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Client speaks to a Server, over its unix socket (NewClient) or TLS (NewRemote).
type Client struct {
	where string // the socket or the address
	base  string // what URLs begin with
	token string
	http  http.Client
}

// ErrUnreachable: nobody answers.
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
	r, err := http.NewRequestWithContext(ctx, method, c.base+routesBase+path, body)
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
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, c.failed(err)
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
	r, err := http.NewRequestWithContext(ctx, "GET", c.base+routesBase+"/events", nil)
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
