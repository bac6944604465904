package regtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// Fees stands before a bitcoind and answers estimatesmartfee, which a chain without a market cannot. All else goes through.
type Fees struct {
	server *httptest.Server

	mu   sync.Mutex
	rate float64 // BTC/kvB; 0: bitcoind answers
}

// NewFees begins without an opinion.
func NewFees(t testing.TB, btc *Bitcoin) *Fees {
	t.Helper()
	to := &url.URL{Scheme: "http", Host: btc.Access.Addr}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}
	f := &Fees{}
	f.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		rate := f.now()
		if rate == 0 || !bytes.Contains(body, []byte("estimatesmartfee")) {
			proxy.ServeHTTP(w, r)
			return
		}
		r.Header.Del("Accept-Encoding")
		answer := httptest.NewRecorder()
		proxy.ServeHTTP(answer, r)
		w.WriteHeader(answer.Code)
		w.Write(patched(body, answer.Body.Bytes(), rate))
	}))
	t.Cleanup(f.server.Close)
	return f
}

// patched is the answer to a batch of calls with another estimate.
func patched(asked, answered []byte, rate float64) []byte {
	var calls []struct {
		ID     json.RawMessage
		Method string
	}
	var answers []map[string]any
	if json.Unmarshal(asked, &calls) != nil || json.Unmarshal(answered, &answers) != nil || len(calls) != len(answers) {
		return answered // not a batch, or an error about all of it
	}
	for i, c := range calls { // bitcoind answers in order
		if c.Method == "estimatesmartfee" {
			answers[i]["error"], answers[i]["result"] = nil, map[string]any{"feerate": json.Number(fmt.Sprintf("%.8f", rate)), "blocks": 2}
		}
	}
	out, err := json.Marshal(answers)
	if err != nil {
		return answered
	}
	return out
}

// Addr is where nodes find their bitcoind.
func (f *Fees) Addr() string { return strings.TrimPrefix(f.server.URL, "http://") }

// Set makes satPerKw the estimate for every target.
func (f *Fees) Set(satPerKw int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rate = float64(satPerKw) * 4 / 1e8
}

func (f *Fees) now() float64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rate
}
