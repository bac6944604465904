package channel_test

import (
	"bytes"
	"crypto/sha256"
	"math"

	"lightningrod/channel"
	"lightningrod/channel/channeltest"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

// preimages of every payment of the battery's channels.
var preimages = func() map[[32]byte][32]byte {
	m := map[[32]byte][32]byte{}
	for n := range uint64(20) {
		m[channeltest.Hash(n)] = channeltest.Preimage(n)
	}
	return m
}()

func somePoint(n byte) *btcec.PublicKey {
	_, p := btcec.PrivKeyFromBytes([]byte{n})
	return p
}

func point(k [33]byte) *btcec.PublicKey {
	p, _ := btcec.ParsePubKey(k[:])
	return p
}

func p2wpkh(n byte) []byte {
	h := sha256.Sum256([]byte{n})
	return append([]byte{0, 20}, h[:20]...)
}

// badSigs are what a signature must not be: of something else, high-S, zero, out of range.
func badSigs(sig lnwire.Sig) []lnwire.Sig {
	change := func(f func(raw []byte)) lnwire.Sig {
		raw := bytes.Clone(sig.RawBytes())
		f(raw)
		s, _ := lnwire.NewSigFromWireECDSA(raw)
		return s
	}
	return []lnwire.Sig{
		change(func(raw []byte) { raw[63] ^= 1 }),
		change(func(raw []byte) { raw[5] ^= 0x10 }),
		change(func(raw []byte) { // the other S that is valid: order - S
			var s btcec.ModNScalar
			s.SetByteSlice(raw[32:])
			s.Negate()
			b := s.Bytes()
			copy(raw[32:], b[:])
		}),
		change(func(raw []byte) { clear(raw) }),
		change(func(raw []byte) { clear(raw[32:]) }),
		change(func(raw []byte) { copy(raw, bytes.Repeat([]byte{0xff}, 64)) }),
	}
}

func openChannel(x *subject) *lnwire.OpenChannel {
	b := x.peer.BasePoints()
	return &lnwire.OpenChannel{
		PendingChannelID: x.s.TempID(), FundingAmount: 1_000_000, PushAmount: 400_000_000, DustLimit: 354, MaxValueInFlight: 300_000_000,
		ChannelReserve: 10_000, HtlcMinimum: 1000, FeePerKiloWeight: 253, CsvDelay: 144, MaxAcceptedHTLCs: 6,
		FundingKey: point(b.Funding), RevocationPoint: point(b.Revocation), PaymentPoint: point(b.Payment),
		DelayedPaymentPoint: point(b.DelayedPayment), HtlcPoint: point(b.HTLC), FirstCommitmentPoint: point(x.peer.Point(0)),
		ChannelFlags: 1, ChannelType: kind(12, 22),
	}
}

func acceptChannel(x *subject) *lnwire.AcceptChannel {
	b := x.peer.BasePoints()
	return &lnwire.AcceptChannel{
		PendingChannelID: x.s.TempID(), DustLimit: 354, MaxValueInFlight: 300_000_000, ChannelReserve: 10_000, HtlcMinimum: 1000,
		MinAcceptDepth: 2, CsvDelay: 144, MaxAcceptedHTLCs: 6,
		FundingKey: point(b.Funding), RevocationPoint: point(b.Revocation), PaymentPoint: point(b.Payment),
		DelayedPaymentPoint: point(b.DelayedPayment), HtlcPoint: point(b.HTLC), FirstCommitmentPoint: point(x.peer.Point(0)),
		ChannelType: kind(12, 22),
	}
}

func fundingCreated(x *subject, txid chainhash.Hash) *lnwire.FundingCreated {
	m := &lnwire.FundingCreated{PendingChannelID: x.s.TempID(), FundingPoint: wire.OutPoint{Hash: txid, Index: 1}}
	m.CommitSig = x.s.FirstSignature(x.me, x.peer, m)
	return m
}

func fundingSigned(x *subject) *lnwire.FundingSigned {
	return &lnwire.FundingSigned{ChanID: x.s.ChannelID(), CommitSig: x.s.FirstSignature(x.me, x.peer, nil)}
}

func channelReady(x *subject) *lnwire.ChannelReady {
	return &lnwire.ChannelReady{ChanID: x.s.ChannelID(), NextPerCommitmentPoint: point(x.peer.Point(1))}
}

func updateAdd(x *subject) *lnwire.UpdateAddHTLC {
	m := &lnwire.UpdateAddHTLC{ChanID: x.s.ChannelID(), ID: x.s.NextID(), Amount: 1_000_000, PaymentHash: channeltest.Hash(19), Expiry: 700}
	m.OnionBlob[0] = 9
	return m
}

// removable is an HTLC that the peer may remove now.
func removable(x *subject) *channel.LiveHTLC {
	for _, h := range x.s.Offered() {
		if h.Stage == channel.Irrevocable && !h.Removing {
			return &h
		}
	}
	return nil
}

// forIDs makes messages for ids of HTLCs that cannot be removed by the peer now.
func forIDs(x *subject, message func(id uint64) lnwire.Message) []input {
	ids := []uint64{99, math.MaxUint64}
	for _, h := range x.s.Offered() {
		if h.Stage != channel.Irrevocable || h.Removing {
			ids = append(ids, h.HTLC.Key.HTLC)
		}
	}
	var in []input
	for _, id := range ids {
		in = append(in, input{message(id)})
	}
	return in
}

// fees are update_fee messages for one of the two roles.
func fees(x *subject, opener bool, rates ...uint32) []input {
	var in []input
	for _, r := range rates {
		if x.s.Opener() == opener {
			in = append(in, input{lnwire.NewUpdateFee(x.s.ChannelID(), r)})
		}
	}
	return in
}

func commit(x *subject) *lnwire.CommitSig {
	if m := x.s.NextCommit(x.me, x.peer); m != nil {
		return m
	}
	return &lnwire.CommitSig{ChanID: x.s.ChannelID()}
}

func revoke(x *subject) *lnwire.RevokeAndAck { return x.s.NextRevoke(x.peer) }

func withRange(m *lnwire.ClosingSigned, low, high int64) *lnwire.ClosingSigned {
	m.ExtraData = channel.FeeRange(low, high)
	return m
}

// reestablish is a channel_reestablish that differs from what the peer should have: by so many in next_commitment_number,
// from the number of the newest commitment of the peer, and in next_revocation_number. Its secret fits.
func reestablish(x *subject, commit, revocation int) *lnwire.ChannelReestablish {
	n := x.s.Numbers()
	m := &lnwire.ChannelReestablish{
		ChanID: x.s.ChannelID(), NextLocalCommitHeight: n.Remote + uint64(commit), RemoteCommitTailHeight: n.Local + uint64(revocation),
		LocalUnrevokedCommitPoint: point(x.peer.Point(0)),
	}
	if m.RemoteCommitTailHeight > 0 {
		m.LastRemoteCommitSecret = x.me.Secret(m.RemoteCommitTailHeight - 1)
	}
	return m
}
