package nodetest

import (
	"fmt"
	"maps"
	"slices"
)

// An invariant is one of those below. Its text stands in reports, with the number of times it was looked at.
type invariant uint8

const (
	invConservation invariant = iota
	invOneChild
	invParent
	invFail
	invFulfill
	invHeld
	invDeadline
	invReleased
	invPid
	invDurable
	invQuiet
	invRead
	invEnd
	invOutcome
	invMoney
	invValid
	invBuffer
	invTime
	invPassed
	invSwept
	invJustice
	invCoins
	invariants
)

var invariantText = [invariants]string{
	invConservation: "conservation: balances and HTLCs of a channel are its capacity",
	invOneChild:     "an incoming HTLC has at most one outgoing one, ever, over restarts",
	invParent:       "an outgoing HTLC has a committed incoming one that pays for it",
	invFail:         "an incoming HTLC is failed only if nothing downstream can be claimed",
	invFulfill:      "an outgoing HTLC's preimage reaches its incoming one",
	invHeld:         "I1: nothing is offered downstream while it is held",
	invDeadline:     "I6: no hold outlives its deadline, nothing is released after it",
	invReleased:     "an unblock is not lost, however early it comes",
	invPid:          "I7: an unblock that is wrong, or comes twice, changes nothing",
	invDurable:      "after any crash the disk's prefix can be restored and re-established",
	invQuiet:        "honest nodes give each other no error, warning or unexpected close",
	invRead:         "every block of the best chain was read, whatever was there before",
	invEnd:          "at the end nothing is left: HTLCs, rows, holds",
	invOutcome:      "a payment has one outcome, and the payer's is the payee's",
	invMoney:        "at the end everybody has what the outcomes say, to the msat",
	invValid:        "what honest nodes publish is valid",
	invBuffer:       "who pays the fee keeps its reserve, and twice the fee, when it offers (BOLT 2)",
	invTime:         "an outgoing HTLC has ended before its incoming one runs out",
	invPassed:       "how an outgoing HTLC ended reaches its incoming one",
	invSwept:        "everything of an honest node in a commitment that was confirmed is swept by it",
	invJustice:      "justice: all of a revoked commitment is the honest side's",
	invCoins:        "coins on chain are what transactions and their fees say, to the satoshi",
}

func (i invariant) String() string { return invariantText[i] }

// Stats are counts over runs.
type Stats struct {
	Seeds, Steps, Turns, Crashes, Lost int
	Payments, Paid, Held, OnChain      int
	Rogues, Reorgs, Bumps, Replaced    int
	Blocks                             int
	Closes                             map[string]int // by whose commitment was confirmed
	HTLCs                              map[string]int // of those, by what became of their outputs
	Checks                             [invariants]int
}

// Add sums up.
func (s *Stats) Add(o *Stats) {
	s.Seeds, s.Steps, s.Turns, s.Crashes, s.Lost = s.Seeds+o.Seeds, s.Steps+o.Steps, s.Turns+o.Turns, s.Crashes+o.Crashes, s.Lost+o.Lost
	s.Payments, s.Paid, s.Held, s.OnChain = s.Payments+o.Payments, s.Paid+o.Paid, s.Held+o.Held, s.OnChain+o.OnChain
	s.Rogues, s.Reorgs, s.Bumps, s.Replaced = s.Rogues+o.Rogues, s.Reorgs+o.Reorgs, s.Bumps+o.Bumps, s.Replaced+o.Replaced
	s.Blocks += o.Blocks
	for i, n := range o.Checks {
		s.Checks[i] += n
	}
	count(&s.Closes, o.Closes)
	count(&s.HTLCs, o.HTLCs)
}

func count(m *map[string]int, more map[string]int) {
	if *m == nil {
		*m = map[string]int{}
	}
	for k, n := range more {
		(*m)[k] += n
	}
}

func (s *Stats) close(kind string) { count(&s.Closes, map[string]int{kind: 1}) }
func (s *Stats) htlc(kind string)  { count(&s.HTLCs, map[string]int{kind: 1}) }

// String is the counts as a few lines.
func (s *Stats) String() string {
	b := fmt.Sprintf("%d seeds, %d steps, %d turns, %d crashes (%d turns lost), %d payments (%d paid, %d held), %d runs went on chain",
		s.Seeds, s.Steps, s.Turns, s.Crashes, s.Lost, s.Payments, s.Paid, s.Held, s.OnChain)
	b += fmt.Sprintf("\n%d blocks, %d reorganisations, %d bumps, %d replacements, %d adversaries; channels that went on chain, by each honest end:",
		s.Blocks, s.Reorgs, s.Bumps, s.Replaced, s.Rogues)
	for _, k := range slices.Sorted(maps.Keys(s.Closes)) {
		b += fmt.Sprintf(" %d by %s;", s.Closes[k], k)
	}
	b += "\nHTLC outputs, by what each honest end was told, and who has them:"
	for _, k := range slices.Sorted(maps.Keys(s.HTLCs)) {
		b += fmt.Sprintf(" %d %s;", s.HTLCs[k], k)
	}
	for i, n := range s.Checks {
		b += fmt.Sprintf("\n%12d  %v", n, invariant(i))
	}
	return b
}

func (w *World) must(i invariant, ok bool, format string, args ...any) {
	if w.broken(i, ok) {
		w.fail("%v\n  %s", i, fmt.Sprintf(format, args...))
	}
}

// broken counts that an invariant was looked at. Where that is often, it comes before the words of must.
func (w *World) broken(i invariant, ok bool) bool {
	w.stats.Checks[i]++
	return !ok
}
