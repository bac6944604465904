// Package channeltest joins two channel.States by a wire, each with a disk that can lose what was not synced, and checks
// every state they reach. Tests, fuzzers and the explorer are built on it.
package channeltest

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"lightningrod/chain"
	"lightningrod/channel"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

// Options are how a Pair begins. Zeros take defaults.
type Options struct {
	Toy       bool                  // toy signatures
	Crypto    func(side int) Crypto // in place of Real
	Memo      *Memo
	Wire      bool // messages go through their encoding
	Manual    bool // turns stay queued until Sync
	Capacity  uint64
	Push      lnwire.MilliSatoshi
	FeePerKw  chain.FeePerKw
	Features  []byte // of both sides' init
	Params    func(side int, p *channel.Params)
	Unchecked bool // no checks after each turn: for benchmarks
}

// Turn is the result of one Apply, waiting for its sync.
type Turn struct {
	Save  channel.Save
	Send  []lnwire.Message
	Chain []chain.Request
	conn  int
}

// Rows are what a side has on its disk.
type Rows struct {
	Core    []byte
	Bodies  map[channel.BodyKey][]byte
	Revoked map[uint64][]byte
}

func (r *Rows) clone() Rows {
	c := Rows{Core: r.Core, Bodies: make(map[channel.BodyKey][]byte, len(r.Bodies)), Revoked: make(map[uint64][]byte, len(r.Revoked))}
	for k, v := range r.Bodies {
		c.Bodies[k] = v
	}
	for k, v := range r.Revoked {
		c.Revoked[k] = v
	}
	return c
}

// apply writes the rows of a turn.
func (r *Rows) apply(s channel.Save) error {
	if s.Delete {
		*r = Rows{Bodies: map[channel.BodyKey][]byte{}, Revoked: map[uint64][]byte{}}
		return nil
	}
	if s.Core != nil {
		r.Core = s.Core
	}
	for _, h := range s.Add {
		k := channel.BodyKey{Offered: h.Origin != nil, HTLC: h.Key.HTLC}
		if r.Bodies[k] != nil {
			return fmt.Errorf("body %+v written twice", k)
		}
		r.Bodies[k] = channel.EncodeHTLC(&h)
	}
	for _, k := range s.Remove {
		if r.Bodies[k] == nil {
			return fmt.Errorf("body %+v dropped, but not there", k)
		}
		delete(r.Bodies, k)
	}
	for _, v := range s.Revoked {
		r.Revoked[v.Number] = v.Data
	}
	return nil
}

// load is what Restore is given.
func (r *Rows) load() ([]channel.HTLC, error) {
	var bodies []channel.HTLC
	for _, b := range r.Bodies {
		h, err := channel.DecodeHTLC(b)
		if err != nil {
			return nil, err
		}
		bodies = append(bodies, h)
	}
	return bodies, nil
}

// Side is one of the two.
type Side struct {
	Name    string
	State   *channel.State // nil: it has forgotten the channel
	Crypto  Crypto
	Params  channel.Params
	Rows    Rows
	Queue   []Turn
	Out     []lnwire.Message // on the wire to the other side
	Chain   []chain.Request  // released requests
	Notices []channel.Notice // of the turns so far, lost ones too
	Log     func(side string, t Turn, notices []channel.Notice)

	committed map[uint64]bool // in this life
}

// Pair is two sides and a wire.
type Pair struct {
	Opt       Options
	Sides     [2]*Side
	Connected bool
	Height    uint32
	Funding   *wire.MsgTx
	conn      int
}

// Clone is an independent copy: the States are values.
func (p *Pair) Clone() *Pair {
	c := *p
	for i, s := range p.Sides {
		n := *s
		n.Rows = s.Rows.clone()
		n.Queue = append([]Turn(nil), s.Queue...)
		n.Out = append([]lnwire.Message(nil), s.Out...)
		n.Chain = nil
		n.Notices = nil
		n.committed = copyMap(s.committed)
		c.Sides[i] = &n
	}
	return &c
}

// Preimage is the preimage of the n-th payment of a test; Hash its hash.
func Preimage(n uint64) [32]byte { return sha256.Sum256(fmt.Appendf(nil, "preimage %d", n)) }

// Hash is the payment hash of Preimage(n).
func Hash(n uint64) [32]byte { p := Preimage(n); return sha256.Sum256(p[:]) }

// HTLC is an HTLC for a test: its origin and hash are numbered.
func HTLC(n uint64, amount lnwire.MilliSatoshi, expiry uint32) channel.HTLC {
	return channel.HTLC{Amount: amount, Hash: Hash(n), Expiry: expiry, Origin: channel.Payment{ID: n}}
}

