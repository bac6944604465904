package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"lightningrod/channel"
	"lightningrod/node"
	"lightningrod/node/forward"
	"lightningrod/node/store"
	"lightningrod/rod"

	"github.com/btcsuite/btcd/wire"
)

// check is one thing that is shown to be so, or not.
type check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// change is what an actor owned, in msat: channels and coins.
type change struct {
	Before uint64 `json:"before_msat"`
	After  uint64 `json:"after_msat"`
}

// result is how a performance ended: the last line with --json.
type result struct {
	Scenario string            `json:"scenario"`
	Seed     uint64            `json:"seed"`
	OK       bool              `json:"ok"`
	Checks   []check           `json:"checks"`
	Balances map[string]change `json:"balances,omitempty"`
	Fees     map[string]uint64 `json:"fees,omitempty"`     // msat, by who took them
	OnChain  map[string]uint64 `json:"on_chain,omitempty"` // msat that were paid to miners or left in anchors, by who paid
	Seconds  float64           `json:"seconds"`
	RSS      uint64            `json:"rss_bytes,omitempty"` // the most memory the process ever had; where the system tells
	Dir      string            `json:"dir,omitempty"`

	order []string // of the names in Balances
}

func (r result) holds() bool {
	return len(r.Checks) > 0 && !slices.ContainsFunc(r.Checks, func(c check) bool { return !c.OK })
}

// proof is a check at the end. It gives what it found, or why it fails.
type proof struct {
	name string
	show func(*stage) (string, error)
}

// proofs are the checks of every scenario that stays off chain, in the order in which they are told.
var proofs = []proof{
	{"preimage", (*stage).showPreimage},
	{"balances", (*stage).showBalances},
	{"held-at-lsp-a", (*stage).showHeld},
	{"one-payment", (*stage).showOnce},
	{"never-together", (*stage).showApart},
	{"commitments-valid", (*stage).showCommitments},
	{"ends-agree", (*stage).showEnds},
	{"invariants", (*stage).showInvariants},
	{"disk-is-memory", (*stage).showDisk},
	{"nothing-left", (*stage).showNothingLeft},
}

// prove stops everything and shows what happened. An error says why it cannot.
func prove(s *stage, list []proof) (r result, err error) {
	if err := s.settleDown(); err != nil {
		return r, err
	}
	if list == nil {
		list = proofs
	}
	r.Checks = s.story
	for _, p := range list {
		detail, err := p.show(s)
		if err != nil {
			detail = err.Error()
		}
		r.Checks = append(r.Checks, check{p.name, err == nil, detail})
	}
	r.Balances, r.Fees = map[string]change{}, map[string]uint64{}
	fees := s.fees()
	for _, a := range s.actors {
		r.order = append(r.order, a.name)
		r.Balances[a.name] = change{s.before[a], s.wealth(a)}
		if fees[a] > 0 {
			r.Fees[a.name] = fees[a]
		}
	}
	for a, cost := range s.costs() {
		if r.OnChain == nil {
			r.OnChain = map[string]uint64{}
		}
		r.OnChain[a.name] = cost * 1000
	}
	return r, nil
}

