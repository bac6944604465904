package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

// Server answers requests. Handler gives the two faces it has; both may be served at once.
type Server struct {
	node    Control
	tokens  *Tokens
	ledger  *ledger
	metrics *metrics
	log     *slog.Logger

	drainOnce sync.Once
	drained   chan struct{} // closed when the end begins
}

var errDraining = &Error{Code: Unavailable, Message: "the node is shutting down"}

// New makes a server. Dir is where tokens and the outcomes of idempotency keys are kept; log gets requests that went wrong by our fault.
func New(node Control, dir string, log *slog.Logger) (*Server, error) {
	s := &Server{node: node, log: log, drained: make(chan struct{})}
	var err error
	if s.tokens, err = openTokens(dir); err != nil {
		return nil, err
	}
	if s.ledger, err = openLedger(dir); err != nil {
		return nil, err
	}
	s.metrics = newMetrics(node)
	return s, nil
}

// Drain begins the end: mutations are refused, streams end. What runs goes on, http.Server.Shutdown waits for it.
func (s *Server) Drain() { s.drainOnce.Do(func() { close(s.drained) }) }

// Close is called when nothing is served any more.
func (s *Server) Close() error {
	s.Drain()
	s.metrics.close()
	return s.ledger.close()
}

func (s *Server) draining() bool {
	select {
	case <-s.drained:
		return true
	default:
		return false
	}
}

// Handler serves everything. If trusted, whoever got here is the operator, as on a unix socket that only its owner may open;
// otherwise a bearer token is asked for.
func (s *Server) Handler(trusted bool) http.Handler {
	mux := http.NewServeMux()
	for _, rt := range routes {
		mux.HandleFunc(rt.method+" "+rt.path, func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, &rt, trusted) })
	}
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		if _, err := s.authorize(r, []Scope{Read}, trusted); err != nil {
			answerError(w, err)
			return
		}
		s.metrics.ServeHTTP(w, r)
	})
	for _, alias := range []string{"/healthz", "/readyz"} {
		mux.HandleFunc("GET "+alias, func(w http.ResponseWriter, r *http.Request) {
			r.URL.Path = routesBase + alias
			mux.ServeHTTP(w, r)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		answerError(w, &Error{Code: NotFound, Message: "no such resource: " + r.Method + " " + r.URL.Path})
	})
	return mux
}

// Metrics serves /metrics, /healthz and /readyz only, to everybody who can reach it.
func (s *Server) Metrics() http.Handler {
	all := s.Handler(true)
	mux := http.NewServeMux()
	for _, path := range []string{"GET /metrics", "GET /healthz", "GET /readyz"} {
		mux.Handle(path, all)
	}
	return mux
}

// patience is the longest a mutation may take, above the longest wait_seconds.
const patience = 11 * time.Minute

// serve is one request of one route.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, rt *route, trusted bool) {
	begin := time.Now()
	status := http.StatusOK
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			s.log.Error("a request panicked", "method", rt.method, "path", rt.path, "panic", p, "stack", string(debug.Stack()))
			status = answerError(w, &Error{Code: Internal, Message: "an error of ours; the log says more"})
		}
		s.metrics.request(rt, status, time.Since(begin))
	}()
	who, err := s.authorize(r, rt.scopes, trusted)
	if err != nil {
		status = answerError(w, err)
		return
	}
	if rt.path == routesBase+"/events" && strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
		status = s.stream(w, r)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyLimit))
	if err != nil {
		var big *http.MaxBytesError
		if errors.As(err, &big) {
			err = &Error{Code: TooLarge, Field: "body", Bound: "at most 65536 bytes", Message: "body: too large"}
		}
		status = answerError(w, err)
		return
	}
	in := reflect.New(rt.in)
	if err := decode(r, body, in.Interface()); err != nil {
		status = answerError(w, err)
		return
	}
	var answer []byte
	status, answer = s.act(r, rt, who, body, in.Interface())
	write(w, status, answer)
}

// act does what a request that is good asks for. A mutation with a key is done once.
func (s *Server) act(r *http.Request, rt *route, who string, body []byte, in any) (status int, answer []byte) {
	ctx := r.Context()
	do := func() (int, []byte) {
		out, err := rt.call(s, ctx, in)
		if err != nil {
			e := asError(err)
			return e.Status(), encode(errorBody{e})
		}
		return http.StatusOK, encode(out)
	}
	switch {
	case !rt.mutates:
		return do()
	case s.draining():
		return errDraining.Status(), encode(errorBody{errDraining})
	case r.Header.Get("Idempotency-Key") != "":
		ctx = context.WithoutCancel(ctx) // whoever lost the connection can ask again
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return s.ledger.once(r, who, body, rt.secret, do)
}

// errorBody is the JSON of a failure.
type errorBody struct {
	Error *Error `json:"error"`
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own types
	}
	return append(b, '\n')
}

func write(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// Answer answers a request with an error.
func Answer(w http.ResponseWriter, e *Error) { answerError(w, e) }

func answerError(w http.ResponseWriter, err error) (status int) {
	e := asError(err)
	if e.Code == Unauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	write(w, e.Status(), encode(errorBody{e}))
	return e.Status()
}

// authorize says who asks, if they may.
func (s *Server) authorize(r *http.Request, scopes []Scope, trusted bool) (who string, err error) {
	if trusted {
		return "", nil
	}
	if len(scopes) == 1 && scopes[0] == everybody {
		return "", nil
	}
	secret, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return "", &Error{Code: Unauthorized, Message: "a bearer token is needed"}
	}
	t, ok := s.tokens.find(secret)
	if !ok {
		return "", &Error{Code: Unauthorized, Message: "the bearer token is not known"}
	}
	if t.Scope != Admin {
		for _, sc := range scopes {
			if sc == t.Scope {
				return t.Name, nil
			}
		}
		return "", &Error{Code: Forbidden, Message: "a token of scope " + string(t.Scope) + " may not do this"}
	}
	return t.Name, nil
}
