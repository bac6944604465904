package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"lightningrod/rod/lsps"
)

// pushService plays the delivery service that phones are registered with: it takes the LSPs' webhooks over HTTP. What a phone does
// when it is called is the scenario's: the service only keeps the calls, so that a phone wakes when its scene comes.
type pushService struct {
	server *http.Server
	url    string
	served chan struct{} // closed when the server has ended

	mu     sync.Mutex
	phones map[string]*phone // by the name in the URL
	rung   chan struct{}     // closed when a call came, and replaced
}

// phone is a registered device.
type phone struct {
	lsp   [33]byte // whose calls it believes
	calls []string // methods of the notifications, in order
}

const (
	maxNotification = 4096            // bytes
	maxClockSkew    = 5 * time.Minute // bLIP 55: an old signature is refused
)

func newPushService() (*pushService, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("delivery service: %w", err)
	}
	p := &pushService{url: "http://" + l.Addr().String(), served: make(chan struct{}), phones: map[string]*phone{}, rung: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /push/{phone}", p.take)
	p.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		defer close(p.served)
		_ = p.server.Serve(l) // ends with close
	}()
	return p, nil
}

func (p *pushService) close() error {
	err := p.server.Close()
	<-p.served
	return err
}

// add makes a phone and gives the URL that an LSP is to call for it.
func (p *pushService) add(name string, lsp [33]byte) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.phones[name] = &phone{lsp: lsp}
	return p.url + "/push/" + name
}

// take is a webhook call.
func (p *pushService) take(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxNotification))
	if err != nil {
		http.Error(w, "body", http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	phone := p.phones[r.PathValue("phone")]
	if phone == nil {
		http.NotFound(w, r)
		return
	}
	method, err := phone.check(r.Header, body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	phone.calls = append(phone.calls, method)
	close(p.rung)
	p.rung = make(chan struct{})
}

// check says what a notification is about, if it is fresh and signed by the phone's LSP.
func (f *phone) check(h http.Header, body []byte) (method string, err error) {
	stamp := h.Get(lsps.HeaderTimestamp)
	at, err := time.Parse("2006-01-02T15:04:05.000Z", stamp)
	if err != nil || time.Since(at).Abs() > maxClockSkew {
		return "", fmt.Errorf("timestamp %q is no time of today's", stamp)
	}
	signer, err := lsps.Signer(lsps.SigningText(stamp, body), h.Get(lsps.HeaderSignature))
	if err != nil || signer != f.lsp {
		return "", errors.New("not signed by the LSP of this phone")
	}
	var n struct {
		Method string `json:"method"`
	}
	if err := json.Unmarshal(body, &n); err != nil || n.Method == "" {
		return "", errors.New("not a notification")
	}
	return n.Method, nil
}

// rings waits until a phone was called with a method, and counts how often that was.
func (p *pushService) rings(ctx context.Context, name, method string) (count int, err error) {
	for {
		p.mu.Lock()
		if f := p.phones[name]; f != nil {
			for _, m := range f.calls {
				if m == method {
					count++
				}
			}
		}
		rung := p.rung
		p.mu.Unlock()
		if count > 0 {
			return count, nil
		}
		select {
		case <-rung:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}
