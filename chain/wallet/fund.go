package wallet

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"lightningrod/chain"

	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
	"github.com/btcsuite/btcwallet/wallet/txrules"
	"github.com/btcsuite/btcwallet/wallet/txsizes"
)

// Options of Fund. The zero value spends confirmed coins and makes P2WPKH change.
type Options struct {
	Change Kind
	// Unconfirmed allows spending our own change before it is confirmed, after the confirmed coins. The transactions that make it have
	// to be published first.
	Unconfirmed bool
	// Reserve is how much must be left in the wallet afterwards, confirmed and own change together: see AnchorReserve. A transaction that claims
	// something for a channel is what the reserve is for, and leaves none.
	Reserve btcutil.Amount
	// Publish says that the transaction is to be broadcast at once and until it confirms, see Rebroadcast. Not for
	// the funding of a channel, which waits for the peer.
	Publish bool
	// Inputs are spent as well, before any coin of ours. The caller signs them. A pending transaction that spends one of them too cannot confirm beside the
	// new one: it is pending no longer, and its coins are spent again. (A caller that lost the answer to a call asks once more.)
	Inputs []Input
	// Extra is paid on top of the fee of the transaction itself: what a parent in the same package lacks.
	Extra btcutil.Amount
	// MaxFee is the most that is paid in all, Extra included. 0: no bound.
	MaxFee btcutil.Amount
	// Split: FundUpTo makes coins of SplitValue sat of what would be change, so that the wallet has Split confirmed coins of as much afterwards, if
	// that leaves as much for the change itself. What comes next need not wait for one coin then, see Spread. 0: no.
	Split int
	// LockTime of the transaction; every input of the wallet lets it count.
	LockTime uint32
	// Replaces is an earlier transaction that this one is to replace. While the wallet has it pending, its coins are spent again, so that
	// only one of the two can ever confirm, and it is no longer pending afterwards. The new one has to pay what BIP 125 asks (rules 3 and 4, and a
	// higher rate), or is refused and the old one stays; to want enough is up to the caller, whose fees rise. One that is not pending any more
	// (it was released, or another transaction has taken one of its coins) is replaced with any coins; then it must
	// spend one of Inputs, so that still only one of the two can confirm. One that is confirmed is not replaced.
	Replaces *wire.MsgTx
}

// Input is an output that is not the wallet's.
type Input struct {
	Out      wire.OutPoint
	Prev     *wire.TxOut
	Sequence uint32
	Witness  int64 // weight of the witness that the caller will put in: its number of items, their lengths and their bytes
}

// AnchorReserve is how much to keep for that many channels whose commitment has anchors: Options.Reserve of everything that is not urgent. Their
// commitments and HTLC transactions cannot raise their own fee; without a coin here they wait for as long as the fee market likes.
//
// It is 10,000 sat for each of the first ten, and no more beyond: that many close at once only when a peer with all of them fails, and then each
// confirmed child gives its change back for the next. 10,000 sat pull a commitment with a few HTLCs (3,000 weight units, with its child) at
// 3,300 sat/kw, 13 sat/vB. lnd keeps the same, Core Lightning 25,000 sat whatever the number. It is a float and not an insurance: an HTLC worth more
// pays with more of the wallet, if that is there. One coin serves one claim at a time, see Spread.
func AnchorReserve(channels int) btcutil.Amount {
	const each, most = 10_000, 10
	return btcutil.Amount(min(max(channels, 0), most) * each)
}

// InsufficientError says that the coins allowed do not suffice.
type InsufficientError struct {
	Need      btcutil.Amount // outputs, extra and reserve
	Fee       btcutil.Amount // of the transaction with all that could be spent
	Available btcutil.Amount // what could be spent
}

func (e *InsufficientError) Error() string {
	return fmt.Sprintf("insufficient funds: need %d sat and %d sat of fee, have %d sat", int64(e.Need), int64(e.Fee), int64(e.Available))
}