// scripts are two addresses.
func script(side int) []byte {
	h := sha256.Sum256([]byte{byte(side)})
	return append([]byte{0, 20}, h[:20]...)
}

// DefaultFeatures are an init with what a channel needs: static_remotekey, large channels, anchors, anysegwit, channel_type, scid_alias.
var DefaultFeatures = features(13, 19, 23, 27, 45, 47)

func features(bits ...int) []byte {
	v := make([]byte, 6)
	for _, b := range bits {
		v[len(v)-1-b/8] |= 1 << (b % 8)
	}
	return v
}

// New makes a pair, not yet connected.
func New(o Options) *Pair {
	if o.Capacity == 0 {
		o.Capacity = 1_000_000
	}
	if o.FeePerKw == 0 {
		o.FeePerKw = 253
	}
	if o.Features == nil {
		o.Features = DefaultFeatures
	}
	if o.Toy && o.Memo == nil {
		o.Memo = NewMemo()
	}
	p := &Pair{Opt: o, Height: 100}
	for i, name := range []string{"alice", "bob"} {
		s := &Side{Name: name, committed: map[uint64]bool{}, Rows: Rows{Bodies: map[channel.BodyKey][]byte{}, Revoked: map[uint64][]byte{}}}
		switch {
		case o.Crypto != nil:
			s.Crypto = o.Crypto(i)
		case o.Toy:
			s.Crypto = NewToy(name, o.Memo)
		default:
			s.Crypto = NewReal(name)
		}
		s.Params = channel.Params{
			ID: channel.ID(i + 1), Opener: i == 0, BasePoints: s.Crypto.BasePoints(), MinDepth: 1, Height: p.Height,
			ShutdownScript: script(i), Alias: lnwire.NewShortChanIDFromInt(uint64(1000 + i)), TempID: [32]byte{7},
			Announce: true,
		}
		s.Params.Local[32], s.Params.Remote[32] = byte(i+1), byte(2-i)
		if o.Params != nil {
			o.Params(i, &s.Params)
		}
		s.State = channel.New(s.Params)
		p.Sides[i] = s
	}
	return p
}

// Open makes a pair with a channel that is ready for HTLCs.
func Open(o Options) (*Pair, error) {
	p := New(o)
	if err := p.Open(); err != nil {
		return nil, err
	}
	return p, nil
}

// Open goes through the whole opening.
func (p *Pair) Open() error {
	if err := p.Connect(); err != nil {
		return err
	}
	if err := p.Do(0, channel.Open{Capacity: p.Opt.Capacity, Push: p.Opt.Push, FeePerKw: p.Opt.FeePerKw}); err != nil {
		return err
	}
	if err := p.DeliverAll(); err != nil {
		return err
	}
	if err := p.Fund(); err != nil {
		return err
	}
	if err := p.DeliverAll(); err != nil {
		return err
	}
	if err := p.Confirm(1); err != nil {
		return err
	}
	if err := p.DeliverAll(); err != nil {
		return err
	}
	for _, s := range p.Sides {
		if _, _, ok := s.State.Usable(); !ok {
			return fmt.Errorf("%s is not usable: %v", s.Name, s.State)
		}
	}
	return nil
}

// Fund answers alice's NeedFunding with a transaction that spends an output of nobody.
func (p *Pair) Fund() error {
	for _, n := range p.Sides[0].Notices {
		if need, ok := n.(channel.NeedFunding); ok {
			p.Funding = &wire.MsgTx{Version: 2,
				TxIn:  []*wire.TxIn{{PreviousOutPoint: wire.OutPoint{Hash: chainhash.Hash{1}}, Witness: wire.TxWitness{{1}}}},
				TxOut: []*wire.TxOut{{Value: need.Amount, PkScript: need.Script}}}
			return p.Do(0, channel.Funding{Tx: p.Funding})
		}
	}
	return fmt.Errorf("alice has not asked for funding")
}

// Confirm puts the funding transaction into the next block and mines n blocks in all.
func (p *Pair) Confirm(n int) error {
	for i := 0; i < 2; i++ {
		if err := p.Do(i, channel.Chain{Event: chain.Confirmed{Tx: p.Funding, Height: p.Height + 1, TxIndex: 1}}); err != nil {
			return err
		}
	}
	return p.Mine(n)
}

