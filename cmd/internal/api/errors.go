package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"lightningrod/node"
)

// Code says what kind of error it is. The set is closed.
type Code string

const (
	Invalid      Code = "invalid"      // the request is wrong as it stands; field and bound say where
	Unauthorized Code = "unauthorized" // no token, or one that is not known
	Forbidden    Code = "forbidden"    // the token's scope is too small
	NotFound     Code = "not_found"
	Conflict     Code = "conflict" // an idempotency key was used for another request, or its request is still running
	Unknown      Code = "unknown_outcome"
	TooLarge     Code = "too_large"
	Gone         Code = "gone"        // it was kept only for a time
	Refused      Code = "refused"     // the node will not, as things stand; nothing has changed
	Unavailable  Code = "unavailable" // the node is catching up, draining or stopped: try later
	Internal     Code = "internal"
)

var statusOf = map[Code]int{
	Invalid: http.StatusUnprocessableEntity, Unauthorized: http.StatusUnauthorized, Forbidden: http.StatusForbidden,
	NotFound: http.StatusNotFound, Conflict: http.StatusConflict, Unknown: http.StatusConflict, TooLarge: http.StatusRequestEntityTooLarge,
	Gone: http.StatusGone, Refused: http.StatusUnprocessableEntity, Unavailable: http.StatusServiceUnavailable,
	Internal: http.StatusInternalServerError,
}

// Error is what every failed request answers.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Field   string `json:"field,omitempty" doc:"the input that is wrong"`
	Bound   string `json:"bound,omitempty" doc:"what it must keep to"`
	Oldest  Number `json:"oldest,omitempty" doc:"with gone: the number of the oldest event that is kept"`
}

func (e *Error) Error() string { return e.Message }

// Status is the HTTP status that goes with the code.
func (e *Error) Status() int {
	if s, ok := statusOf[e.Code]; ok {
		return s
	}
	return http.StatusInternalServerError
}

// invalid is a wrong field.
func invalid(field, bound, format string, args ...any) *Error {
	return &Error{Code: Invalid, Field: field, Bound: bound, Message: field + ": " + fmt.Sprintf(format, args...)}
}

// asError makes any error fit to leave: what is not ours already is a refusal of the node in its own words. But of what the node's end, or the
// end of the caller's patience, interrupted nobody knows whether it was done.
func asError(err error) *Error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, node.ErrStopped), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &Error{Code: Unavailable, Message: err.Error()}
	}
	return &Error{Code: Refused, Message: err.Error()}
}
