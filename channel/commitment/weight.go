package commitment

import "github.com/btcsuite/btcd/wire"

// Sizes of scripts in bytes, the largest where they vary.
const (
	p2wshSize              = 34
	fundingScriptSize      = 1 + 34 + 34 + 1 + 1
	delayedScriptSize      = 1 + 34 + 1 + 4 + 1 + 1 + 34 + 1 + 1 // to_self_delay takes 1 to 4 bytes
	toRemoteScriptSize     = 34 + 3
	anchorScriptSize       = 34 + 6
	offeredHTLCScriptSize  = 136
	receivedHTLCScriptSize = 143 // cltv_expiry, a height, takes 1 to 5 bytes
)

// Weights of BOLT 3 "Fee Calculation" and Appendix A, with option_anchors, in weight units.
const (
	CommitmentWeight  = 1124 // without HTLCs
	HTLCOutputWeight  = 172  // more for each untrimmed HTLC
	HTLCTimeoutWeight = 666
	HTLCSuccessWeight = 706 // one more than real, as in the BOLT
)

// AnchorAmount is the value of an anchor output in satoshi.
const AnchorAmount = 330

// Parts of weights. A signature counts as 73 bytes as in BOLT 3, although a low-S one has 72 at most.
const (
	sigItem    = 1 + 73
	keyItem    = 1 + 33
	hashItem   = 1 + 32
	emptyItem  = 1
	oneItem    = 1 + 1
	countItem  = 1
	scriptItem = 1 // the length of a witness script below 253 bytes

	// InputWeight is a transaction input without its witness: outpoint, empty script, sequence.
	InputWeight = 4 * (36 + 1 + 4)
	// txWeight is version, counts of inputs and outputs below 253, locktime, segwit marker and flag.
	txWeight = 4*(4+1+1+4) + 2
)

// Weights of witnesses, number of items and witness script included, in weight units; upper bounds.
// Where they differ from BOLT 5 Appendix A, the test says why.
const (
	FundingWitness         = countItem + emptyItem + 2*sigItem + scriptItem + fundingScriptSize
	DelayedWitness         = countItem + sigItem + emptyItem + scriptItem + delayedScriptSize
	ToLocalPenaltyWitness  = countItem + sigItem + oneItem + scriptItem + delayedScriptSize
	ToRemoteWitness        = countItem + sigItem + scriptItem + toRemoteScriptSize
	AnchorWitness          = countItem + sigItem + scriptItem + anchorScriptSize
	AnchorAnyoneWitness    = countItem + emptyItem + scriptItem + anchorScriptSize
	OfferedPreimageWitness = countItem + sigItem + hashItem + scriptItem + offeredHTLCScriptSize
	ReceivedTimeoutWitness = countItem + sigItem + emptyItem + scriptItem + receivedHTLCScriptSize
	OfferedPenaltyWitness  = countItem + sigItem + keyItem + scriptItem + offeredHTLCScriptSize
	ReceivedPenaltyWitness = countItem + sigItem + keyItem + scriptItem + receivedHTLCScriptSize
	HTLCTimeoutWitness     = countItem + emptyItem + 2*sigItem + emptyItem + scriptItem + offeredHTLCScriptSize
	HTLCSuccessWitness     = countItem + emptyItem + 2*sigItem + hashItem + scriptItem + receivedHTLCScriptSize
)

// Weight is the expected weight of a commitment with n untrimmed HTLCs.
func Weight(n int) int64 { return CommitmentWeight + HTLCOutputWeight*int64(n) }

// FeeFor is the base fee, in satoshi, of a commitment with n untrimmed HTLCs at a fee rate in sat/kw.
func FeeFor(feePerKw uint32, n int) int64 { return int64(feePerKw) * Weight(n) / 1000 }

// OpenerCost is what the opener pays, in satoshi, for a commitment with n untrimmed HTLCs: base fee and both anchors,
// even if an anchor is left out.
func OpenerCost(feePerKw uint32, n int) int64 { return FeeFor(feePerKw, n) + 2*AnchorAmount }

// OutputWeight is the weight of an output to pkScript.
func OutputWeight(pkScript []byte) int64 {
	n := int64(len(pkScript))
	return 4 * (8 + int64(wire.VarIntSerializeSize(uint64(n))) + n)
}

// TxWeight is the weight of a segwit transaction with an input for each witness weight and an output for each script,
// fewer than 253 of each.
func TxWeight(witnesses []int64, pkScripts ...[]byte) int64 {
	w := int64(txWeight)
	for _, n := range witnesses {
		w += InputWeight + n
	}
	for _, s := range pkScripts {
		w += OutputWeight(s)
	}
	return w
}

// ClosingWeight is the weight of a closing transaction with outputs to the given scripts.
func ClosingWeight(pkScripts ...[]byte) int64 { return TxWeight([]int64{FundingWitness}, pkScripts...) }