const (
	// maxWeight is the most that is relayed.
	maxWeight = 400_000
	// replaceable is the sequence of our inputs: BIP 125 opt-in, no relative lock.
	replaceable = wire.MaxTxInSequenceNum - 2
)

// dust is the least value of an output to us that is relayed, in sat.
func (k Kind) dust() btcutil.Amount { return [kinds]btcutil.Amount{294, 330}[k] }

// inputWeight is the weight of an input that spends a coin of this kind, witness included.
func (k Kind) inputWeight() int64 {
	return [kinds]int64{
		4*txsizes.RedeemP2WPKHInputSize + txsizes.RedeemP2WPKHInputWitnessWeight,
		4*txsizes.RedeemP2TRInputSize + txsizes.RedeemP2TRInputWitnessWeight,
	}[k]
}

// draft is a transaction in the making.
type draft struct {
	rate    chain.FeePerKw
	extra   btcutil.Amount
	opt     Options
	old     []chainhash.Hash // pending transactions that the new one takes the place of
	outs    []*wire.TxOut
	change  []byte // script
	coins   []Coin
	inputs  btcutil.Amount // sum of opt.Inputs and coins
	outputs btcutil.Amount // sum of outs
}

// Fund makes a transaction with these outputs, in this order, at this fee rate or a little above, and signs it. Coins are taken largest
// first; what is left over goes to a change output at the end if it is worth one. With no outputs it is all change. The inputs stay locked
// until the transaction confirms, is in conflict with a confirmed one, or is Released. The inputs of the wallet signal BIP 125.
func (w *Wallet) Fund(outs []*wire.TxOut, rate chain.FeePerKw, opt Options) (*wire.MsgTx, []Row, error) {
	d, err := w.draft(outs, rate, opt)
	if err != nil {
		return nil, nil, err
	}
	if err := w.choose(d); err != nil {
		return nil, nil, err
	}
	return w.complete(d)
}

// FundUpTo is Fund for a transaction that is better made at a lower rate than not at all: where the coins or MaxFee do not reach, it pays what
// they allow, down to chain.FeerateFloor for its own weight and nothing of Extra. A rate out of bounds counts as the nearest one within. It
// also says how much is paid in all.
func (w *Wallet) FundUpTo(outs []*wire.TxOut, rate chain.FeePerKw, opt Options) (tx *wire.MsgTx, fee btcutil.Amount, rows []Row, err error) {
	rate = min(max(rate, chain.FeerateFloor), chain.FeerateCeiling)
	d, err := w.draft(outs, rate, opt)
	if err != nil {
		return nil, 0, nil, err
	}
	// Only the sum counts, so that rate and extra are lowered one after the other.
	pay := func(level int64) error {
		d.extra = min(btcutil.Amount(level), opt.Extra)
		d.rate = chain.FeerateFloor + chain.FeePerKw(level-int64(d.extra))
		return w.choose(d)
	}
	if most := int64(rate-chain.FeerateFloor) + int64(opt.Extra); pay(most) != nil {
		least := int64(0)
		for most-least > 1 {
			if middle := least + (most-least)/2; pay(middle) == nil {
				least = middle
			} else {
				most = middle
			}
		}
		if err := pay(least); err != nil {
			return nil, 0, nil, err
		}
	}
	w.split(d)
	if tx, rows, err = w.complete(d); err != nil {
		return nil, 0, nil, err
	}
	return tx, d.fee(), rows, nil
}

// SplitValue is what a coin is worth that Options.Split makes, in satoshi: it pays for an HTLC transaction at more than 100 sat/vB.
const SplitValue = 25_000