// Mine connects n empty blocks.
func (p *Pair) Mine(n int) error {
	for ; n > 0; n-- {
		p.Height++
		for i := 0; i < 2; i++ {
			if err := p.Do(i, channel.Chain{Event: chain.BlockConnected{Height: p.Height, Hash: chainhash.Hash{byte(p.Height), byte(p.Height >> 8)}}}); err != nil {
				return err
			}
		}
	}
	return nil
}

// Do applies events, and Sign, to a side. What leaves is released at once unless the Pair is Manual.
func (p *Pair) Do(side int, evs ...channel.Event) error {
	if err := p.Raw(side, append(evs, channel.Sign{})...); err != nil {
		return err
	}
	if !p.Opt.Manual {
		return p.Sync(side)
	}
	return nil
}

// Raw applies events without Sign, and queues the turn.
func (p *Pair) Raw(side int, evs ...channel.Event) (err error) {
	s := p.Sides[side]
	if s.State == nil {
		return nil
	}
	next, out := channel.Apply(s.State, s.Crypto, evs)
	s.State = next
	s.Notices = append(s.Notices, out.Notices...)
	t := Turn{Save: out.Save, Send: out.Send, Chain: out.Chain, conn: p.conn}
	s.Queue = append(s.Queue, t)
	if s.Log != nil {
		s.Log(s.Name, t, out.Notices)
	}
	if p.Opt.Unchecked {
		return nil
	}
	return s.check(out.Notices)
}

// check is done after every turn.
func (s *Side) check(notices []channel.Notice) error {
	for _, n := range notices {
		if c, ok := n.(channel.Committed); ok {
			if s.committed[c.HTLC.Key.HTLC] {
				return fmt.Errorf("%s: htlc %d committed twice", s.Name, c.HTLC.Key.HTLC)
			}
			s.committed[c.HTLC.Key.HTLC] = true
		}
	}
	if err := s.State.Invariants(); err != nil {
		return fmt.Errorf("%s: %w\n%v", s.Name, err, s.State)
	}
	if !s.State.Durable() || s.State.Phase() == channel.PhaseClosed {
		return nil
	}
	return s.checkEncoding()
}

// checkEncoding: what is encoded is the state after Disconnected, and decoding gives that state.
func (s *Side) checkEncoding() error {
	quiet, _ := channel.Apply(s.State, s.Crypto, []channel.Event{channel.Disconnected{}})
	core := s.State.Encode()
	if !bytes.Equal(core, quiet.Encode()) {
		return fmt.Errorf("%s: the encoding is not that of the disconnected state\n%v\n%v", s.Name, s.State, quiet)
	}
	var bodies []channel.HTLC
	for _, hs := range [][]channel.LiveHTLC{quiet.Offered(), quiet.Received()} {
		for _, h := range hs {
			bodies = append(bodies, *h.HTLC)
		}
	}
	back, _, err := channel.Restore(core, bodies)
	if err != nil {
		return fmt.Errorf("%s: restore: %w\n%v", s.Name, err, quiet)
	}
	if !bytes.Equal(back.Encode(), core) {
		return fmt.Errorf("%s: decoding does not give back what was encoded", s.Name)
	}
	if back.String() != quiet.String() {
		return fmt.Errorf("%s: restored\n%v\nbut was\n%v", s.Name, back, quiet)
	}
	return nil
}

// Sync makes every queued turn of a side durable and releases it.
func (p *Pair) Sync(side int) error {
	s := p.Sides[side]
	for _, t := range s.Queue {
		if err := s.Rows.apply(t.Save); err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		s.Chain = append(s.Chain, t.Chain...)
		if p.Connected && t.conn == p.conn {
			for _, m := range t.Send {
				m, err := p.encode(m)
				if err != nil {
					return fmt.Errorf("%s: %w", s.Name, err)
				}
				s.Out = append(s.Out, m)
			}
		}
	}
	s.Queue = s.Queue[:0]
	return nil
}

// encode sends a message through its bytes.
func (p *Pair) encode(m lnwire.Message) (lnwire.Message, error) {
	if !p.Opt.Wire {
		return m, nil
	}
	var b bytes.Buffer
	if _, err := lnwire.WriteMessage(&b, m, 0); err != nil {
		return nil, err
	}
	return lnwire.ReadMessage(&b, 0)
}

// Connect begins a connection.
func (p *Pair) Connect() error {
	if p.Connected {
		return nil
	}
	p.Connected = true
	p.conn++
	for i := range p.Sides {
		if err := p.Do(i, channel.Connected{Features: p.Opt.Features}); err != nil {
			return err
		}
	}
	return nil
}

