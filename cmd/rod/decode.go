package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"lightningrod/cmd/rod/internal/explain"
	"lightningrod/cmd/rod/internal/facts"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/chaincfg"
)

// decodeCommands say what bytes mean. Hex may be given with 0x and spaces; - is the standard input.
type decodeCommands struct {
	Any          decodeAny          `cmd:"" default:"withargs" help:"Whatever it is: what it was taken for is said."`
	Message      decodeMessage      `cmd:"" help:"A message of BOLT 1, 2, 4 or 7: its type and its fields."`
	Onion        decodeOnion        `cmd:"" help:"The onion of an HTLC: what all may see, and with a key what one node is told."`
	OnionMessage decodeOnionMessage `cmd:"" help:"An onion message: what all may see, and with a key what one node is told."`
	Invoice      decodeInvoice      `cmd:"" help:"A BOLT 11 invoice of any network."`
	Path         decodePath         `cmd:"" help:"A blinded path."`
	Tx           decodeTx           `cmd:"" help:"A transaction: of a channel, its kind, its commitment number and its scripts."`
	SCID         decodeSCID         `cmd:"" name:"scid" help:"A short_channel_id, as 1x2x3 or as a number."`
	Node         decodeNode         `cmd:"" help:"A node's id, or its id and address."`
	TLVs         decodeTLVs         `cmd:"" name:"tlvs" help:"A TLV stream."`
}

// input is what is to be decoded.
type input struct {
	Input string `arg:"" placeholder:"HEX" help:"The bytes in hex; - reads the standard input."`
}

// maxInput is the characters that are read from the standard input.
const maxInput = 16 << 20

func (i *input) text() (string, error) {
	if i.Input != "-" {
		return i.Input, nil
	}
	b, err := io.ReadAll(io.LimitReader(os.Stdin, maxInput+1))
	if len(b) > maxInput {
		return "", fmt.Errorf("standard input: more than %d characters", maxInput)
	}
	return strings.TrimSpace(string(b)), err
}

// say shows what was explained.
func (i *input) say(s *session, f func(text string) (facts.Facts, error)) error {
	text, err := i.text()
	if err != nil {
		return err
	}
	said, err := f(text)
	if err != nil {
		return err
	}
	return s.raw(said)
}

// ofBytes is say for hex.
func (i *input) ofBytes(s *session, f func(b []byte) (facts.Facts, error)) error {
	return i.say(s, func(text string) (facts.Facts, error) {
		b, err := explain.Bytes(text)
		if err != nil {
			return nil, err
		}
		return f(b)
	})
}

// raw shows names as the BOLTs have them.
func (s *session) raw(f facts.Facts) error {
	if s.plain() {
		return f.Write(s.stdout)
	}
	return s.encode(f)
}

func (s *session) params() *chaincfg.Params {
	if s.Network == "signet" {
		return &chaincfg.SigNetParams
	}
	return &chaincfg.RegressionNetParams
}

type decodeAny struct{ input }

// Run guesses.
func (c *decodeAny) Run(s *session) error {
	return c.say(s, func(text string) (facts.Facts, error) {
		what, f, err := explain.Any(text, s.params())
		return append(facts.Facts{{Name: "decoded_as", Value: what}}, f...), err
	})
}

type decodeMessage struct{ input }

// Run explains a message.
func (c *decodeMessage) Run(s *session) error { return c.ofBytes(s, explain.Message) }

// onionKeys open an onion.
type onionKeys struct {
	Key          secretFlag `placeholder:"HEX" help:"The private key of the node that the onion is for; @FILE reads it from a file."`
	SharedSecret secretFlag `placeholder:"HEX" help:"Instead of the key: the secret that the node shares with the origin."`
}

// secretFlag is 32 bytes of hex, or @FILE with them: others on the machine see command lines.
type secretFlag struct{ b *[32]byte }

// UnmarshalText reads it. What was given is never in an error.
func (f *secretFlag) UnmarshalText(text []byte) error {
	if name, ok := strings.CutPrefix(string(text), "@"); ok {
		var err error
		if text, err = os.ReadFile(name); err != nil {
			return err
		}
	}
	b, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(b) != 32 {
		return errors.New("not 64 hex digits")
	}
	f.b = (*[32]byte)(b)
	return nil
}