// split takes coins out of the change.
func (w *Wallet) split(d *draft) {
	n := d.opt.Split
	if n <= 0 {
		return
	}
	spent := make(map[wire.OutPoint]bool)
	for _, c := range d.coins {
		spent[c.Out] = true
	}
	for _, c := range w.Coins() {
		if !c.Locked && !c.Immature && c.Height != 0 && c.Value >= SplitValue && !spent[c.Out] {
			n--
		}
	}
	if n <= 1 {
		return // the change is one
	}
	for _, script := range w.changeScripts(d.opt.Change, n, d.old...) {
		if string(script) == string(d.change) {
			continue
		}
		if n--; n == 0 {
			return
		}
		d.outs = append(d.outs, wire.NewTxOut(SplitValue, script))
		d.outputs += SplitValue
		if d.left() < SplitValue || d.checkFee() != nil {
			d.outs, d.outputs = d.outs[:len(d.outs)-1], d.outputs-SplitValue
			return
		}
	}
}

// Spread pays to ourselves, so that afterwards there are n coins of at least each sat: transactions that must not wait for each other, such as the
// claims of several HTLCs, need one each, since only confirmed coins are theirs to spend. Nothing is made, and nil returned, if there are as many already (those
// not locked, with own change that is to confirm), or no addresses: it makes up to 19 coins at a time. Call it when nothing is urgent, at a slow rate.
func (w *Wallet) Spread(n int, each btcutil.Amount, rate chain.FeePerKw, opt Options) (*wire.MsgTx, []Row, error) {
	for _, c := range w.Coins() {
		if !c.Locked && !c.Immature && c.Value >= each && (c.Height != 0 || c.OwnChange) {
			n--
		}
	}
	if n <= 0 || opt.Change >= kinds {
		return nil, nil, nil
	}
	scripts := w.changeScripts(opt.Change, n+1)
	if len(scripts) < 2 {
		return nil, nil, nil
	}
	var outs []*wire.TxOut
	for _, script := range scripts[1:] {
		outs = append(outs, wire.NewTxOut(int64(each), script))
	}
	return w.Fund(outs, rate, opt) // its change goes to scripts[0]
}

// Sweep spends every coin that is worth its input, less the fee, to script. Options.Change and Reserve do not matter.
func (w *Wallet) Sweep(script []byte, rate chain.FeePerKw, opt Options) (*wire.MsgTx, []Row, error) {
	opt.Reserve = 0
	d, err := w.draft(nil, rate, opt)
	if err != nil {
		return nil, nil, err
	}
	d.change = slices.Clone(script)
	d.begin()
	for _, c := range w.candidates(d) {
		d.take(c)
	}
	out := wire.NewTxOut(int64(d.rest(true)), d.change)
	if out.Value < 0 || txrules.CheckOutput(out, txrules.DefaultRelayFeePerKb) != nil {
		return nil, nil, d.insufficient()
	}
	if err := d.checkFee(); err != nil {
		return nil, nil, err
	}
	if err := w.checkBetter(d); err != nil {
		return nil, nil, err
	}
	return w.finish(d.transaction([]*wire.TxOut{out}), d)
}

// draft checks what the caller wants.
func (w *Wallet) draft(outs []*wire.TxOut, rate chain.FeePerKw, opt Options) (*draft, error) {
	if rate < chain.FeerateFloor || rate > chain.FeerateCeiling {
		return nil, fmt.Errorf("feerate %d sat/kw not between %d and %d", rate, chain.FeerateFloor, chain.FeerateCeiling)
	}
	if opt.Change >= kinds {
		return nil, fmt.Errorf("change of unknown %v", opt.Change)
	}
	if err := checkAmounts(opt); err != nil {
		return nil, err
	}
	if err := w.checkReplaced(&opt); err != nil {
		return nil, err
	}
	old := w.rivals(opt)
	d := &draft{rate: rate, extra: opt.Extra, opt: opt, old: old, change: w.changeScript(opt.Change, old...)}
	for i, out := range outs {
		if err := txrules.CheckOutput(out, txrules.DefaultRelayFeePerKb); err != nil {
			return nil, fmt.Errorf("output %d of %d sat: %w", i, out.Value, err)
		}
		if d.outputs += btcutil.Amount(out.Value); d.outputs > btcutil.MaxSatoshi {
			return nil, errors.New("outputs exceed all bitcoin there is")
		}
		d.outs = append(d.outs, wire.NewTxOut(out.Value, slices.Clone(out.PkScript)))
	}
	if len(d.change) == 0 {
		return nil, fmt.Errorf("no %v address left for change", opt.Change)
	}
	return d, nil
}