// settleDown waits for the last HTLC to go and the last call to be delivered, and stops all nodes.
func (s *stage) settleDown() error {
	for _, a := range s.actors {
		if !a.awake {
			continue
		}
		if err := s.clear(a); err != nil {
			return err
		}
		err := s.until("nothing-left", a.name+" has delivered its calls", func() bool {
			return s.count(a, node.WakeDelivered)+s.count(a, node.WakeFailed) >= s.count(a, node.WakeSent)
		})
		if err != nil {
			return err
		}
	}
	for _, a := range s.actors {
		if err := a.sleep(); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) showPreimage() (string, error) {
	p, ok := s.a.node.Payment(s.payment)
	switch {
	case !ok:
		return "", errors.New("payment unknown to A")
	case p.Hash != s.invoice.Hash:
		return "", fmt.Errorf("payment of hash %x, the invoice has %x", p.Hash[:4], s.invoice.Hash[:4])
	case s.want.refunded && p.State == forward.PaymentFailed && p.Preimage == [32]byte{}:
		return "A has no preimage, and the payment failed", nil
	case s.want.refunded:
		return "", fmt.Errorf("payment %s, want failed", p.State)
	case p.State != forward.PaymentSucceeded:
		return "", fmt.Errorf("payment %s, want succeeded", p.State)
	case sha256.Sum256(p.Preimage[:]) != s.invoice.Hash:
		return "", errors.New("hash of what A holds is not the invoice's payment hash")
	}
	return fmt.Sprintf("SHA-256 of what A holds is the invoice's payment hash %.16s", s.hash()), nil
}

// fees are what each LSP must have earned, by BOLT 7's formula, from the amounts that reached B.
func (s *stage) fees() map[*actor]uint64 {
	take := func(msat uint64) uint64 { return uint64(policy.FeeBase) + msat*uint64(policy.FeePPM)/1_000_000 }
	fees := map[*actor]uint64{}
	if s.want.refunded {
		return fees
	}
	log, _ := s.b.events(s.opening[s.b])
	for _, in := range pick(log, node.HTLCIn) {
		amount := number(in, "amount_msat")
		b := take(amount)
		fees[s.lspB] += b
		fees[s.lspA] += take(amount + b)
	}
	return fees
}

func (s *stage) showBalances() (string, error) {
	fees := s.fees()
	amount := s.want.amount
	if s.want.refunded {
		amount = 0
	}
	want := map[*actor]int64{
		s.a: -int64(amount + fees[s.lspA] + fees[s.lspB]), s.lspA: int64(fees[s.lspA]), s.lspB: int64(fees[s.lspB]), s.b: int64(amount),
	}
	sum := int64(0)
	for _, a := range s.actors {
		got := int64(a.balance()) - int64(s.before[a])
		if got != want[a] {
			return "", fmt.Errorf("%s has changed by %s msat, want %s", a.name, signed(got), signed(want[a]))
		}
		sum += got
	}
	if sum != 0 {
		return "", fmt.Errorf("the changes add up to %s msat, want 0", signed(sum))
	}
	if s.want.refunded {
		return "everybody has to the msat what they had before", nil
	}
	return fmt.Sprintf("A %s msat, LSP_a %s, LSP_b %s, B %s; together 0", signed(want[s.a]), signed(want[s.lspA]), signed(want[s.lspB]), signed(want[s.b])), nil
}

// showHeld reads in LSP_a's own news that each part was held first, then the unblock came, then the part went on; and that until
// then nobody further down had seen an HTLC.
func (s *stage) showHeld() (string, error) {
	if s.want.passed {
		return s.showPassed()
	}
	log, _ := s.lspA.events(s.start[s.lspA])
	held := map[string]bool{}
	unblocked, forwarded := false, 0
	pidHash := rod.PidHash(s.pid)
	for _, e := range log {
		switch e.Kind {
		case node.HoldHolding:
			held[e.Fields["channel"]+"/"+e.Fields["id"]] = true
		case node.UnblockSeen:
			unblocked = unblocked || e.Fields["pid_hash"] == hex.EncodeToString(pidHash[:4])
		case node.HTLCForwarded:
			key := e.Fields["in_channel"] + "/" + e.Fields["in_id"]
			if !held[key] || !unblocked {
				return "", fmt.Errorf("HTLC %s went on: held before %t, unblock before %t", key, held[key], unblocked)
			}
			forwarded++
		}
	}
	want := s.parts
	if s.want.refunded {
		want = 0
	}
	looks := fmt.Sprintf("LSP_b and B had no HTLC in %d looks while it held", s.samples)
	switch {
	case len(held) != s.parts:
		return "", fmt.Errorf("held %d HTLCs at LSP_a, want %d", len(held), s.parts)
	case forwarded != want:
		return "", fmt.Errorf("forwarded %d HTLCs at LSP_a, want %d", forwarded, want)
	case s.samples < 2:
		return "", fmt.Errorf("downstream was looked at %d times while LSP_a held, want 2", s.samples)
	case s.want.refunded:
		return fmt.Sprintf("LSP_a held %s and forwarded nothing; %s", plural(len(held), "HTLC"), looks), nil
	}
	return fmt.Sprintf("LSP_a held %s, then saw payment_unblock with A's pid, then forwarded; %s", plural(len(held), "HTLC"), looks), nil
}

// showPassed is showHeld where nothing was to be held.
func (s *stage) showPassed() (string, error) {
	if n := s.count(s.lspA, node.HoldHolding); n > 0 {
		return "", fmt.Errorf("held %d HTLCs at LSP_a, want none", n)
	}
	return "LSP_a held nothing: all HTLCs passed straight through", nil
}

func (s *stage) showOnce() (string, error) {
	paid, done, wantPaid := s.count(s.b, node.InvoicePaid, "hash", s.hash()), s.count(s.a, node.PaymentDone, "hash", s.hash()), 1
	if s.want.refunded {
		wantPaid = 0
	}
	if s.want.lost {
		done++ // it would have learnt of it
	}
	if paid != wantPaid || done != wantPaid {
		return "", fmt.Errorf("paid %d times to B and %d times by A, want %d", paid, done, wantPaid)
	}
	at := s.count(s.b, node.HTLCForUs, "hash", s.hash())
	if want := wantPaid * s.parts; at != want {
		return "", fmt.Errorf("%d HTLCs reached B, want %d", at, want)
	}
	if s.want.refunded {
		return "B was not paid, and no HTLC reached it", nil
	}
	if s.want.lost {
		return fmt.Sprintf("B was paid once, in %s", plural(at, "HTLC")), nil
	}
	return fmt.Sprintf("B was paid once, in %s; A paid once", plural(at, "HTLC")), nil
}

func (s *stage) showApart() (string, error) {
	for _, x := range s.a.spans {
		for _, y := range s.b.spans {
			if x.from.Before(y.to) && y.from.Before(x.to) {
				return "", fmt.Errorf("both A and B were online from %s to %s", later(x, y).from.Format("15:04:05.000"), earlier(x, y).to.Format("15:04:05.000"))
			}
		}
	}
	return fmt.Sprintf("A was online %s and B %s, never at the same time", plural(len(s.a.spans), "time"), plural(len(s.b.spans), "time")), nil
}

func later(x, y span) span {
	if x.from.After(y.from) {
		return x
	}
	return y
}

func earlier(x, y span) span {
	if x.to.Before(y.to) {
		return x
	}
	return y
}

// eachChannel shows something of every channel of every node. Those that were closed while A was away A still takes for open: they are
// left out.
func (s *stage) eachChannel(show func(a *actor, c node.ChannelInfo) error) (count int, err error) {
	for _, a := range s.actors {
		for _, c := range a.node.Channels() {
			if s.want.lost && a == s.a && s.closing(c.State.Funding()) != nil {
				continue
			}
			if err := show(a, c); err != nil {
				return count, fmt.Errorf("%s, channel %d: %w", a.name, c.ID, err)
			}
			count++
		}
	}
	return count, nil
}

// showCommitments runs the script engine on the transaction each node would publish now, against the output that is on chain.
func (s *stage) showCommitments() (string, error) {
	count, err := s.eachChannel(func(a *actor, c node.ChannelInfo) error {
		if onChain(c) {
			return fmt.Errorf("it is %s, want normal", c.State.Phase())
		}
		tx, spends, err := a.node.LocalCommitment(c.ID)
		if err != nil {
			return err
		}
		funding, err := s.fundingOf(c)
		switch {
		case err != nil:
			return err
		case funding.Value != spends.Value || !bytes.Equal(funding.PkScript, spends.PkScript):
			return errors.New("the funding output on chain is another")
		case len(tx.TxIn) != 1 || tx.TxIn[0].PreviousOutPoint != c.State.Funding():
			return errors.New("the commitment does not spend the funding output")
		}
		return s.chain.CheckTx(tx, []*wire.TxOut{funding}...)
	})
	return fmt.Sprintf("the newest commitment of all %d ends spends its funding output on chain, by the script engine", count), err
}

// showEnds compares the two ends of each channel.
func (s *stage) showEnds() (string, error) {
	type balance struct{ local, remote uint64 }
	ends := map[wire.OutPoint]balance{}
	pairs := 0
	_, err := s.eachChannel(func(a *actor, c node.ChannelInfo) error {
		local, remote := c.State.Balance()
		mine := balance{uint64(local), uint64(remote)}
		other, known := ends[c.State.Funding()]
		ends[c.State.Funding()] = mine
		if !known {
			return nil
		}
		pairs++
		if mine.local != other.remote || mine.remote != other.local {
			return fmt.Errorf("balance %d and %d msat here, %d and %d at the other end", mine.local, mine.remote, other.remote, other.local)
		}
		return nil
	})
	if err == nil && pairs != len(ends) {
		err = fmt.Errorf("%d channels have one end only", len(ends)-pairs)
	}
	return fmt.Sprintf("both ends of all %d channels have the same balances", pairs), err
}

func (s *stage) showInvariants() (string, error) {
	count, err := s.eachChannel(func(_ *actor, c node.ChannelInfo) error { return c.State.Invariants() })
	return fmt.Sprintf("hold in all %d channel states", count), err
}

// stores opens every node's files, as anybody could now that it is stopped.
func (s *stage) stores(read func(a *actor, db *store.Store) error) error {
	for _, a := range s.actors {
		db, err := store.Open(filepath.Join(a.cfg.Dir, "node.db"))
		if err == nil {
			err = errors.Join(read(a, db), db.Close())
		}
		if err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
	}
	return nil
}

// showDisk compares the rows of each channel with the State that was in memory when the node stopped. Encode leaves out just what
// Restore forgets: updates that no signature covers yet.
func (s *stage) showDisk() (string, error) {
	count := 0
	err := s.stores(func(a *actor, db *store.Store) error {
		cores := map[channel.ID][]byte{}
		bodies, err := htlcBodies(db)
		if err != nil {
			return err
		}
		err = db.Load(store.Channel, func(key, core []byte) error {
			restored, _, err := channel.Restore(core, bodies[channel.ID(binary.BigEndian.Uint64(key))])
			if err != nil {
				return err
			}
			if !bytes.Equal(restored.Encode(), core) {
				return errors.New("what is restored from a row does not give the row again")
			}
			cores[restored.ID()] = slices.Clone(core)
			return nil
		})
		if err != nil {
			return err
		}
		live := a.node.Channels()
		if len(live) != len(cores) {
			return fmt.Errorf("%d channels on disk, %d in memory", len(cores), len(live))
		}
		for _, c := range live {
			if !bytes.Equal(cores[c.ID], c.State.Encode()) {
				return fmt.Errorf("channel %d is not on disk what it was in memory", c.ID)
			}
			count++
		}
		return nil
	})
	return fmt.Sprintf("%d channel states read back from SQLite equal those in memory, byte for byte", count), err
}

// htlcBodies are the HTLCs of a node's files, by channel.
func htlcBodies(db *store.Store) (map[channel.ID][]channel.HTLC, error) {
	all := map[channel.ID][]channel.HTLC{}
	err := db.Load(store.HTLC, func(_, value []byte) error {
		h, err := channel.DecodeHTLC(value)
		all[h.Key.Channel] = append(all[h.Key.Channel], h)
		return err
	})
	return all, err
}

// passing are the tables whose rows must not outlive a payment.
var passing = []store.Table{store.HTLC, store.Settled, store.Request, store.Member, store.Payer, store.Payee, store.Outbox, store.Mailbox}

func (s *stage) showNothingLeft() (string, error) {
	allowed := map[*actor]map[store.Table]int{
		s.lspA: {store.Request: s.want.armed},
		s.lspB: {store.Mailbox: s.want.letters},
		s.b:    {store.Payee: s.want.expecting},
	}
	kept := 0
	err := s.stores(func(a *actor, db *store.Store) error {
		if s.want.lost && a == s.a {
			return nil // its files are as it left them
		}
		for _, t := range passing {
			rows := 0
			if err := db.Load(t, func(_, _ []byte) error { rows++; return nil }); err != nil {
				return err
			}
			if s.want.lost && a == s.lspA && t == store.Mailbox {
				kept = rows // until they are too old
				continue
			}
			if want := allowed[a][t]; rows != want {
				return fmt.Errorf("%d rows in table %s, want %d", rows, t, want)
			}
		}
		return nil
	})
	for _, a := range s.actors {
		if n := len(a.node.HTLCs()); n > 0 && err == nil && !(s.want.lost && a == s.a) {
			err = fmt.Errorf("%s was not done with %s", a.name, plural(n, "HTLC"))
		}
	}
	switch {
	case err != nil:
		return "", err
	case s.want.letters > 0:
		return fmt.Sprintf("nothing but %s for B, in LSP_b's mailbox", plural(s.want.letters, "message")), nil
	case s.want.expecting > 0:
		return "nothing but B's note, which ends with its invoice, that the payment it answered to may still come", nil
	case kept > 0:
		return fmt.Sprintf("nothing but %s for A, in LSP_a's mailbox, and A's files as A left them", plural(kept, "message")), nil
	case s.want.armed > 0:
		return fmt.Sprintf("nothing but %s of M at LSP_a, without HTLCs", plural(s.want.armed, "request")), nil
	}
	return "no HTLC, outcome, hold, notice, message or call is left, in memory or in any node's files", nil
}

// peakMemory is the most memory this process ever had, 0 where the system does not tell.
func peakMemory() uint64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	rest, _, _ = strings.Cut(rest, "kB")
	kb, _ := strconv.ParseUint(strings.TrimSpace(rest), 10, 64)
	return kb * 1024
}
