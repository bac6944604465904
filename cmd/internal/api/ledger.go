package api

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// ledger makes a mutation with an Idempotency-Key happen at most once, over restarts too. What is to be done is on the disk
// before it is begun, and its answer before it is given. So after a crash in between the key answers "unknown_outcome": the
// caller has to look, and nothing is done twice. An attempt that failed changed nothing and frees its key.
//
// The file is one JSON object a line, the later of two for a key counts.
type ledger struct {
	path string

	mu      sync.Mutex
	file    *os.File
	lines   int
	entries map[string]*entry
}

// entry is a line.
type entry struct {
	Who     string          `json:"who,omitempty"` // token's name
	Key     string          `json:"key"`
	Request string          `json:"request"` // SHA-256 of method, path and body
	At      int64           `json:"at"`      // unix seconds
	Status  int             `json:"status"`  // 0: begun; -1: freed
	Answer  json.RawMessage `json:"answer,omitempty"`

	running bool
}

const (
	keyLimit    = 64
	keyLifetime = 24 * time.Hour
	keyBound    = 10_000 // that are remembered at a time
)

func openLedger(dir string) (*ledger, error) {
	l := &ledger{path: filepath.Join(dir, "requests.jsonl"), entries: map[string]*entry{}}
	file, err := os.ReadFile(l.path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	sc := bufio.NewScanner(bytes.NewReader(file))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var e entry
		// The last line may be torn: it was not acknowledged.
		if json.Unmarshal(sc.Bytes(), &e) == nil && e.Key != "" {
			l.take(&e)
		}
	}
	return l, l.rewrite()
}

func (l *ledger) take(e *entry) {
	if e.Status == -1 {
		delete(l.entries, e.Who+"/"+e.Key)
		return
	}
	l.entries[e.Who+"/"+e.Key] = e
}

// rewrite drops what is old. The mutex is held, or nobody else knows l yet.
func (l *ledger) rewrite() error {
	var text bytes.Buffer
	oldest := time.Now().Add(-keyLifetime).Unix()
	l.lines = 0
	for k, e := range l.entries {
		if e.At < oldest && !e.running {
			delete(l.entries, k)
			continue
		}
		text.Write(encode(e))
		l.lines++
	}
	if err := replaceFile(l.path, text.Bytes()); err != nil {
		return err
	}
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if l.file != nil {
		l.file.Close()
	}
	l.file = f
	return nil
}

func (l *ledger) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Close()
}

// append makes an entry durable. The mutex is held.
func (l *ledger) append(e *entry) error {
	if l.lines > 4*keyBound {
		if err := l.rewrite(); err != nil {
			return err
		}
	}
	if _, err := l.file.Write(encode(e)); err != nil {
		return err
	}
	l.lines++
	return l.file.Sync()
}

// once does act, unless the request's key says that it was done before: then its answer is given again.
func (l *ledger) once(r *http.Request, who string, body []byte, secret bool, act func() (int, []byte)) (int, []byte) {
	key := r.Header.Get("Idempotency-Key")
	if key == "" {
		return act()
	}
	fail := func(e *Error) (int, []byte) { return e.Status(), encode(errorBody{e}) }
	if len(key) > keyLimit {
		return fail(invalid("Idempotency-Key", fmt.Sprintf("at most %d bytes", keyLimit), "%d bytes, above %d", len(key), keyLimit))
	}
	if secret {
		return fail(invalid("Idempotency-Key", "none", "this answer is never kept, so it cannot be given twice"))
	}
	sum := sha256.Sum256(append([]byte(r.Method+" "+r.URL.Path+"\n"), body...))
	e, done, err := l.begin(entry{Who: who, Key: key, Request: hex.EncodeToString(sum[:]), At: time.Now().Unix()})
	if err != nil {
		return fail(err)
	}
	if done {
		return e.Status, append(bytes.Clone(e.Answer), '\n')
	}
	status, answer := act()
	l.end(e, status, answer)
	return status, answer
}

// begin is the entry of a key, new or (done) with its answer.
func (l *ledger) begin(e entry) (_ *entry, done bool, _ *Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old, known := l.entries[e.Who+"/"+e.Key]
	switch {
	case known && old.Request != e.Request:
		return nil, false, &Error{Code: Conflict, Field: "Idempotency-Key", Message: "the key was used for another request"}
	case known && old.running:
		return nil, false, &Error{Code: Conflict, Field: "Idempotency-Key", Message: "the request with this key is still running"}
	case known && old.Status == 0:
		return nil, false, &Error{Code: Unknown, Field: "Idempotency-Key",
			Message: "the node ended while it did this: look whether it was done, and use another key to do it again"}
	case known:
		return old, true, nil
	case len(l.entries) >= keyBound:
		if err := l.rewrite(); err != nil || len(l.entries) >= keyBound {
			return nil, false, &Error{Code: Unavailable, Message: fmt.Sprintf("%d idempotency keys in a day are remembered, and no more", keyBound)}
		}
	}
	if err := l.append(&e); err != nil {
		return nil, false, &Error{Code: Internal, Message: "the request cannot be noted: " + err.Error()}
	}
	e.running = true
	l.entries[e.Who+"/"+e.Key] = &e
	return &e, false, nil
}

// end notes the answer. A failure changed nothing, so its key is free again; but what the node's end interrupted may have been done.
func (l *ledger) end(e *entry, status int, answer []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.running = false
	switch {
	case status == http.StatusServiceUnavailable || status == http.StatusInternalServerError:
		return
	case status >= 300:
		e.Status = -1
	default:
		e.Status, e.Answer = status, bytes.TrimSpace(answer)
	}
	line := *e
	l.take(e)
	// If this fails the key stays begun on the disk, which is true.
	_ = l.append(&line)
}