func checkAmounts(opt Options) error {
	for _, a := range []struct {
		name  string
		value btcutil.Amount
	}{{"extra fee", opt.Extra}, {"reserve", opt.Reserve}, {"maximum fee", opt.MaxFee}} {
		if a.value < 0 || a.value > btcutil.MaxSatoshi {
			return fmt.Errorf("%s %d sat is no amount", a.name, int64(a.value))
		}
	}
	return nil
}

// checkReplaced clears opt.Replaces if there is nothing in the books to replace, and fails if that would not do. An input that is spent in a
// block is not spent again: after a reorganisation nobody would know of the first transaction any more.
func (w *Wallet) checkReplaced(opt *Options) error {
	for txid, p := range w.pending {
		if !p.unconfirmed() && p.spends(opt.Inputs) { // the caller has not heard of that block yet
			return fmt.Errorf("%v, which is confirmed, spends an input", txid)
		}
	}
	old := opt.Replaces
	if old == nil || len(w.family(old.TxHash(), (*pending).live)) > 0 {
		return nil
	}
	if txid := old.TxHash(); w.confirmed(txid) || w.pending[txid] != nil && w.pending[txid].height != 0 {
		return fmt.Errorf("%v, which is to be replaced, is confirmed", txid)
	}
	again := func(in Input) bool {
		return slices.ContainsFunc(old.TxIn, func(o *wire.TxIn) bool { return o.PreviousOutPoint == in.Out })
	}
	if !slices.ContainsFunc(opt.Inputs, again) {
		return errors.New("the transaction to replace is not pending, and spends none of the inputs given")
	}
	opt.Replaces = nil
	return nil
}

// rivals are the live pending transactions that are to be replaced, or spend an input of opt.
func (w *Wallet) rivals(opt Options) (list []chainhash.Hash) {
	for txid, p := range w.pending {
		if p.live() && p.rivals(txid, opt) {
			list = append(list, txid)
		}
	}
	return list
}

func (p *pending) rivals(txid chainhash.Hash, opt Options) bool {
	return opt.Replaces != nil && opt.Replaces.TxHash() == txid || p.spends(opt.Inputs)
}

func (p *pending) spends(given []Input) bool {
	return slices.ContainsFunc(p.tx.TxIn, func(in *wire.TxIn) bool {
		return slices.ContainsFunc(given, func(g Input) bool { return g.Out == in.PreviousOutPoint })
	})
}

// candidates are the coins that may be spent, in the order in which they are taken: those of replaced transactions, then confirmed ones, then
// change; the largest first. Coins that cost more than they bring are left out.
func (w *Wallet) candidates(d *draft) []Coin {
	again := make(map[wire.OutPoint]bool)
	var undone []chainhash.Hash
	for _, txid := range d.old {
		undone = append(undone, w.family(txid, (*pending).live)...)
		for _, in := range w.pending[txid].tx.TxIn {
			again[in.PreviousOutPoint] = true
		}
	}
	rank := func(c Coin) int {
		switch {
		case again[c.Out]:
			return 0
		case c.Height != 0:
			return 1
		default:
			return 2
		}
	}
	list := slices.DeleteFunc(w.Coins(), func(c Coin) bool {
		switch {
		case c.Immature || slices.Contains(undone, c.Out.Hash) || !w.Has(c.Out):
			return true
		case again[c.Out]:
			return false
		case c.Height == 0 && !(c.OwnChange && d.opt.Unconfirmed):
			return true
		}
		return c.Locked || int64(c.Value) <= d.rate.Fee(c.Kind.inputWeight())
	})
	slices.SortFunc(list, func(a, b Coin) int {
		return cmp.Or(rank(a)-rank(b), cmp.Compare(b.Value, a.Value), compareOut(a.Out, b.Out))
	})
	return list
}