func (o *onionKeys) keys() (k explain.Keys, err error) {
	if o.Key.b != nil && o.SharedSecret.b != nil {
		return k, wrong("--key and --shared-secret: one of them")
	}
	k.Secret = o.SharedSecret.b
	if o.Key.b != nil {
		var scalar btcec.ModNScalar
		if overflow := scalar.SetBytes(o.Key.b); overflow != 0 || scalar.IsZero() {
			return k, wrong("--key: not a private key of secp256k1")
		}
		k.Node = btcec.PrivKeyFromScalar(&scalar)
	}
	return k, nil
}

type decodeOnion struct {
	input
	onionKeys
	PaymentHash string `placeholder:"HEX" help:"The HTLC's payment hash: without it the hmac is not checked."`
	PathKey     string `placeholder:"HEX" help:"The path_key that came with the HTLC, in a blinded path."`
}

// Run opens the onion.
func (c *decodeOnion) Run(s *session) error {
	keys, err := c.keys()
	if err != nil {
		return err
	}
	if keys.Hash, err = fixed[[32]byte]("--payment-hash", c.PaymentHash); err != nil {
		return err
	}
	path, err := fixed[[33]byte]("--path-key", c.PathKey)
	if err != nil {
		return err
	}
	if path != nil {
		keys.PathKey = path[:]
	}
	return c.ofBytes(s, func(b []byte) (facts.Facts, error) { return explain.Onion(b, keys) })
}

// fixed is a flag of so many bytes in hex; nil: not given.
func fixed[T [32]byte | [33]byte](name, text string) (*T, error) {
	if text == "" {
		return nil, nil
	}
	var out T
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(out) {
		return nil, wrong("%s: %d characters, need %d hex digits", name, len(text), 2*len(out))
	}
	for i := range b {
		out[i] = b[i]
	}
	return &out, nil
}

type decodeOnionMessage struct {
	input
	onionKeys
}

// Run opens the onion message.
func (c *decodeOnionMessage) Run(s *session) error {
	keys, err := c.keys()
	if err != nil {
		return err
	}
	return c.ofBytes(s, func(b []byte) (facts.Facts, error) { return explain.OnionMessage(b, keys) })
}

type decodeInvoice struct {
	Invoice string `arg:"" help:"The invoice."`
}

// Run explains an invoice.
func (c *decodeInvoice) Run(s *session) error {
	f, err := explain.Invoice(c.Invoice)
	if err != nil {
		return err
	}
	return s.raw(f)
}

type decodePath struct{ input }

// Run explains a blinded path.
func (c *decodePath) Run(s *session) error { return c.ofBytes(s, explain.Path) }

type decodeTx struct {
	input
	OpenerPaymentBasepoint   string `placeholder:"HEX" help:"With the accepter's: gives a commitment's number."`
	AccepterPaymentBasepoint string `placeholder:"HEX" help:"See above."`
}

// Run explains a transaction.
func (c *decodeTx) Run(s *session) error {
	opener, err := fixed[[33]byte]("--opener-payment-basepoint", c.OpenerPaymentBasepoint)
	if err != nil {
		return err
	}
	accepter, err := fixed[[33]byte]("--accepter-payment-basepoint", c.AccepterPaymentBasepoint)
	if err != nil {
		return err
	}
	if (opener == nil) != (accepter == nil) {
		return wrong("--opener-payment-basepoint and --accepter-payment-basepoint: both or neither")
	}
	return c.ofBytes(s, func(b []byte) (facts.Facts, error) { return explain.Tx(b, s.params(), opener, accepter) })
}

type decodeSCID struct {
	ID string `arg:"" placeholder:"ID" help:"As 1x2x3 or as a number."`
}

// Run explains a short_channel_id.
func (c *decodeSCID) Run(s *session) error {
	f, err := explain.ShortChannelID(c.ID)
	if err != nil {
		return err
	}
	return s.raw(f)
}

type decodeNode struct {
	Node string `arg:"" placeholder:"ID[@HOST:PORT]" help:"The id, with or without an address."`
}

// Run explains a node's id and address.
func (c *decodeNode) Run(s *session) error {
	f, err := explain.Node(c.Node)
	if err != nil {
		return err
	}
	return s.raw(f)
}

type decodeTLVs struct {
	input
	Stream string `default:"" placeholder:"NAME" complete:"stream" help:"Which stream it is, as in payload, encrypted_data, onion_message, rod_hold; names only known records."`
}

// Run explains a TLV stream.
func (c *decodeTLVs) Run(s *session) error {
	return c.ofBytes(s, func(b []byte) (facts.Facts, error) { return explain.Stream(c.Stream, b) })
}