// Disconnect loses everything on the wire.
func (p *Pair) Disconnect() error {
	if !p.Connected {
		return nil
	}
	p.cut()
	for i := range p.Sides {
		if err := p.Do(i, channel.Disconnected{}); err != nil {
			return err
		}
	}
	return nil
}

func (p *Pair) cut() {
	p.Connected = false
	p.Sides[0].Out, p.Sides[1].Out = nil, nil
}

// Crash loses what a side has not synced, and the connection; the side is restored from its rows.
func (p *Pair) Crash(side int) error {
	s := p.Sides[side]
	s.Queue = s.Queue[:0]
	if p.Connected {
		p.cut()
		if err := p.Do(1-side, channel.Disconnected{}); err != nil {
			return err
		}
	}
	s.committed = map[uint64]bool{}
	if s.Rows.Core == nil {
		s.State = nil
		return nil
	}
	bodies, err := s.Rows.load()
	if err != nil {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	st, out, err := channel.Restore(s.Rows.Core, bodies)
	if err != nil {
		return fmt.Errorf("%s: restart: %w", s.Name, err)
	}
	s.State = st
	s.Chain = append(s.Chain, out.Chain...)
	for _, h := range st.Received() {
		if h.Stage == channel.Irrevocable {
			s.committed[h.HTLC.Key.HTLC] = true
		}
	}
	if st.Height() < p.Height {
		return p.catchUp(side)
	}
	return nil
}

// catchUp gives a side the blocks it has missed.
func (p *Pair) catchUp(side int) error {
	for h := p.Sides[side].State.Height() + 1; h <= p.Height; h++ {
		if err := p.Do(side, channel.Chain{Event: chain.BlockConnected{Height: h, Hash: chainhash.Hash{byte(h), byte(h >> 8)}}}); err != nil {
			return err
		}
	}
	return nil
}

// Deliver gives the other side the next message that a side has sent. false: there is none.
func (p *Pair) Deliver(from int) (bool, error) {
	s := p.Sides[from]
	if len(s.Out) == 0 {
		return false, nil
	}
	m := s.Out[0]
	s.Out = s.Out[1:]
	return true, p.Do(1-from, channel.Received{Msg: m})
}

// DeliverBatch gives the other side the next n messages in one turn.
func (p *Pair) DeliverBatch(from, n int) error {
	s := p.Sides[from]
	n = min(n, len(s.Out))
	if n == 0 {
		return nil
	}
	evs := make([]channel.Event, n)
	for i := range evs {
		evs[i] = channel.Received{Msg: s.Out[i]}
	}
	s.Out = s.Out[n:]
	return p.Do(1-from, evs...)
}

// DeliverAll delivers until nothing is on the wire.
func (p *Pair) DeliverAll() error {
	for {
		a, err := p.Deliver(0)
		if err != nil {
			return err
		}
		b, err := p.Deliver(1)
		if err != nil {
			return err
		}
		if !a && !b {
			return nil
		}
	}
}

// Agree checks that both sides, at rest, believe the same: balances, fee rate, HTLCs.
func (p *Pair) Agree() error {
	a, b := p.Sides[0].State, p.Sides[1].State
	al, ar := a.Balance()
	bl, br := b.Balance()
	if al != br || ar != bl {
		return fmt.Errorf("balances differ: alice %d %d, bob %d %d", al, ar, bl, br)
	}
	if a.FeePerKw() != b.FeePerKw() {
		return fmt.Errorf("fee rates differ: %d and %d", a.FeePerKw(), b.FeePerKw())
	}
	if len(a.Offered()) != len(b.Received()) || len(a.Received()) != len(b.Offered()) {
		return fmt.Errorf("htlcs differ:\n%v\n%v", a, b)
	}
	return nil
}

// ConfirmSpend puts a transaction into a new block and tells both sides of the outputs they watch that it spends.
func (p *Pair) ConfirmSpend(tx *wire.MsgTx) error {
	for side, s := range p.Sides {
		if s.State == nil {
			continue
		}
		for i, in := range tx.TxIn {
			f := chain.Spent{Out: in.PreviousOutPoint, By: tx, Input: uint32(i), Height: p.Height + 1, TxIndex: 1}
			if err := p.Do(side, channel.Chain{Event: f}); err != nil {
				return err
			}
		}
	}
	return p.Mine(1)
}

// Reorg disconnects the newest block.
func (p *Pair) Reorg() error {
	for i := range p.Sides {
		if err := p.Do(i, channel.Chain{Event: chain.BlockDisconnected{Height: p.Height}}); err != nil {
			return err
		}
	}
	p.Height--
	return nil
}
