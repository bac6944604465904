package bitcoind

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// Access is where a bitcoind takes JSON-RPC, and how it knows us. The zero Timeout is 30 seconds.
type Access struct {
	// Addr is host:port.
	Addr string
	// Cookie is the path of the file that bitcoind writes at each start, .cookie in its folder. Used if User is empty.
	Cookie string
	// User and Password are those of rpcauth, or of rpcuser and rpcpassword.
	User, Password string
	// Timeout is how long one exchange may take.
	Timeout time.Duration
}

// Client calls one bitcoind. It is safe for concurrent use, keeps connections open and never calls twice by itself, except
// when a connection that was kept turns out to be closed: every call made here may be repeated.
type Client struct {
	access Access
	http   http.Client
}

// maxAnswer bounds an answer: more than the hex of a block, and than the names of a million transactions.
const maxAnswer = 96 << 20

// NewClient connects to nothing yet. It fails if a has no address, or neither user nor cookie.
func NewClient(a Access) (*Client, error) {
	if _, _, err := net.SplitHostPort(a.Addr); err != nil {
		return nil, fmt.Errorf("rpc address %q: %w", a.Addr, err)
	}
	if a.User == "" && a.Cookie == "" {
		return nil, errors.New("rpc: neither a user nor a cookie file is given")
	}
	if a.Timeout <= 0 {
		a.Timeout = 30 * time.Second
	}
	return &Client{access: a, http: http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 8,
		IdleConnTimeout:     20 * time.Second, // bitcoind closes its end after 30
	}}}, nil
}

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Error is bitcoind's own answer that a call failed.
type Error struct {
	Method  string
	Code    int
	Message string
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %s (code %d)", e.Method, e.Message, e.Code) }

// Codes of bitcoind, from its rpc/protocol.h.
const (
	codeMisc          = -1
	codeNotFound      = -5 // RPC_INVALID_ADDRESS_OR_KEY
	codeDecode        = -22
	codeVerify        = -25 // RPC_VERIFY_ERROR
	codeRejected      = -26 // RPC_VERIFY_REJECTED
	codeInChain       = -27 // RPC_VERIFY_ALREADY_IN_UTXO_SET
	codeWarmUp        = -28 // RPC_IN_WARMUP
	codeUnknownMethod = -32601
)

// code is the code of bitcoind's answer, or 0 if err is something else.
func code(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

// errUnauthorized: bitcoind does not know the user or the cookie.
var errUnauthorized = errors.New("bitcoind refuses our user and password, or cookie")

// call is one call of a batch. If err is nil then result, a pointer, was filled, or the answer is null.
type call struct {
	method string
	params []any
	result any
	err    error
}

type request struct {
	ID     int    `json:"id"`
	Method string `json:"method"`
	Params []any  `json:"params"`
}

type answer struct {
	ID     *int            `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

// Call calls one method. result is a pointer for what it answers; nil drops that, and the answer null leaves it as it is.
func (c *Client) Call(ctx context.Context, result any, method string, params ...any) error {
	if params == nil {
		params = []any{}
	}
	body, status, err := c.exchange(ctx, request{Method: method, Params: params})
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	k := call{method: method, result: result}
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		return fmt.Errorf("%s: %w", method, notAnswer(status, body))
	}
	k.take(a)
	return k.err
}

// batch makes all calls in one exchange. An error means that none was answered; else each call has its own.
func (c *Client) batch(ctx context.Context, calls []call) error {
	if len(calls) == 0 {
		return nil
	}
	reqs := make([]request, len(calls))
	for i, k := range calls {
		reqs[i] = request{ID: i, Method: k.method, Params: k.params}
		if k.params == nil {
			reqs[i].Params = []any{}
		}
		calls[i].err = errors.New(k.method + ": no answer")
	}
	body, status, err := c.exchange(ctx, reqs)
	if err != nil {
		return fmt.Errorf("%s: %w", calls[0].method, err)
	}
	var answers []answer
	if err := json.Unmarshal(body, &answers); err != nil {
		// What concerns the batch as a whole, warm-up for instance, is answered once.
		k := call{method: calls[0].method}
		var a answer
		if json.Unmarshal(body, &a) == nil && a.Error != nil {
			k.take(a)
			return k.err
		}
		return fmt.Errorf("%s: %w", k.method, notAnswer(status, body))
	}
	for _, a := range answers {
		if a.ID != nil && *a.ID >= 0 && *a.ID < len(calls) {
			calls[*a.ID].take(a)
		}
	}
	return nil
}

// take reads the answer to a call.
func (k *call) take(a answer) {
	k.err = nil
	switch {
	case a.Error != nil:
		k.err = &Error{Method: k.method, Code: a.Error.Code, Message: a.Error.Message}
	case len(a.Result) == 0:
		k.err = fmt.Errorf("%s: answer has neither result nor error", k.method)
	case k.result != nil:
		if err := json.Unmarshal(a.Result, k.result); err != nil {
			k.err = fmt.Errorf("%s: answer: %w", k.method, err)
		}
	}
}

// exchange posts one JSON value and returns what comes back.
func (c *Client) exchange(ctx context.Context, v any) (body []byte, status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.access.Timeout)
	defer cancel()
	payload, err := json.Marshal(v)
	if err != nil {
		return nil, 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.access.Addr+"/", bytes.NewReader(payload))
	if err != nil {
		return nil, 0, err
	}
	user, password, err := c.credentials()
	if err != nil {
		return nil, 0, err
	}
	req.SetBasicAuth(user, password)
	req.Header.Set("Content-Type", "application/json")
	req.Header["Idempotency-Key"] = nil // not sent: it tells net/http that a kept connection found closed is no failure
	res, err := c.http.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer res.Body.Close()
	body, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, 0, fmt.Errorf("reading the answer: %w", err)
	case len(body) > maxAnswer:
		return nil, 0, fmt.Errorf("answer of more than %d bytes", maxAnswer)
	case res.StatusCode == http.StatusUnauthorized:
		return nil, 0, errUnauthorized
	}
	return body, res.StatusCode, nil
}

// credentials reads the cookie each time: every start of bitcoind writes another.
func (c *Client) credentials() (user, password string, err error) {
	if c.access.User != "" {
		return c.access.User, c.access.Password, nil
	}
	f, err := os.Open(c.access.Cookie)
	if err != nil {
		return "", "", fmt.Errorf("cookie file: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return "", "", fmt.Errorf("cookie file: %w", err)
	}
	user, password, ok := strings.Cut(strings.TrimSpace(string(text)), ":")
	if !ok {
		return "", "", fmt.Errorf("cookie file %s has no user:password", c.access.Cookie)
	}
	return user, password, nil
}

// notAnswer says what came instead of JSON: a busy bitcoind (503) and a forbidden address (403) answer in words.
func notAnswer(status int, body []byte) error {
	text := strings.ToValidUTF8(string(body[:min(len(body), 120)]), "?")
	return fmt.Errorf("HTTP status %d, no JSON-RPC answer: %q", status, text)
}
