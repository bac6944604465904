package channel

import (
	"errors"
	"fmt"

	"lightningrod/chain"
	"lightningrod/channel/commitment"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

// Phase is where a channel stands in its life.
type Phase uint8

const (
	// PhaseOpening: until channel_ready went both ways.
	PhaseOpening Phase = iota
	// PhaseNormal: HTLCs are added and removed.
	PhaseNormal
	// PhaseShutdown: shutdown was sent or received; HTLCs are only removed, then closing_signed negotiates.
	PhaseShutdown
	// PhaseClosing: a transaction that spends the funding output is, or is being, published.
	PhaseClosing
	// PhaseWaiting: our state is old, as the peer has proved, or may be (Late). We must not publish it, and wait for the peer to close.
	PhaseWaiting
	// PhaseClosed: nothing is left to do; the rows may go.
	PhaseClosed
)

var phaseText = [...]string{"opening", "normal", "shutdown", "closing", "waiting", "closed"}

func (p Phase) String() string {
	if int(p) < len(phaseText) {
		return phaseText[p]
	}
	return fmt.Sprintf("phase %d", uint8(p))
}

// opening is how far the exchange of BOLT 2 "Channel Establishment v1" has come. Only the last one is durable.
type opening uint8

const (
	openNew         opening = iota
	openSentOpen            // opener: open_channel sent
	openNeedFunding         // opener: accept_channel received, NeedFunding sent out
	openSentCreated         // opener: funding_created sent
	openSentAccept          // accepter: accept_channel sent
	openFunded              // both commitments are signed: the channel exists
)

// Limits are what one side says in open_channel or accept_channel.
type Limits struct {
	DustLimit        int64               // sat: outputs below it do not appear in that side's commitment
	MaxInFlight      lnwire.MilliSatoshi // of the HTLCs that side accepts
	Reserve          int64               // sat: what that side demands that the other keeps
	HTLCMinimum      lnwire.MilliSatoshi // smallest HTLC that side accepts
	ToSelfDelay      uint16              // blocks: what that side imposes on the other's own outputs
	MaxAcceptedHTLCs uint16              // how many HTLCs that side accepts
}

// Params are what New needs to know. A zero in a field marked with a default takes it.
type Params struct {
	ID            ID
	Local, Remote [33]byte // node ids
	Opener        bool
	Limits        Limits // ours; defaults 354, capacity, 1 % of it, 1 msat, 144, 100
	BasePoints    commitment.BasePoints
	Announce      bool                  // the opener's wish; an accepter learns it from open_channel
	Alias         lnwire.ShortChannelID // of our channel_ready
	// ShutdownScript is where our money goes: at a cooperative close by default, and in every sweep. New panics without one.
	ShutdownScript []byte
	TempID         [32]byte // temporary_channel_id: ours as opener, else the one of open_channel
	ChainHash      chainhash.Hash
	MinDepth       uint32 // confirmations we ask for, default 3
	Height         uint32 // of the tip
	Block          chainhash.Hash

	MaxToSelfDelay  uint16              // the most we let the peer impose on us, default 2016
	MinCapacity     int64               // sat, default 20000
	MaxCapacity     int64               // sat, default 10 BTC
	MinFeePerKw     chain.FeePerKw      // default 253
	MaxFeePerKw     chain.FeePerKw      // default 50000
	MaxDustExposure lnwire.MilliSatoshi // default 50000 sat
	Grace           uint32              // blocks past its cltv_expiry that an HTLC we offered may stay, default 3
	FulfillMargin   uint32              // blocks before its cltv_expiry that an HTLC we fulfilled must be gone, default 18
}

const (
	minDustLimit    = 354    // sat, BOLT 3 "Dust Limits"
	maxDustLimit    = 20_000 // sat, the largest we let a peer ask for
	maxHTLCs        = 483    // BOLT 2: so that commitment_signed and one penalty transaction fit their limits
	wumbo           = 1 << 24
	maxMinimumDepth = 144
	maxMoney        = 21_000_000 * 100_000_000 // sat
	maxExpiry       = 500_000_000              // BOLT 2 "Adding an HTLC": from here on a locktime is a time
	coinbaseDepth   = 100                      // consensus: before that a coinbase output cannot be spent
	deepDepth       = 6                        // BOLT 7: confirmations before a channel is announced; also when we take a spend for final
	forgetDepth     = 2016                     // BOLT 2 "channel_ready": blocks an accepter waits for the funding transaction
)

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// New returns a channel about to be opened. Nothing is durable, and nothing said, until Apply.
func New(p Params) *State {
	if len(p.ShutdownScript) == 0 {
		panic("channel: Params.ShutdownScript is empty: what is ours on chain would have nowhere to go")
	}
	orDefault(&p.Limits.DustLimit, minDustLimit)
	orDefault(&p.Limits.HTLCMinimum, 1)
	orDefault(&p.Limits.ToSelfDelay, 144)
	orDefault(&p.Limits.MaxAcceptedHTLCs, 100)
	orDefault(&p.MinDepth, 3)
	orDefault(&p.MaxToSelfDelay, 2016)
	orDefault(&p.MinCapacity, 20_000)
	orDefault(&p.MaxCapacity, 1_000_000_000)
	orDefault(&p.MinFeePerKw, 253)
	orDefault(&p.MaxFeePerKw, 50_000)
	orDefault(&p.MaxDustExposure, 50_000_000)
	orDefault(&p.Grace, 3)
	orDefault(&p.FulfillMargin, 18)
	return &State{params: p, local: p.Limits, height: p.Height, block: p.Block}
}

// htlc is an HTLC in a channel and how far it has come.
//
// The removal of an HTLC is an update of the side that did not offer it.
type htlc struct {
	*HTLC
	add, remove Stage
	// outcome: of one we offered, what the removal says. Of one the peer offered, what we were told by Settle, whether
	// or not the removal has been sent.
	outcome Outcome
	// preimage: of one we offered, once known, whatever the peer says later. Resolved has been sent out then.
	preimage *[32]byte
	// resolved: of one we offered, Resolved has been sent out for good. Implied by preimage. Of one the peer offered, on chain,
	// Settled has been.
	resolved bool
	// tooMuchDust: of one the peer offered, it was found so when its addition became irrevocable.
	tooMuchDust bool
}

// fee is a fee rate and how far its update_fee has come. The first of State.fees is always Irrevocable.
type fee struct {
	rate  chain.FeePerKw
	stage Stage
}

// An update of ours as it went over the wire: what to send again.
type ref struct {
	kind refKind
	id   uint64 // of the HTLC, or the fee rate
}

type refKind uint8

const (
	refAdd refKind = iota + 1
	refRemove
	refFee
)

// State is one channel. It is a value: Apply copies it, nothing inside is ever changed in place once returned.
//
// Invariant at rest: balance.local + balance.remote = capacity, counting every live HTLC with the side that offered it.
type State struct {
	params  Params
	local   Limits // as announced by us
	remote  Limits // as announced by the peer
	theirs  commitment.BasePoints
	phase   Phase
	opening opening

	announce  bool
	scidAlias bool // option_scid_alias is in the channel_type
	minDepth  uint32
	capacity  int64 // sat
	funding   wire.OutPoint
	channelID lnwire.ChannelID
	fundingTx *wire.MsgTx // opener: kept until it is deep
	obscure   uint64

	balanceLocal, balanceRemote lnwire.MilliSatoshi
	offered, received           []htlc // in order of their ids
	nextOffered, nextReceived   uint64
	fees                        []fee // at falling stages

	localNumber   uint64     // of our newest commitment
	localSig      lnwire.Sig // the peer's, over it
	localHTLCSigs []lnwire.Sig
	remoteNumber  uint64            // of the newest commitment of the peer that we signed
	awaiting      bool              // a revoke_and_ack is owed for the one before
	revokedLast   bool              // our revoke_and_ack went out after our last commitment_signed
	remotePrev    commitment.PubKey // per-commitment point of remoteNumber-1, while awaiting
	remotePoint   commitment.PubKey // of remoteNumber
	remoteNext    commitment.PubKey // of remoteNumber+1; zero while unknown
	secrets       commitment.SecretStore
	sent          []ref // our updates at Proposed and Signed, in the order they went out
	signedRefs    int   // how many of sent the last commitment_signed covered

	readySent, readyReceived bool
	remoteAlias              lnwire.ShortChannelID
	height                   uint32 // seen up to here
	block                    chainhash.Hash
	confirmed                uint32 // height of the funding transaction, 0: not confirmed
	txIndex                  uint32
	readied, deep            bool // Ready, Deep have been sent out

	upfront        []byte // the peer's upfront_shutdown_script
	localScript    []byte // of our shutdown
	remoteScript   []byte // of the peer's
	shutdownWanted bool
	shutdownSent   bool
	closeRate      chain.FeePerKw // asked for by Close, 0: by the estimates
	end            end            // Closing and Waiting

	// For one connection, or one life of the process: never encoded.
	connected, established bool
	features               []byte // of the peer's init, raw
	lastFee                int64  // closing_signed: what we proposed last, -1: nothing yet
	lastHeard              int64  // and what the peer did, without a fee_range
	lastRange              feeRange
	rates                  chain.FeeRates
	shown                  shown
}

// shown is what the last Usable said.
type shown struct {
	usable  bool
	out, in Capacity
}

// clone copies what a turn may change. HTLC bodies, transactions and scripts are immutable and shared.
func (s *State) clone() *State {
	n := *s
	n.offered = append([]htlc(nil), s.offered...)
	n.received = append([]htlc(nil), s.received...)
	n.fees = append([]fee(nil), s.fees...)
	n.sent = append([]ref(nil), s.sent...)
	return &n
}

func (s *State) ID() ID                              { return s.params.ID }
func (s *State) Peer() [33]byte                      { return s.params.Remote }
func (s *State) Opener() bool                        { return s.params.Opener }
func (s *State) Phase() Phase                        { return s.phase }
func (s *State) TempID() [32]byte                    { return s.params.TempID }
func (s *State) ChannelID() lnwire.ChannelID         { return s.channelID }
func (s *State) LocalAlias() lnwire.ShortChannelID   { return s.params.Alias }
func (s *State) RemoteAlias() lnwire.ShortChannelID  { return s.remoteAlias }
func (s *State) Funding() wire.OutPoint              { return s.funding }
func (s *State) Capacity() int64                     { return s.capacity }
func (s *State) Private() bool                       { return !s.announce }
func (s *State) Height() uint32                      { return s.height }
func (s *State) SeenBlock() (uint32, chainhash.Hash) { return s.height, s.block }

// Durable says whether the channel exists: both initial commitments are signed and it has rows.
func (s *State) Durable() bool { return s.opening == openFunded }

// ShortID is the confirmed short_channel_id, zero before that.
func (s *State) ShortID() lnwire.ShortChannelID {
	if s.confirmed == 0 {
		return lnwire.ShortChannelID{}
	}
	return lnwire.ShortChannelID{BlockHeight: s.confirmed, TxIndex: s.txIndex, TxPosition: uint16(s.funding.Index)}
}

// ScidAlias says whether option_scid_alias is in the channel_type: only the aliases may be used then.
func (s *State) ScidAlias() bool { return s.scidAlias }

// Balance is what each side would have if every pending HTLC failed back, less the HTLCs it offered.
func (s *State) Balance() (local, remote lnwire.MilliSatoshi) {
	local, remote = s.balanceLocal, s.balanceRemote
	for i := range s.offered {
		local -= s.offered[i].Amount
	}
	for i := range s.received {
		remote -= s.received[i].Amount
	}
	return local, remote
}

// FeePerKw is the newest irrevocable fee rate of the commitments.
func (s *State) FeePerKw() chain.FeePerKw {
	if len(s.fees) == 0 {
		return 0
	}
	return s.fees[0].rate
}

// Limits are what each side has announced in open_channel or accept_channel.
func (s *State) Limits() (local, remote Limits) { return s.local, s.remote }

// LiveHTLC is an HTLC that is not yet irrevocably removed.
type LiveHTLC struct {
	HTLC     *HTLC
	Stage    Stage   // of its addition
	Removing bool    // its removal has been sent or received
	Outcome  Outcome // as far as it is known, nil
	// Over: it ended on chain, and the notice that says how, Resolved as a failure or Settled, has been given. Its body stays until
	// the channel is closed.
	Over bool
	// TooMuchDust, of one the peer offered: as in Committed, also after a restart.
	TooMuchDust bool
}

// Offered are the HTLCs we offered, by id.
func (s *State) Offered() []LiveHTLC { return live(s.offered) }

// Received are the HTLCs the peer offered, by id. At Stage Irrevocable without Outcome they wait for a Settle.
func (s *State) Received() []LiveHTLC { return live(s.received) }

func live(hs []htlc) []LiveHTLC {
	out := make([]LiveHTLC, len(hs))
	for i, h := range hs {
		o := h.outcome
		if o == nil && h.preimage != nil {
			o = Fulfill{Preimage: *h.preimage}
		}
		out[i] = LiveHTLC{
			HTLC: h.HTLC, Stage: h.add, Removing: h.remove != 0, Outcome: o, Over: h.resolved && h.preimage == nil, TooMuchDust: h.tooMuchDust,
		}
	}
	return out
}

// FundingPubKeys are the two keys of the funding output.
func (s *State) FundingPubKeys() (local, remote commitment.PubKey) {
	return s.params.BasePoints.Funding, s.theirs.Funding
}

func (s *State) fundingScript() (witness, pkScript []byte) {
	return commitment.FundingScript(s.params.BasePoints.Funding, s.theirs.Funding)
}

// Invariants checks what must hold between turns.
func (s *State) Invariants() error {
	if s.opening < openFunded {
		return nil
	}
	switch total := lnwire.MilliSatoshi(s.capacity) * 1000; {
	case s.balanceLocal > total || s.balanceRemote > total || s.balanceLocal+s.balanceRemote != total:
		return fmt.Errorf("balances %d and %d do not add up to %d msat", s.balanceLocal, s.balanceRemote, total)
	case len(s.fees) == 0 || s.fees[0].stage != Irrevocable:
		return errors.New("no irrevocable fee rate")
	case s.signedRefs > len(s.sent):
		return fmt.Errorf("%d of %d sent updates are signed", s.signedRefs, len(s.sent))
	case !s.awaiting && s.signedRefs != 0:
		return errors.New("signed updates, but no revoke_and_ack is awaited")
	}
	if err := ordered(s.offered, s.nextOffered); err != nil {
		return fmt.Errorf("offered: %w", err)
	}
	if err := ordered(s.received, s.nextReceived); err != nil {
		return fmt.Errorf("received: %w", err)
	}
	for _, v := range []view{viewLocal, viewRemote, viewRemotePrev} {
		if l, r, ok := s.shares(v); !ok {
			return fmt.Errorf("commitment %v overspends: %d and %d msat", v, l, r)
		}
	}
	return nil
}

func ordered(hs []htlc, next uint64) error {
	for i, h := range hs {
		switch {
		case i > 0 && h.Key.HTLC <= hs[i-1].Key.HTLC:
			return fmt.Errorf("htlc %d after %d", h.Key.HTLC, hs[i-1].Key.HTLC)
		case h.Key.HTLC >= next:
			return fmt.Errorf("htlc %d, but the next is %d", h.Key.HTLC, next)
		case h.add < Proposed || h.add > Irrevocable || h.remove >= Irrevocable:
			return fmt.Errorf("htlc %d at stage %d, removal %d", h.Key.HTLC, h.add, h.remove)
		case h.remove != 0 && (h.add != Irrevocable || h.outcome == nil):
			return fmt.Errorf("htlc %d is being removed at stage %d", h.Key.HTLC, h.add)
		}
	}
	return nil
}

// find returns the place of an HTLC, or -1. The slice is in order of ids.
func find(hs []htlc, id uint64) int {
	lo, hi := 0, len(hs)
	for lo < hi {
		if m := (lo + hi) / 2; hs[m].Key.HTLC < id {
			lo = m + 1
		} else {
			hi = m
		}
	}
	if lo < len(hs) && hs[lo].Key.HTLC == id {
		return lo
	}
	return -1
}