// choose takes coins until outputs, fee and reserve are met, instead of those taken before.
func (w *Wallet) choose(d *draft) error {
	candidates := w.candidates(d)
	var left btcutil.Amount // in coins not taken
	for _, c := range candidates {
		left += c.Value
	}
	d.begin()
	for _, c := range candidates {
		if !c.Locked && d.enough(left) { // locked ones are those of transactions to replace
			break
		}
		d.take(c)
		left -= c.Value
	}
	if !d.enough(left) {
		return d.insufficient()
	}
	return d.checkFee()
}

// begin forgets the coins taken.
func (d *draft) begin() {
	d.coins, d.inputs = nil, 0
	for _, in := range d.opt.Inputs {
		d.inputs += btcutil.Amount(in.Prev.Value)
	}
}

func (d *draft) checkFee() error {
	if fee := d.fee(); d.opt.MaxFee != 0 && fee > d.opt.MaxFee {
		return fmt.Errorf("fee of %d sat above maximum %d sat", int64(fee), int64(d.opt.MaxFee))
	}
	return nil
}

func (d *draft) take(c Coin) {
	d.coins = append(d.coins, c)
	d.inputs += c.Value
}

// enough says that the inputs pay for outputs and fee, and that what remains with the left coins is the reserve.
func (d *draft) enough(left btcutil.Amount) bool {
	change := d.left()
	if change == 0 && (len(d.outs) == 0 || d.rest(false) < 0) {
		return false
	}
	return left+change >= d.opt.Reserve
}

// rest is what the inputs leave after outputs and fee, the fee with a change output or without one.
func (d *draft) rest(change bool) btcutil.Amount {
	return d.inputs - d.outputs - d.extra - btcutil.Amount(d.rate.Fee(d.weight(change)))
}

// left is the value of the change output, 0 if there is none.
func (d *draft) left() btcutil.Amount {
	if change := d.rest(true); change >= d.opt.Change.dust() {
		return change
	}
	return 0
}

// fee is what is paid in all.
func (d *draft) fee() btcutil.Amount { return d.inputs - d.outputs - d.left() }

// weight is an upper bound of the weight of the signed transaction.
func (d *draft) weight(change bool) int64 {
	ins, outs := len(d.coins)+len(d.opt.Inputs), len(d.outs)
	size := 8 + txsizes.SumOutputSerializeSizes(d.outs)
	if change {
		size += wire.NewTxOut(0, d.change).SerializeSize()
		outs++
	}
	size += wire.VarIntSerializeSize(uint64(ins)) + wire.VarIntSerializeSize(uint64(outs))
	weight := int64(4*size + 2) // marker and flag
	for _, c := range d.coins {
		weight += c.Kind.inputWeight()
	}
	for _, in := range d.opt.Inputs {
		weight += 4*(32+4+1+4) + in.Witness
	}
	return weight
}

func (d *draft) insufficient() error {
	return &InsufficientError{
		Need:      d.outputs + d.extra + d.opt.Reserve,
		Fee:       btcutil.Amount(d.rate.Fee(d.weight(true))),
		Available: d.inputs,
	}
}

// transaction is the draft, unsigned, with these outputs.
func (d *draft) transaction(outs []*wire.TxOut) *wire.MsgTx {
	tx := wire.NewMsgTx(2)
	tx.LockTime = d.opt.LockTime
	for _, in := range d.opt.Inputs {
		tx.AddTxIn(&wire.TxIn{PreviousOutPoint: in.Out, Sequence: in.Sequence})
	}
	for _, c := range d.coins {
		tx.AddTxIn(&wire.TxIn{PreviousOutPoint: c.Out, Sequence: replaceable})
	}
	tx.TxOut = outs
	return tx
}

