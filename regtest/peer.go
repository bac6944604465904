package regtest

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// Node is a Lightning node of a test, whoever wrote it: what a script can ask of it. Its identity, its address and its coins stay the
// same over restarts. The methods may be called by several goroutines, but for Start, Stop and Kill.
type Node interface {
	ID() string   // public key, hex
	Addr() string // host:port

	Start() error // again, after Stop or Kill: returns when it answers
	Stop() error  // as an operator does
	Kill()        // as a power cut does

	Height() (uint32, error) // of the block it has come to
	Address() (string, error)
	Coins() (sat int64, err error) // confirmed, of its wallet

	Connect(id, addr string) error
	Disconnect(id string) error
	Peers() ([]string, error) // ids of those that are connected

	Open(Opening) error
	Close(funding string, force bool) error
	Channels() ([]Channel, error)
	Total() (msat int64, err error) // ours in all channels, without what is in flight; fees and anchors of those we opened are ours

	Invoice(msat uint64) (Invoice, error)
	Withdraw(Invoice) error // nobody may pay it any more
	Pay(Payment) (Outcome, error)
	Ledger() (Ledger, error)

	Graph() (Graph, error)
}

// Hodler is a node that can let a payment wait. Hodl makes an invoice, Accepted says whether its payment waits, and Settle takes it.
type Hodler interface {
	Node
	Hodl(msat uint64) (inv Invoice, preimage []byte, err error)
	Accepted(Invoice) (bool, error)
	Settle(preimage []byte) error
}

// Offerer is a node that knows the offers of BOLT 12. PayOffer asks for an invoice by onion message, and pays it.
type Offerer interface {
	Node
	Offer(msat uint64) (string, error)
	PayOffer(offer string) (Outcome, error)
}

// Opening is a channel to be opened to a connected node.
type Opening struct {
	Peer     string
	Capacity int64 // satoshi
	Push     int64 // satoshi
	Private  bool
}

// Channel is a channel as one of its ends sees it. Of a channel in the making only Peer, Funding and Capacity may be known.
type Channel struct {
	Peer     string
	Funding  string // txid:output
	SCID     string // block x transaction x output, once confirmed
	Opener   bool
	Private  bool
	Usable   bool
	Capacity int64 // satoshi
	FeeRate  int64 // sat/kw, of the commitments
	HTLCs    int   // in flight, both ways

	// Theirs is what the end that did not open the channel has besides HTLCs in flight, in satoshi, rounded down. The rest is the
	// opener's, and pays the fee.
	Theirs int64
}

// Invoice is an invoice of a node.
type Invoice struct {
	Text string
	Hash string // hex
}

// Blinder is a Node that makes invoices with blinded paths to it instead of its id (BOLT 4 "Route Blinding", bLIP 39).
type Blinder interface {
	Blinded(msat uint64, p PathWish) (Invoice, error)
}

// PathWish is what blinded paths are to be like.
type PathWish struct {
	Hops    int // before the payee; 0: it is the introduction node itself
	Dummies int // after the payee, which plays them
	Paths   int // at most; 0: one
}

// Payment is a wish to pay.
type Payment struct {
	Invoice string
	Parts   int // at most; 0: one

	// What is wrong with it on purpose; not every kind can do that.
	Unknown    bool   // another payment hash
	LessFee    int64  // msat, that the first hop gets too little
	LessExpiry int    // blocks, likewise
	Wrong      string // one of the wrongs of its kind, by name

	// FinalExpiry is the blocks that the payee gets, where more than the invoice wants; 0: what that wants.
	FinalExpiry int
	// FirstHop are TLV records for update_add_htlc; not every kind can send them.
	FirstHop map[uint64][]byte
}

// Outcome is how a payment ended.
type Outcome struct {
	Paid bool
	// Failure is the name of the failure that the payer has read, in the words of BOLT 4, such as "temporary_channel_failure";
	// Hop is who sent it, 1 being the first node after the payer, and -1 unknown.
	Failure string
	Hop     int
	Fee     uint64 // msat
}

// Ledger is what a node has paid and received, in msat without fees, by payment hash (hex).
type Ledger struct {
	Paid, Received map[string]int64
	Pending        []string // hashes of payments without outcome
	Failed         []string // hashes of those that failed, where the node tells
	Sent           int64    // msat of all Paid, with fees, where the node tells
}

// Graph is what a node knows of the public network.
type Graph struct {
	Nodes    int // that have announced themselves
	Channels int
	Updates  int               // channel_updates, at most two a channel; -1: the node does not tell
	Aliases  map[string]string // by id; nil: the node does not tell
}

// program is what every kind of node is made of: a process with a folder, which comes back with the same arguments.
type program struct {
	t       testing.TB
	name    string
	dir     string
	command []string
	process *process
}

// newProgram is one that does not run yet. The folder goes with the test, unless ROD_KEEP names a folder where it is kept.
func newProgram(t testing.TB, name string) *program {
	t.Helper()
	p := &program{t: t, name: name, dir: filepath.Join(t.TempDir(), name)}
	if keep := os.Getenv("ROD_KEEP"); keep != "" {
		p.dir = filepath.Join(keep, t.Name(), name)
		if err := os.RemoveAll(p.dir); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

func (p *program) launch() (err error) {
	p.process, err = start(p.command, p.output())
	return err
}

// Kill ends the process as a power cut does.
func (p *program) Kill() {
	if p.process != nil {
		p.process.kill()
	}
}

// Snapshot copies the folder, and Restore brings the copy back. The program must not run.
func (p *program) Snapshot() error {
	if err := os.RemoveAll(p.dir + ".old"); err != nil {
		return err
	}
	return os.CopyFS(p.dir+".old", os.DirFS(p.dir))
}

func (p *program) Restore() error {
	if err := os.RemoveAll(p.dir); err != nil {
		return err
	}
	return os.CopyFS(p.dir, os.DirFS(p.dir+".old"))
}

// ended waits for a process that was asked to end.
func (p *program) ended() error {
	select {
	case <-p.process.done:
		return p.process.err
	case <-time.After(patience):
		return p.fault("does not end")
	}
}

func (p *program) output() string { return filepath.Join(p.dir, "output") }

// Tail is the end of what it has written.
func (p *program) Tail() string {
	text, err := os.ReadFile(p.output())
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-3000):])
}

// awaken waits until ask succeeds, as long as the process lives.
func (p *program) awaken(ask func() error) error {
	deadline := time.Now().Add(patience)
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-p.process.done:
			return p.fault("has ended: " + strconv.Quote(err.Error()))
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return p.fault("does not answer: " + err.Error())
		}
	}
}

// fault is an error with the end of what the program has written.
func (p *program) fault(what string) error { return &Fault{p.name, what, p.Tail()} }

// Fault is a program that does not do what it has to.
type Fault struct{ Name, What, Output string }

func (f *Fault) Error() string { return f.Name + " " + f.What + "\n" + f.Output }
