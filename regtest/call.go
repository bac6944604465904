package regtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// caller asks a program by HTTP and JSON, as anybody's script would: nothing here knows the types of either side.
type caller struct {
	base   string // what goes before a path
	http   http.Client
	header http.Header
}

// callPatience bounds a call whose answer is due at once.
const callPatience = 60 * time.Second

// do calls, and fills out with the answer. In and out may be nil.
func (c *caller) do(method, path string, in, out any) error {
	return c.within(callPatience, method, path, in, out)
}

// within is do with another patience.
func (c *caller) within(limit time.Duration, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	body, err := c.open(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer body.Close()
	if out == nil {
		_, err = io.Copy(io.Discard, body)
		return err
	}
	if err := json.NewDecoder(body).Decode(out); err != nil {
		return fmt.Errorf("%s %s: answer: %w", method, path, err)
	}
	return nil
}

// errEnough ends a stream from the side of the reader.
var errEnough = errors.New("enough")

// stream calls, and hands each JSON value of the answer to f, until the stream ends, or f returns an error: errEnough is none.
func (c *caller) stream(ctx context.Context, method, path string, in any, f func(json.RawMessage) error) error {
	body, err := c.open(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer body.Close()
	for d := json.NewDecoder(body); ; {
		var line struct {
			Result json.RawMessage
			Error  *struct{ Message string }
		}
		err := d.Decode(&line)
		switch {
		case errors.Is(err, io.EOF):
			return fmt.Errorf("%s %s: the stream has ended", method, path)
		case err != nil:
			return fmt.Errorf("%s %s: %w", method, path, err)
		case line.Error != nil:
			return fmt.Errorf("%s %s: %s", method, path, line.Error.Message)
		}
		if err := f(line.Result); errors.Is(err, errEnough) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// open calls, and gives the body of an answer that is a success. What goes in as url.Values goes as a form, all else as JSON.
func (c *caller) open(ctx context.Context, method, path string, in any) (io.ReadCloser, error) {
	var body io.Reader
	form, isForm := in.(url.Values)
	switch {
	case isForm:
		body = strings.NewReader(form.Encode())
	case in != nil:
		text, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	r.Header = c.header.Clone()
	if isForm {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 300 {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
	return nil, fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, bytes.TrimSpace(text))
}
