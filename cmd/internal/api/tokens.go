package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Token is a bearer token as it is kept: only its SHA-256. A token is 32 random bytes, so that a slow hash would add nothing.
type Token struct {
	Name    string `json:"name"`
	Scope   Scope  `json:"scope"`
	Hash    string `json:"sha256"`
	Created string `json:"created_at"`
}

// Tokens is the file of tokens.
type Tokens struct {
	path string
	mu   sync.Mutex
	all  []Token
}

// tokenMark begins every token, so that one that leaked is recognised for what it is.
const tokenMark = "rod_"

// tokenBound is how many tokens there may be.
const tokenBound = 1000

func openTokens(dir string) (*Tokens, error) {
	t := &Tokens{path: filepath.Join(dir, "tokens.json")}
	file, err := os.ReadFile(t.path)
	if errors.Is(err, os.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(file, &t.all); err != nil {
		return nil, fmt.Errorf("%s: %w", t.path, err)
	}
	return t, nil
}

// find looks a token up by its hash, so that the time it takes says nothing about how much of a guess was right.
func (t *Tokens) find(secret string) (Token, bool) {
	sum := sha256.Sum256([]byte(secret))
	want := hex.EncodeToString(sum[:])
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, tok := range t.all {
		if tok.Hash == want {
			return tok, true
		}
	}
	return Token{}, false
}

func (t *Tokens) change(f func([]Token) ([]Token, error)) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	all, err := f(slices.Clone(t.all))
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	if err := replaceFile(t.path, append(text, '\n')); err != nil {
		return &Error{Code: Internal, Message: "tokens.json: " + err.Error()}
	}
	t.all = all
	return nil
}

type CreateToken struct {
	Name  string `json:"name" required:"true" max:"64" doc:"what the token is for; unique"`
	Scope string `json:"scope" required:"true" doc:"read, invoice or admin"`
}

type NewToken struct {
	Name  string `json:"name"`
	Scope string `json:"scope"`
	Token string `json:"token" doc:"to be sent as Authorization: Bearer"`
}

type TokenName struct {
	Name string `path:"name" max:"64"`
}

type TokenInfo struct {
	Name    string `json:"name"`
	Scope   string `json:"scope"`
	Created string `json:"created_at"`
}

func createToken(s *Server, _ context.Context, in CreateToken) (NewToken, error) {
	scope := Scope(in.Scope)
	if !slices.Contains([]Scope{Read, InvoiceRW, Admin}, scope) {
		return NewToken{}, invalid("scope", "read, invoice or admin", "%.20q is none", in.Scope)
	}
	if strings.ContainsAny(in.Name, "/\x00") {
		return NewToken{}, invalid("name", "no slash", "has a character that it may not have")
	}
	var b [32]byte
	if _, err := rand.Read(b[:]); err != nil {
		return NewToken{}, err
	}
	secret := tokenMark + hex.EncodeToString(b[:])
	sum := sha256.Sum256([]byte(secret))
	err := s.tokens.change(func(all []Token) ([]Token, error) {
		if slices.ContainsFunc(all, func(t Token) bool { return t.Name == in.Name }) {
			return nil, invalid("name", "unique", "there is a token of this name")
		}
		if len(all) >= tokenBound {
			return nil, &Error{Code: Refused, Message: fmt.Sprintf("there are %d tokens, at most %d", len(all), tokenBound)}
		}
		return append(all, Token{in.Name, scope, hex.EncodeToString(sum[:]), time.Now().UTC().Format(time.RFC3339)}), nil
	})
	if err != nil {
		return NewToken{}, err
	}
	return NewToken{in.Name, in.Scope, secret}, nil
}

func deleteToken(s *Server, _ context.Context, in TokenName) (Empty, error) {
	return Empty{}, s.tokens.change(func(all []Token) ([]Token, error) {
		rest := slices.DeleteFunc(all, func(t Token) bool { return t.Name == in.Name })
		if len(rest) == len(all) {
			return nil, &Error{Code: NotFound, Field: "name", Message: "no token of this name"}
		}
		return rest, nil
	})
}

func listTokens(s *Server, _ context.Context, _ Empty) (List[TokenInfo], error) {
	s.tokens.mu.Lock()
	defer s.tokens.mu.Unlock()
	l := List[TokenInfo]{Items: []TokenInfo{}}
	for _, t := range s.tokens.all {
		l.Items = append(l.Items, TokenInfo{t.Name, string(t.Scope), t.Created})
	}
	return l, nil
}
