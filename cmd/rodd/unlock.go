package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"lightningrod/chain/bitcoind"
	"lightningrod/cmd/internal/seed"

	"golang.org/x/term"
)

// seedKeeper finds, makes and opens the seed file.
type seedKeeper struct {
	cfg            *config
	stdin          *os.File
	stdout, stderr io.Writer
	unseen         bool // open made a seed whose words nobody has seen
}

func (k *seedKeeper) path() string { return filepath.Join(k.cfg.dir(), "seed") }

// open gives the seed, making one if there is none and that may be done here: on a terminal, where the words can be read, or on the embedded
// chain, whose coins exist only in this folder.
func (k *seedKeeper) open() ([]byte, error) {
	file, err := os.ReadFile(k.path())
	if errors.Is(err, os.ErrNotExist) {
		if k.cfg.Chain.Backend != "embedded" && !isTerminal(k.stdout) {
			return nil, exitError{exitSeed, fmt.Errorf("no seed in %s: make one with rodd init, which shows its 24 words, or with rodd init --restore from words", k.cfg.dir())}
		}
		k.unseen = !isTerminal(k.stdout)
		if err := k.create(!k.unseen); err != nil {
			return nil, err
		}
		file, err = os.ReadFile(k.path())
	}
	if err != nil {
		return nil, err
	}
	var password []byte
	if seed.Encrypted(file) {
		if password, err = k.password(false); err != nil {
			return nil, err
		}
	}
	s, err := seed.Decode(file, password)
	if err != nil {
		return nil, exitError{exitSeed, fmt.Errorf("%s: %w", k.path(), err)}
	}
	return s, nil
}

// create makes a seed file, and shows the words if asked to. They are nowhere afterwards.
func (k *seedKeeper) create(show bool) error {
	if err := k.vacant(); err != nil {
		return err
	}
	password, err := k.newPassword()
	if err != nil {
		return err
	}
	s, words, err := seed.Generate()
	if err != nil {
		return err
	}
	if err := seed.Write(k.path(), s, password); err != nil {
		return err
	}
	if err := k.writeOrigin(origin{New: true}); err != nil {
		return err
	}
	if !show {
		return nil
	}
	fmt.Fprintln(k.stdout, "These 24 words are the node's keys. Write them down now: they are shown this once.")
	for i := 0; i < len(words); i += 6 {
		for j, w := range words[i : i+6] {
			fmt.Fprintf(k.stdout, "%3d %-9s", i+j+1, w)
		}
		fmt.Fprintln(k.stdout)
	}
	fmt.Fprintln(k.stdout, "They bring back coins on the chain. Channels need the database too.")
	if k.cfg.Chain.Backend == "embedded" {
		return nil
	}
	if height, err := k.height(); err != nil {
		fmt.Fprintf(k.stdout, "Note the block height of now with them, as their birthday: older blocks need not be searched then. bitcoind does not tell it: %v\n", err)
	} else {
		fmt.Fprintf(k.stdout, "Birthday: block %d. Note it with the words: older blocks need not be searched then.\n", height)
	}
	return nil
}

// heightPatience is how long bitcoind may take to tell its height. Without it a seed is as good.
const heightPatience = 3 * time.Second

// height is bitcoind's.
func (k *seedKeeper) height() (height uint32, err error) {
	access, err := k.cfg.access()
	if err != nil {
		return 0, err
	}
	client, err := bitcoind.NewClient(access)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), heightPatience)
	defer cancel()
	return height, client.Call(ctx, &height, "getblockcount")
}

// restore makes the seed file from words. They come from a file, a terminal or the standard input. Of the birthday a terminal is asked too.
func (k *seedKeeper) restore(path string, birthday uint32) error {
	if err := k.vacant(); err != nil {
		return err
	}
	text, err := k.words(path)
	if err != nil {
		return exitError{exitSeed, err}
	}
	s, err := seed.FromWords(text)
	if err != nil {
		return exitError{exitSeed, err}
	}
	if birthday == 0 && path == "" && isTerminal(k.stdin) && k.cfg.Chain.Backend != "embedded" {
		if birthday, err = k.askBirthday(); err != nil {
			return exitError{exitSeed, err}
		}
	}
	password, err := k.newPassword()
	if err != nil {
		return err
	}
	if err := seed.Write(k.path(), s, password); err != nil {
		return err
	}
	if err := k.writeOrigin(origin{Birthday: birthday}); err != nil {
		return err
	}
	fmt.Fprintln(k.stdout, "The seed is restored. The wallet looks for its coins when rodd runs; with a backup of the database, give it to rodd restore first.")
	return nil
}

// wordsLimit bounds what is read as words.
const wordsLimit = 4096

