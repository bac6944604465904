package lsps

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// Error is a JSON-RPC 2.0 error.
type Error struct {
	Code    int            `json:"code"`
	Message string         `json:"message"`
	Data    map[string]any `json:"data,omitempty"`
}

func (e *Error) Error() string { return fmt.Sprintf("%s (%d)", e.Message, e.Code) }

// Codes of errors.
const (
	CodeParse          = -32700
	CodeMethodNotFound = -32601
	CodeInvalidParams  = -32602
	CodeInternal       = -32603

	CodeTooLong             = 500 // bLIP 55
	CodeURLParse            = 501
	CodeUnsupportedProtocol = 502
	CodeTooManyWebhooks     = 503
	CodeAppNameNotFound     = 1010

	CodeTooManyDevices = -826 // rod.register_device. bLIP 50 leaves -31999 to -1 to others
)

// Request is a client's call.
type Request struct {
	ID     json.RawMessage // a JSON string or number
	Method string
	Params map[string]json.RawMessage
}

const (
	maxPayload = 65533 // what a BOLT 8 message can carry
	maxID      = 256   // bytes of JSON; it comes back in the response
)

// ParseRequest reads what a client sent. bLIP 50 "Message Payload Format": one complete JSON object in UTF-8 without NUL bytes, and a JSON-RPC 2.0 request with an id;
// anything else is a bad message format, answered with CodeParse and the id null.
func ParseRequest(payload []byte) (Request, *Error) {
	bad := func(why string) (Request, *Error) {
		return Request{}, &Error{Code: CodeParse, Message: "parse error: " + why}
	}
	fields, err := parseObject(payload)
	if err != nil {
		return bad(err.Error())
	}
	var r Request
	var version string
	if json.Unmarshal(fields["jsonrpc"], &version) != nil || version != "2.0" {
		return bad("jsonrpc is not 2.0")
	}
	if json.Unmarshal(fields["method"], &r.Method) != nil || isNull(fields["method"]) {
		return bad("method is not a string")
	}
	if r.ID = bytes.TrimSpace(fields["id"]); len(r.ID) == 0 || len(r.ID) > maxID || !strings.ContainsRune(`"-0123456789`, rune(r.ID[0])) {
		return bad("id is not a short string or number")
	}
	if params, ok := fields["params"]; ok {
		// bLIP 50: parameters by name only. A list is a fault of the call, not of the envelope.
		if bytes.TrimSpace(params)[0] != '{' || json.Unmarshal(params, &r.Params) != nil {
			return r, invalidParams("params is not an object")
		}
	}
	return r, nil
}

// parseObject reads one JSON object, keys exactly as written.
func parseObject(payload []byte) (map[string]json.RawMessage, error) {
	switch {
	case len(payload) > maxPayload:
		return nil, fmt.Errorf("length %d above maximum %d", len(payload), maxPayload)
	case bytes.IndexByte(payload, 0) >= 0:
		return nil, errors.New("NUL byte")
	case !utf8.Valid(payload):
		return nil, errors.New("not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(payload))
	var fields map[string]json.RawMessage
	if err := d.Decode(&fields); err != nil || fields == nil {
		return nil, errors.New("not a JSON object")
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("more than one JSON object")
	}
	return fields, nil
}

func isNull(b json.RawMessage) bool { return string(b) == "null" }

// invalidParams is CodeInvalidParams, which bLIP 50 wants to name the parameters that are not recognised, even when there are none.
func invalidParams(message string, unrecognized ...string) *Error {
	if unrecognized == nil {
		unrecognized = []string{}
	}
	return &Error{CodeInvalidParams, message, map[string]any{"unrecognized": unrecognized}}
}

// param is one parameter a method knows.
type param struct {
	name     string
	required bool
	into     any
}

// readParams reads params into what want says.
func readParams(params map[string]json.RawMessage, want ...param) *Error {
	var unknown []string
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if !slices.ContainsFunc(want, func(p param) bool { return p.name == name }) {
			unknown = append(unknown, name)
		}
	}
	if unknown != nil {
		return invalidParams("Invalid params", unknown...)
	}
	for _, p := range want {
		raw, ok := params[p.name]
		if !ok && p.required {
			return invalidParams(p.name + " is missing")
		}
		if !ok {
			continue
		}
		if isNull(raw) || json.Unmarshal(raw, p.into) != nil {
			return invalidParams(p.name + " has the wrong type")
		}
	}
	return nil
}

// response is what goes back.
type response struct {
	JSONRPC string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Result  any             `json:"result,omitempty"`
	Error   *Error          `json:"error,omitempty"`
}

func encodeResponse(id json.RawMessage, result any, e *Error) []byte {
	if id == nil {
		id = json.RawMessage("null")
	}
	r := response{JSONRPC: "2.0", ID: id, Error: e}
	if e == nil {
		r.Result = result
	}
	return mustJSON(r)
}

// mustJSON encodes without turning & and < into escapes: bLIP 50 wants characters that need no escape written as they are.
func mustJSON(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("lsps: " + err.Error()) // only our own types come here
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// NewRequest is the client's side: a call with a random id of at least 80 bits, drawn by the caller.
func NewRequest(id, method string, params any) []byte {
	return mustJSON(struct {
		JSONRPC string `json:"jsonrpc"`
		ID      string `json:"id"`
		Method  string `json:"method"`
		Params  any    `json:"params"`
	}{"2.0", id, method, params})
}

// Response is an LSP's answer. Exactly one of Result and Error is set.
type Response struct {
	ID     string
	Result json.RawMessage
	Error  *Error
}

// ParseResponse is the client's side: reads an LSP's answer. A notification, or what is none of both, is an error and to be ignored.
func ParseResponse(payload []byte) (Response, error) {
	fields, err := parseObject(payload)
	if err != nil {
		return Response{}, err
	}
	var r Response
	var version string
	if json.Unmarshal(fields["jsonrpc"], &version) != nil || version != "2.0" {
		return Response{}, errors.New("jsonrpc is not 2.0")
	}
	if id := fields["id"]; json.Unmarshal(id, &r.ID) != nil {
		return Response{}, errors.New("id is not a string")
	}
	result, failed := fields["result"], fields["error"]
	switch {
	case (result == nil) == (failed == nil):
		return Response{}, errors.New("not exactly one of result and error")
	case failed != nil:
		if err := json.Unmarshal(failed, &r.Error); err != nil || r.Error == nil {
			return Response{}, errors.New("error is not an object")
		}
	default:
		r.Result = result
	}
	return r, nil
}
