package commitment

import (
	"bytes"
	"testing"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/txscript"
	"github.com/lightningnetwork/lnd/input"
)

func parse(t testing.TB, k PubKey) *btcec.PublicKey {
	t.Helper()
	p, err := btcec.ParsePubKey(k[:])
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestScriptsAgainstLnd compares all scripts and derived keys with those of lnd, on random inputs.
func TestScriptsAgainstLnd(t *testing.T) {
	r := newRand(t)
	for range 25 {
		w := newWorld(t, r)
		k := &w.keys
		hash, expiry, delay := random32(r), r.Uint32N(maxExpiry+1), uint16(r.Uint32())
		if r.IntN(4) == 0 {
			expiry, delay = r.Uint32N(300), uint16(r.Uint32N(300)) // short numbers have their own encodings
		}
		same := func(what string, got []byte) func([]byte, error) {
			return func(want []byte, err error) {
				t.Helper()
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s\n%x, want\n%x (%v)", what, got, want, err)
				}
			}
		}
		revocation, delayed := parse(t, k.Revocation), parse(t, k.OwnerDelayed)
		ownerHTLC, otherHTLC := parse(t, k.OwnerHTLC), parse(t, k.OtherHTLC)

		funding, fundingPk := FundingScript(k.OwnerFunding, k.OtherFunding)
		same("funding", funding)(input.GenMultiSigScript(k.OwnerFunding[:], k.OtherFunding[:]))
		same("funding P2WSH", fundingPk)(input.WitnessScriptHash(funding))
		same("to_local", DelayedScript(k.Revocation, k.OwnerDelayed, delay))(
			input.CommitScriptToSelf(uint32(delay), delayed, revocation))
		same("second stage", DelayedScript(k.Revocation, k.OwnerDelayed, delay))(
			input.SecondLevelHtlcScript(revocation, delayed, uint32(delay)))
		same("to_remote", ToRemoteScript(k.OtherPayment))(input.CommitScriptToRemoteConfirmed(parse(t, k.OtherPayment)))
		same("anchor", AnchorScript(k.OwnerFunding))(input.CommitScriptAnchor(parse(t, k.OwnerFunding)))
		same("offered HTLC", OfferedHTLCScript(k, hash))(
			input.SenderHTLCScript(ownerHTLC, otherHTLC, revocation, hash[:], true))
		same("received HTLC", ReceivedHTLCScript(k, hash, expiry))(
			input.ReceiverHTLCScript(expiry, otherHTLC, ownerHTLC, revocation, hash[:], true))

		point := parse(t, k.PerCommitmentPoint)
		owner, other := w.owner.BasePoints(), w.other.BasePoints()
		key := func(what string, got PubKey, want *btcec.PublicKey) {
			t.Helper()
			same(what, got[:])(want.SerializeCompressed(), nil)
		}
		key("delayed key", k.OwnerDelayed, input.TweakPubKey(parse(t, owner.DelayedPayment), point))
		key("owner HTLC key", k.OwnerHTLC, input.TweakPubKey(parse(t, owner.HTLC), point))
		key("other HTLC key", k.OtherHTLC, input.TweakPubKey(parse(t, other.HTLC), point))
		key("revocation key", k.Revocation, input.DeriveRevocationPubkey(parse(t, other.Revocation), point))
		same("revocation private key", DeriveRevocationPrivKey(w.other.Revocation, w.secret).Serialize())(
			input.DeriveRevocationPrivKey(w.other.Revocation, priv(w.secret)).Serialize(), nil)
	}
}

func TestNumberPush(t *testing.T) {
	for _, n := range []uint32{0, 1, 15, 16, 17, 127, 128, 129, 255, 256, 32767, 32768, 65535, 1 << 23, 1<<23 - 1,
		1 << 24, maxExpiry, 1 << 31, 1<<31 - 1, 1<<32 - 1} {
		want, err := txscript.NewScriptBuilder().AddInt64(int64(n)).Script()
		if err != nil {
			t.Fatal(err)
		}
		if got := appendNumber(nil, n); !bytes.Equal(got, want) {
			t.Errorf("%d: %x, want %x", n, got, want)
		}
	}
}

func TestScriptSizes(t *testing.T) {
	w := newWorld(t, newRand(t))
	k := &w.keys
	funding, pkScript := FundingScript(k.OwnerFunding, k.OtherFunding)
	for _, c := range []struct {
		name string
		got  []byte
		want int
	}{
		{"P2WSH", pkScript, p2wshSize},
		{"funding", funding, fundingScriptSize},
		{"to_local, longest delay", DelayedScript(k.Revocation, k.OwnerDelayed, 1<<16-1), delayedScriptSize},
		{"to_remote", ToRemoteScript(k.OtherPayment), toRemoteScriptSize},
		{"anchor", AnchorScript(k.OwnerFunding), anchorScriptSize},
		{"offered HTLC", OfferedHTLCScript(k, [32]byte{}), offeredHTLCScriptSize},
		{"received HTLC, longest expiry", ReceivedHTLCScript(k, [32]byte{}, maxExpiry), receivedHTLCScriptSize},
	} {
		if len(c.got) != c.want {
			t.Errorf("%s: %d bytes, want %d", c.name, len(c.got), c.want)
		}
	}
}

func TestPubKeysAreChecked(t *testing.T) {
	w := newWorld(t, newRand(t))
	owner, other, point := w.owner.BasePoints(), w.other.BasePoints(), w.keys.PerCommitmentPoint
	bad := PubKey{2, 31: 0, 32: 5} // x = 5 is not on the curve
	if CheckPubKey(bad) == nil || CheckPubKey(PubKey{}) == nil || CheckPubKey(point) != nil {
		t.Error("CheckPubKey is wrong")
	}
	for name, f := range map[string]func(p *PubKey, a, b *BasePoints){
		"point":      func(p *PubKey, _, _ *BasePoints) { *p = bad },
		"delayed":    func(_ *PubKey, a, _ *BasePoints) { a.DelayedPayment = bad },
		"owner HTLC": func(_ *PubKey, a, _ *BasePoints) { a.HTLC = bad },
		"other HTLC": func(_ *PubKey, _, b *BasePoints) { b.HTLC = bad },
		"revocation": func(_ *PubKey, _, b *BasePoints) { b.Revocation = PubKey{} },
	} {
		p, a, b := point, owner, other
		f(&p, &a, &b)
		if _, err := DeriveKeys(p, a, b); err == nil {
			t.Errorf("%s: no error for a key off the curve", name)
		}
	}
}

func TestPointOfInvalidSecret(t *testing.T) {
	one := [32]byte{31: 1}
	onePlusOrder := groupOrder
	onePlusOrder.AddInt(1).Normalize()
	for name, secret := range map[string][32]byte{
		"zero":              {},
		"group order":       *groupOrder.Bytes(),
		"group order and 1": *onePlusOrder.Bytes(),
	} {
		if PointOf(secret) != (PubKey{}) {
			t.Errorf("%s is a secret key", name)
		}
	}
	if PointOf(one) == (PubKey{}) {
		t.Error("1 is no secret key")
	}
}