// words reads them. A terminal is read until there are enough.
func (k *seedKeeper) words(path string) (string, error) {
	switch {
	case path != "":
		text, err := os.ReadFile(path)
		return string(text), err
	case !isTerminal(k.stdin):
		text, err := io.ReadAll(io.LimitReader(k.stdin, wordsLimit))
		return string(text), err
	}
	fmt.Fprintln(k.stderr, "The 24 words, in a line or in several:")
	text := ""
	for len(strings.Fields(text)) < seed.WordCount && len(text) < wordsLimit {
		line, err := k.line()
		if err != nil {
			break // the end of input: what is missing is said below
		}
		text += line
	}
	return text, nil
}

// line reads one from the terminal, which gives no more at a time.
func (k *seedKeeper) line() (string, error) {
	b := make([]byte, wordsLimit)
	n, err := k.stdin.Read(b)
	return string(b[:n]), err
}

func (k *seedKeeper) askBirthday() (uint32, error) {
	fmt.Fprint(k.stderr, "Their birthday, a block height (Enter: not known, all blocks are searched)? ")
	line, err := k.line()
	line = strings.TrimSpace(line)
	if err != nil && !errors.Is(err, io.EOF) || line == "" {
		return 0, nil
	}
	height, err := strconv.ParseUint(strings.ReplaceAll(line, ",", ""), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("birthday: %.20q is not a block height", line)
	}
	return uint32(height), nil
}

// vacant refuses to make a seed where there is one, or a database of another's.
func (k *seedKeeper) vacant() error {
	for _, name := range []string{"seed", "node.db"} {
		path := filepath.Join(k.cfg.dir(), name)
		if _, err := os.Lstat(path); err == nil {
			return exitError{exitSeed, fmt.Errorf("%s is there already and is not replaced", path)}
		} else if !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// newPassword is the password of a seed file that is to be made; nil: none.
func (k *seedKeeper) newPassword() ([]byte, error) {
	given := k.cfg.Seed.Password != "" || k.cfg.Seed.PasswordFile != ""
	switch {
	case k.cfg.Seed.NoEncrypt && given:
		return nil, exitError{exitConfig, errors.New("seed.no-encrypt and a password: give one")}
	case k.cfg.Seed.NoEncrypt, !given && k.cfg.Chain.Backend == "embedded":
		return nil, nil
	}
	return k.password(true)
}

// passwordLimit bounds what is read from a password file.
const passwordLimit = 1024

// password comes from the file, the environment or the terminal. Twice asks for it twice.
func (k *seedKeeper) password(twice bool) ([]byte, error) {
	var p []byte
	switch {
	case k.cfg.Seed.PasswordFile != "":
		f, err := os.Open(k.cfg.Seed.PasswordFile)
		if err != nil {
			return nil, exitError{exitSeed, fmt.Errorf("seed.password-file: %w", err)}
		}
		defer f.Close()
		if p, err = io.ReadAll(io.LimitReader(f, passwordLimit+1)); err != nil {
			return nil, exitError{exitSeed, fmt.Errorf("seed.password-file: %w", err)}
		}
		p = bytes.TrimRight(p, "\r\n")
	case k.cfg.Seed.Password != "":
		p = []byte(k.cfg.Seed.Password)
	case isTerminal(k.stdin):
		return k.ask(twice)
	default:
		return nil, exitError{exitSeed, fmt.Errorf("the seed needs a password: --seed.password-file, ROD_SEED_PASSWORD or a terminal%s", k.regtestHint(twice))}
	}
	if len(p) == 0 || len(p) > passwordLimit {
		return nil, exitError{exitSeed, fmt.Errorf("seed password: %d bytes, need 1 to %d", len(p), passwordLimit)}
	}
	return p, nil
}

func (k *seedKeeper) regtestHint(making bool) string {
	if making && k.cfg.Network == "regtest" {
		return "; on regtest also --seed.no-encrypt"
	}
	return ""
}

func (k *seedKeeper) ask(twice bool) ([]byte, error) {
	read := func(prompt string) ([]byte, error) {
		fmt.Fprint(k.stderr, prompt)
		p, err := term.ReadPassword(int(k.stdin.Fd()))
		fmt.Fprintln(k.stderr)
		return p, err
	}
	p, err := read("Password of the seed: ")
	if err != nil {
		return nil, exitError{exitSeed, err}
	}
	if twice {
		again, err := read("Once more: ")
		if err != nil {
			return nil, exitError{exitSeed, err}
		}
		if !bytes.Equal(p, again) {
			return nil, exitError{exitSeed, errors.New("the two passwords differ")}
		}
	}
	if strings.TrimSpace(string(p)) == "" {
		return nil, exitError{exitSeed, errors.New("the password is empty")}
	}
	return p, nil
}
