package commitment

import (
	"bytes"
	"crypto/sha256"

	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/txscript"
	//lint:ignore SA1019 the scripts of BOLT 3 use OP_HASH160
	"golang.org/x/crypto/ripemd160"
)

// The scripts of BOLT 3, appended byte by byte: they are fixed but for keys, hashes and two numbers.

// FundingScript is the 2-of-2 of the funding output, keys in lexicographic order, and its P2WSH script.
func FundingScript(a, b PubKey) (witnessScript, pkScript []byte) {
	if bytes.Compare(a[:], b[:]) > 0 {
		a, b = b, a
	}
	s := make([]byte, 0, fundingScriptSize)
	s = append(s, txscript.OP_2)
	s = appendKey(s, a)
	s = appendKey(s, b)
	s = append(s, txscript.OP_2, txscript.OP_CHECKMULTISIG)
	return s, P2WSH(s)
}

// P2WSH is the version 0 witness program of a witness script.
func P2WSH(witnessScript []byte) []byte {
	return appendP2WSH(make([]byte, 0, p2wshSize), witnessScript)
}

func appendP2WSH(b, witnessScript []byte) []byte {
	sum := sha256.Sum256(witnessScript)
	b = append(b, txscript.OP_0, txscript.OP_DATA_32)
	return append(b, sum[:]...)
}

// DelayedScript is the script of the to_local output and of the output of HTLC-success and HTLC-timeout
// transactions: the owner's after toSelfDelay blocks, the other's at once with the revocation key.
func DelayedScript(revocation, delayed PubKey, toSelfDelay uint16) []byte {
	s := make([]byte, 0, delayedScriptSize)
	s = append(s, txscript.OP_IF)
	s = appendKey(s, revocation)
	s = append(s, txscript.OP_ELSE)
	s = appendNumber(s, uint32(toSelfDelay))
	s = append(s, txscript.OP_CHECKSEQUENCEVERIFY, txscript.OP_DROP)
	s = appendKey(s, delayed)
	return append(s, txscript.OP_ENDIF, txscript.OP_CHECKSIG)
}

// ToRemoteScript is the script of the to_remote output with option_anchors: one block of delay, so that only
// anchors can be spent before the commitment confirms.
func ToRemoteScript(payment PubKey) []byte {
	s := appendKey(make([]byte, 0, toRemoteScriptSize), payment)
	return append(s, txscript.OP_CHECKSIGVERIFY, txscript.OP_1, txscript.OP_CHECKSEQUENCEVERIFY)
}

// AnchorScript is the script of an anchor: the funding key's, after 16 blocks anyone's.
func AnchorScript(funding PubKey) []byte {
	s := appendKey(make([]byte, 0, anchorScriptSize), funding)
	return append(s, txscript.OP_CHECKSIG, txscript.OP_IFDUP, txscript.OP_NOTIF,
		txscript.OP_16, txscript.OP_CHECKSEQUENCEVERIFY, txscript.OP_ENDIF)
}

// OfferedHTLCScript is the script of an HTLC the owner offered.
func OfferedHTLCScript(k *Keys, hash [32]byte) []byte {
	return appendOfferedHTLC(make([]byte, 0, offeredHTLCScriptSize), k, hash160(k.Revocation), hash)
}

// ReceivedHTLCScript is the script of an HTLC offered to the owner.
func ReceivedHTLCScript(k *Keys, hash [32]byte, expiry uint32) []byte {
	return appendReceivedHTLC(make([]byte, 0, receivedHTLCScriptSize), k, hash160(k.Revocation), hash, expiry)
}

func appendOfferedHTLC(s []byte, k *Keys, revocation160 [20]byte, hash [32]byte) []byte {
	s = appendHTLCHead(s, k, revocation160)
	// HTLC-timeout transaction: 2-of-2.
	s = append(s, txscript.OP_NOTIF, txscript.OP_DROP, txscript.OP_2, txscript.OP_SWAP)
	s = appendKey(s, k.OwnerHTLC)
	s = append(s, txscript.OP_2, txscript.OP_CHECKMULTISIG)
	// The other, with the preimage.
	s = append(s, txscript.OP_ELSE)
	s = appendHashCheck(s, hash)
	s = append(s, txscript.OP_CHECKSIG, txscript.OP_ENDIF)
	return appendHTLCTail(s)
}

func appendReceivedHTLC(s []byte, k *Keys, revocation160 [20]byte, hash [32]byte, expiry uint32) []byte {
	s = appendHTLCHead(s, k, revocation160)
	// HTLC-success transaction: preimage and 2-of-2.
	s = append(s, txscript.OP_IF)
	s = appendHashCheck(s, hash)
	s = append(s, txscript.OP_2, txscript.OP_SWAP)
	s = appendKey(s, k.OwnerHTLC)
	s = append(s, txscript.OP_2, txscript.OP_CHECKMULTISIG)
	// The other, after the expiry.
	s = append(s, txscript.OP_ELSE, txscript.OP_DROP)
	s = appendNumber(s, expiry)
	s = append(s, txscript.OP_CHECKLOCKTIMEVERIFY, txscript.OP_DROP, txscript.OP_CHECKSIG, txscript.OP_ENDIF)
	return appendHTLCTail(s)
}

// appendHTLCHead is what both HTLC scripts begin with: the revocation branch, then the other's key and the question
// whether the item below is a preimage.
func appendHTLCHead(s []byte, k *Keys, revocation160 [20]byte) []byte {
	s = append(s, txscript.OP_DUP, txscript.OP_HASH160, txscript.OP_DATA_20)
	s = append(s, revocation160[:]...)
	s = append(s, txscript.OP_EQUAL, txscript.OP_IF, txscript.OP_CHECKSIG, txscript.OP_ELSE)
	s = appendKey(s, k.OtherHTLC)
	return append(s, txscript.OP_SWAP, txscript.OP_SIZE, txscript.OP_DATA_1, 32, txscript.OP_EQUAL)
}

// appendHTLCTail ends both HTLC scripts. With option_anchors all but the revocation branch wait one block.
func appendHTLCTail(s []byte) []byte {
	return append(s, txscript.OP_1, txscript.OP_CHECKSEQUENCEVERIFY, txscript.OP_DROP, txscript.OP_ENDIF)
}

func appendHashCheck(s []byte, hash [32]byte) []byte {
	r := ripemd160.New()
	r.Write(hash[:])
	s = append(s, txscript.OP_HASH160, txscript.OP_DATA_20)
	s = r.Sum(s)
	return append(s, txscript.OP_EQUALVERIFY)
}

func appendKey(s []byte, k PubKey) []byte {
	s = append(s, txscript.OP_DATA_33)
	return append(s, k[:]...)
}

// appendNumber pushes n as a minimal script number: small ones have their own opcode, others are little-endian with a
// zero byte where the top bit would read as a sign.
func appendNumber(s []byte, n uint32) []byte {
	switch {
	case n == 0:
		return append(s, txscript.OP_0)
	case n <= 16:
		return append(s, byte(txscript.OP_1-1+n))
	}
	at := len(s)
	s = append(s, 0)
	var last byte
	for ; n > 0; n >>= 8 {
		last = byte(n)
		s = append(s, last)
	}
	if last&0x80 != 0 {
		s = append(s, 0)
	}
	s[at] = byte(len(s) - at - 1)
	return s
}

func hash160(k PubKey) (h [20]byte) {
	copy(h[:], btcutil.Hash160(k[:]))
	return h
}
