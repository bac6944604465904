package channel

import (
	"encoding/binary"
	"fmt"

	"lightningrod/chain"
	"lightningrod/chain/octets"
	"lightningrod/channel/commitment"
	"lightningrod/channel/onchain"

	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

// Encode is the State as the row core: canonical, so that equal states have equal bytes. Updates at Proposed are left
// out, as after Disconnected; ids on disk count only what was signed for. HTLC bodies have rows of their own.
func (s *State) Encode() []byte {
	var w encoder
	w.grow(2048 + 64*len(s.localHTLCSigs) + 48*(len(s.offered)+len(s.received)))
	w.b = append(w.b, encodingVersion)
	w.params(&s.params)
	w.limits(&s.local)
	w.limits(&s.remote)
	w.basePoints(&s.theirs)
	w.uint8(uint8(s.phase))
	w.bools(s.announce, s.scidAlias, s.awaiting, s.revokedLast, s.readySent, s.readyReceived, s.readied, s.deep, s.shutdownWanted, s.shutdownSent)
	w.uint32(s.minDepth)
	w.uint64(uint64(s.capacity))
	w.b = octets.AppendOutPoint(w.b, s.funding)
	w.tx(s.fundingTx)
	w.uint64(uint64(s.balanceLocal))
	w.uint64(uint64(s.balanceRemote))
	w.offered(s.offered, s.nextOffered)
	w.received(s.received, s.nextReceived)
	w.fees(s.fees)
	w.uint64(s.localNumber)
	w.sig(s.localSig)
	w.uint16(uint16(len(s.localHTLCSigs)))
	for _, sig := range s.localHTLCSigs {
		w.sig(sig)
	}
	w.uint64(s.remoteNumber)
	w.array(s.remotePrev[:])
	w.array(s.remotePoint[:])
	w.array(s.remoteNext[:])
	w.bytes(s.secrets.Encode())
	w.uint32(uint32(s.signedRefs))
	for _, r := range s.sent[:s.signedRefs] {
		w.uint8(uint8(r.kind))
		w.uint64(r.id)
	}
	w.uint64(s.remoteAlias.ToUint64())
	w.uint32(s.height)
	w.array(s.block[:])
	w.uint32(s.confirmed)
	w.uint32(s.txIndex)
	w.bytes(s.upfront)
	w.bytes(s.localScript)
	w.bytes(s.remoteScript)
	w.uint32(uint32(s.closeRate))
	w.end(&s.end)
	return w.b
}

// Restore is the channel after a restart: as after Disconnected. bodies are the HTLC rows; those we offered have an
// Origin. The Output asks for every watch and publish that is still needed.
func Restore(core []byte, bodies []HTLC) (*State, Output, error) {
	c := &cursor{octets.Of(core)}
	s := &State{opening: openFunded, lastFee: -1, lastHeard: -1}
	index, err := bodiesOf(bodies)
	if err != nil {
		return nil, Output{}, fmt.Errorf("channel: %w", err)
	}
	c.version()
	c.params(&s.params)
	c.limits(&s.local)
	c.limits(&s.remote)
	c.basePoints(&s.theirs)
	if s.phase = Phase(c.Uint8()); s.phase >= PhaseClosed {
		c.Fail("phase %d", s.phase)
	}
	c.Bools(&s.announce, &s.scidAlias, &s.awaiting, &s.revokedLast, &s.readySent, &s.readyReceived, &s.readied, &s.deep, &s.shutdownWanted, &s.shutdownSent)
	s.minDepth = c.Uint32()
	s.capacity = c.sat()
	s.funding = c.OutPoint()
	s.fundingTx = c.Tx()
	s.balanceLocal, s.balanceRemote = c.msat(), c.msat()
	s.offered, s.nextOffered = c.offered(index), c.Uint64()
	s.received, s.nextReceived = c.received(index), c.Uint64()
	s.fees = c.fees()
	s.localNumber = c.Uint64()
	s.localSig = c.sig()
	s.localHTLCSigs = c.sigs()
	s.remoteNumber = c.Uint64()
	s.remotePrev, s.remotePoint, s.remoteNext = c.point(true), c.point(false), c.point(true)
	s.secrets = c.secrets()
	s.sent = c.refs()
	s.signedRefs = len(s.sent)
	s.remoteAlias = lnwire.NewShortChanIDFromInt(c.Uint64())
	s.height = c.Uint32()
	c.Array(s.block[:])
	s.confirmed, s.txIndex = c.Uint32(), c.Uint32()
	s.upfront, s.localScript, s.remoteScript = c.Bytes(), c.Bytes(), c.Bytes()
	s.closeRate = chain.FeePerKw(c.Uint32())
	onchainRow := c.endOf(&s.end)
	if err := c.End(); err != nil {
		return nil, Output{}, fmt.Errorf("channel: %w", err)
	}
	for k, h := range index {
		if h != nil {
			return nil, Output{}, fmt.Errorf("channel %d: a body of htlc %d, which does not exist", s.params.ID, k.HTLC)
		}
	}
	s.channelID = lnwire.NewChanIDFromOutPoint(s.funding)
	s.obscure = s.obscureFactor()
	if err := s.plausible(); err != nil {
		return nil, Output{}, fmt.Errorf("channel %d: %w", s.params.ID, err)
	}
	if s.end.chain, err = s.restoreOnchain(onchainRow); err != nil {
		return nil, Output{}, fmt.Errorf("channel %d: %w", s.params.ID, err)
	}
	return s, Output{Chain: s.watches()}, nil
}

func (s *State) restoreOnchain(row []byte) (*onchain.State, error) {
	if frozen := s.end.kind == endLocal || s.end.kind == endRemote; !frozen {
		return nil, nil
	}
	return onchain.Decode(s.onchainParams(s.end.point), row)
}

// bodiesOf indexes the bodies. Every one must belong to an HTLC of the core, and there must be one for each.
func bodiesOf(bodies []HTLC) (map[BodyKey]*HTLC, error) {
	index := make(map[BodyKey]*HTLC, len(bodies))
	for i := range bodies {
		h := &bodies[i]
		k := BodyKey{Offered: h.Origin != nil, HTLC: h.Key.HTLC}
		switch {
		case index[k] != nil:
			return nil, fmt.Errorf("two bodies of htlc %d", k.HTLC)
		case h.Amount == 0 || h.Amount > maxMoney*1000:
			return nil, fmt.Errorf("amount %d of htlc %d", uint64(h.Amount), k.HTLC)
		}
		index[k] = h
	}
	return index, nil
}

// plausible checks what the fields must be to each other. What it lets through cannot make Apply panic by itself.
func (s *State) plausible() error {
	if s.capacity == 0 {
		return fmt.Errorf("no capacity")
	}
	if err := s.Invariants(); err != nil {
		return err
	}
	for _, hs := range [][]htlc{s.offered, s.received} {
		for _, h := range hs {
			if h.Key.Channel != s.params.ID {
				return fmt.Errorf("a body of htlc %d of channel %d", h.Key.HTLC, h.Key.Channel)
			}
		}
	}
	switch {
	case s.awaiting && s.remoteNumber == 0:
		return fmt.Errorf("awaits the revocation of nothing")
	case s.awaiting != (s.remotePrev != commitment.PubKey{}):
		return fmt.Errorf("the point before does not fit")
	case s.secrets.Next() != s.remoteNumber-b2u(s.awaiting):
		return fmt.Errorf("%d secrets for commitment %d", s.secrets.Next(), s.remoteNumber)
	case s.localNumber > commitment.MaxNumber-2 || s.remoteNumber > commitment.MaxNumber-2:
		return fmt.Errorf("commitment numbers %d and %d", s.localNumber, s.remoteNumber)
	case s.phase == PhaseClosing != (s.end.kind != endNone):
		return fmt.Errorf("phase %v with end %d", s.phase, s.end.kind)
	case len(s.sweepScript()) == 0:
		return fmt.Errorf("no script for what is ours on chain")
	case s.shutdownSent && len(s.localScript) == 0:
		return fmt.Errorf("shutdown without a script")
	}
	for _, r := range s.sent {
		if r.kind == refAdd && find(s.offered, r.id) < 0 || r.kind == refRemove && find(s.received, r.id) < 0 {
			return fmt.Errorf("sent update of htlc %d, which does not exist", r.id)
		}
	}
	return nil
}

func b2u(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// encoder appends.
type encoder struct{ b []byte }

func (w *encoder) grow(n int)        { w.b = make([]byte, 0, n) }
func (w *encoder) uint8(v uint8)     { w.b = append(w.b, v) }
func (w *encoder) uint16(v uint16)   { w.b = binary.BigEndian.AppendUint16(w.b, v) }
func (w *encoder) uint32(v uint32)   { w.b = binary.BigEndian.AppendUint32(w.b, v) }
func (w *encoder) uint64(v uint64)   { w.b = binary.BigEndian.AppendUint64(w.b, v) }
func (w *encoder) array(v []byte)    { w.b = append(w.b, v...) }
func (w *encoder) bytes(v []byte)    { w.b = octets.AppendBytes(w.b, v) }
func (w *encoder) tx(tx *wire.MsgTx) { w.b = octets.AppendTx(w.b, tx) }
func (w *encoder) sig(s lnwire.Sig)  { w.b = append(w.b, s.RawBytes()...) }

func (w *encoder) bools(vs ...bool) {
	for _, v := range vs {
		w.b = octets.AppendBool(w.b, v)
	}
}

func (c *cursor) sig() lnwire.Sig {
	var raw [64]byte
	c.Array(raw[:])
	s, _ := lnwire.NewSigFromWireECDSA(raw[:]) // fails only on another length
	return s
}

func (c *cursor) sigs() []lnwire.Sig {
	n := int(c.Uint16())
	if n*64 > len(c.Buf) {
		c.Fail("%d signatures in %d bytes", n, len(c.Buf))
	}
	if c.Err != nil || n == 0 {
		return nil
	}
	sigs := make([]lnwire.Sig, n)
	for i := range sigs {
		sigs[i] = c.sig()
	}
	return sigs
}

// point reads a public key; zero, where there may be none. That it is on the curve was checked when it came from the peer:
// to check it again would be nine tenths of Restore.
func (c *cursor) point(maybe bool) (k commitment.PubKey) {
	c.Array(k[:])
	if c.Err == nil && !(maybe && k == commitment.PubKey{}) && k[0] != 2 && k[0] != 3 {
		c.Fail("public key begins with %#x", k[0])
	}
	return k
}

func (c *cursor) secrets() commitment.SecretStore {
	raw := c.Bytes()
	if c.Err != nil {
		return commitment.SecretStore{}
	}
	s, err := commitment.DecodeSecretStore(raw)
	if err != nil {
		c.Fail("%v", err)
	}
	return s
}

func (c *cursor) refs() []ref {
	n := int(c.Uint32())
	if n < 0 || n*9 > len(c.Buf) {
		c.Fail("%d updates in %d bytes", n, len(c.Buf))
	}
	if c.Err != nil || n == 0 {
		return nil
	}
	refs := make([]ref, n)
	for i := range refs {
		refs[i] = ref{refKind(c.Uint8()), c.Uint64()}
		if refs[i].kind < refAdd || refs[i].kind > refFee {
			c.Fail("update of kind %d", refs[i].kind)
		}
	}
	return refs
}