// addChange adds the change output if it is worth one.
func (d *draft) addChange(tx *wire.MsgTx) {
	if change := d.left(); change > 0 {
		tx.AddTxOut(wire.NewTxOut(int64(change), slices.Clone(d.change)))
	}
}

// complete is the transaction of the coins chosen, if it may replace what it is to replace.
func (w *Wallet) complete(d *draft) (*wire.MsgTx, []Row, error) {
	if err := w.checkBetter(d); err != nil {
		return nil, nil, err
	}
	tx := d.transaction(d.outs)
	d.addChange(tx)
	return w.finish(tx, d)
}

// checkBetter fails if nobody would relay the draft in place of what it replaces. BIP 125, rules 3 and 4: it pays what that and its descendants pay, and
// 1 sat/vB for itself; and Core's: it has the higher rate. A fee that the wallet cannot know, because of inputs of others, is left to the caller.
func (w *Wallet) checkBetter(d *draft) error {
	old := d.opt.Replaces
	if old == nil {
		return nil
	}
	least := btcutil.Amount(chain.FeerateFloor.Fee(d.weight(true)))
	for _, txid := range w.family(old.TxHash(), (*pending).live) {
		fee, _ := w.paid(w.pending[txid].tx, d.opt.Inputs)
		least += fee
	}
	if fee, known := w.paid(old, d.opt.Inputs); known {
		weight := int64(3*old.SerializeSizeStripped() + old.SerializeSize())
		least = max(least, fee*btcutil.Amount(d.weight(true))/btcutil.Amount(weight)+1)
	}
	if fee := d.fee(); fee < least {
		return fmt.Errorf("fee of %d sat, need %d sat to replace %v", int64(fee), int64(least), old.TxHash())
	}
	return nil
}

// paid is the fee of a transaction whose inputs are coins of the wallet or given.
func (w *Wallet) paid(tx *wire.MsgTx, given []Input) (fee btcutil.Amount, known bool) {
	for _, in := range tx.TxIn {
		i := slices.IndexFunc(given, func(g Input) bool { return g.Out == in.PreviousOutPoint })
		if c, ours := w.output(in.PreviousOutPoint); ours {
			fee += c.Value
		} else if i >= 0 {
			fee += btcutil.Amount(given[i].Prev.Value)
		} else {
			return 0, false
		}
	}
	for _, out := range tx.TxOut {
		fee -= btcutil.Amount(out.Value)
	}
	return fee, true
}

// finish signs, and enters the transaction in the books.
func (w *Wallet) finish(tx *wire.MsgTx, d *draft) (*wire.MsgTx, []Row, error) {
	if err := d.checkWeight(); err != nil {
		return nil, nil, err
	}
	prev := make([]*wire.TxOut, 0, len(tx.TxIn))
	for _, in := range d.opt.Inputs {
		prev = append(prev, in.Prev)
	}
	for _, c := range d.coins {
		prev = append(prev, wire.NewTxOut(int64(c.Value), c.Script))
	}
	for i := range d.coins {
		if err := w.sign(tx, len(d.opt.Inputs)+i, prev); err != nil {
			return nil, nil, err
		}
	}
	return tx, w.enter(tx, d), nil
}

func (d *draft) checkWeight() error {
	if weight := d.weight(true); weight > maxWeight {
		return fmt.Errorf("transaction weight %d above maximum %d: %d coins", weight, maxWeight, len(d.coins))
	}
	return nil
}

// enter makes tx pending, in place of those it replaces. One that is impossible now is replaced as well: a reorganisation could make it
// possible, and nobody would remember to release it.
func (w *Wallet) enter(tx *wire.MsgTx, d *draft) []Row {
	for txid, p := range w.pending {
		if p.unconfirmed() && p.rivals(txid, d.opt) {
			w.release(txid)
		}
	}
	txid := tx.TxHash()
	w.pending[txid] = &pending{tx: tx.Copy(), own: true, publish: d.opt.Publish}
	w.touchPending(txid)
	return w.rows()
}
