package graph

import (
	"crypto/sha256"
	"fmt"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/btcec/v2/ecdsa"
	"github.com/lightningnetwork/lnd/lnwire"
)

// Verify checks the four signatures (BOLT 7 "The channel_announcement Message"): both nodes agree, and the keys of the
// funding output belong to them.
func (a *ChannelAnnouncement) Verify() error {
	if a.verified {
		return nil
	}
	hash := digest(a.body[channelSigned:])
	for i := range 2 {
		if err := verify(hash, a.Nodes[i], &a.Signatures.Node[i]); err != nil {
			return fmt.Errorf("channel_announcement %s: node_signature_%d: %w", a.SCID.AltString(), i+1, err)
		}
		if err := verify(hash, a.Keys[i], &a.Signatures.Bitcoin[i]); err != nil {
			return fmt.Errorf("channel_announcement %s: bitcoin_signature_%d: %w", a.SCID.AltString(), i+1, err)
		}
	}
	a.verified = true
	return nil
}

// Verify checks the signature.
func (n *NodeAnnouncement) Verify() error {
	if n.verified {
		return nil
	}
	if err := verify(digest(n.body[updateSigned:]), n.Node, &n.Signature); err != nil {
		return fmt.Errorf("node_announcement of %x: signature: %w", n.Node, err)
	}
	n.verified = true
	return nil
}

// Verify does nothing: whose signature it has to be stands in the channel's announcement. See VerifyBy.
func (u *ChannelUpdate) Verify() error { return nil }

// VerifyBy checks that node signed the update.
func (u *ChannelUpdate) VerifyBy(node NodeID) error {
	if u.verified == node {
		return nil
	}
	if err := verify(digest(u.body[updateSigned:]), node, &u.Signature); err != nil {
		return fmt.Errorf("channel_update %s of %x: signature: %w", u.SCID.AltString(), node, err)
	}
	u.verified = node
	return nil
}

func verify(hash [32]byte, by [33]byte, sig *lnwire.Sig) error {
	key, err := btcec.ParsePubKey(by[:])
	if err != nil {
		return fmt.Errorf("key %x: %w", by, err)
	}
	var r, s btcec.ModNScalar
	raw := sig.RawBytes()
	if r.SetByteSlice(raw[:32]) || s.SetByteSlice(raw[32:]) || r.IsZero() || s.IsZero() {
		return fmt.Errorf("r or s out of range")
	}
	if !ecdsa.NewSignature(&r, &s).Verify(hash[:], key) {
		return fmt.Errorf("not by key %x", by)
	}
	return nil
}

// fundingScript is BOLT 3 "Funding Transaction Output": P2WSH of 2-of-2 with the keys in ascending order.
func fundingScript(a, b [33]byte) []byte {
	if less(b, a) {
		a, b = b, a
	}
	const op2, op33, opCheckMultisig = 0x52, 33, 0xae
	witness := append([]byte{op2, op33}, a[:]...)
	witness = append(append(witness, op33), b[:]...)
	witness = append(witness, op2, opCheckMultisig)
	hash := sha256.Sum256(witness)
	return append([]byte{0, 32}, hash[:]...)
}
