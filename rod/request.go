package rod

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// State is how far a request has come. Armed and Released requests are live: they match new HTLCs.
type State uint8

const (
	Armed     State = iota // its HTLCs are held
	Released               // its HTLCs pass
	Withdrawn              // cancelled, or its channel went away: its HTLCs are given up
	Expired                // its deadline passed, or no HTLC ever came: its HTLCs are given up
)

func (s State) String() string { return [...]string{"armed", "released", "withdrawn", "expired"}[s] }

// requestKey names a request. The pid_hash alone does not: a peer can claim any.
type requestKey struct {
	peer NodeID
	pid  [32]byte // pid_hash
}

func (k requestKey) compare(o requestKey) int {
	return cmp.Or(bytes.Compare(k.peer[:], o.peer[:]), bytes.Compare(k.pid[:], o.pid[:]))
}

// request is a payer's wish to hold. Invariants: one that is not live has members left; a live request owns its hashes in Table.byHash;
// one that is not live has a tombstone; told never goes back.
type request struct {
	requestKey
	state      State
	told       StatusState // the last status on the reply path
	content    [32]byte    // SHA256 of the rod_hold; zero if an HTLC's own TLV made the request
	hashes     [][32]byte
	total      uint64 // msat to come in all; 0: unknown
	asked      bool   // the payer named a deadline
	deadline   uint32 // bound of every member's R
	armedUntil int64  // unix seconds; counts until the first HTLC
	unblocked  int64  // unix seconds at which the unblock came that still waits for parts; 0: none
	joined     bool   // had a member
	settled    bool   // a member ended settled
	over       bool   // Released, and every member has an outcome, though not all of them irrevocable: a retry is another request
	replyPath  []byte

	members []*member // by key; kept in rows of their own
}

func (r *request) live() bool { return (r.state == Armed || r.state == Released) && !r.over }

// decided says whether all its members have an outcome, or can have none.
func (r *request) decided() bool {
	return len(r.members) > 0 && !slices.ContainsFunc(r.members, func(m *member) bool { return m.stage == memberOpen && !m.void })
}

// heldMsat is what its members amount to.
func (r *request) heldMsat() (sum uint64) {
	for _, m := range r.members {
		sum += m.amount
	}
	return sum
}

// complete says whether all of total_msat would be there with another more msat. Unknown totals are complete.
func (r *request) complete(more uint64) bool { return r.heldMsat()+more >= r.total }

type memberStage uint8

const (
	memberOpen      memberStage = iota
	memberFailed                // being failed back, the payer does not know yet
	memberFulfilled             // the preimage is here, the payer does not have it yet
)

// member is an HTLC of a request, from when it is committed until its outcome is irrevocable with the payer.
type member struct {
	requestKey
	key      HTLCKey
	hash     [32]byte
	amount   uint64 // msat
	expiry   uint32 // E_in
	deadline uint32 // R
	stage    memberStage
	void     bool // its channel went on chain: never forwarded, nobody woken for it

	request *request
	overdue bool // memory only: Released past R, and the caller was told
}

func (k HTLCKey) compare(o HTLCKey) int {
	return cmp.Or(cmp.Compare(k.Channel, o.Channel), cmp.Compare(k.ID, o.ID))
}

// Table is an LSP's requests. See the package comment for what the caller owes.
type Table struct {
	cfg    Config
	now    int64
	height uint32

	byPeer  map[NodeID]map[[32]byte]*request // all, by pid_hash
	byPid   map[[32]byte][]*request          // live ones, by pid_hash
	byHash  map[HoldKey]*request             // live ones
	members map[HTLCKey]*member
	tombs   map[NodeID]map[[32]byte]int64 // finished pid_hashes, until when
	total   int                           // requests in byPeer

	up      map[NodeID]bool
	buckets map[NodeID]bucket
	purged  int64 // when tombstones were last looked through
	wake    *Waker
}

// Load makes a Table of its rows, in any order: those of rod_request, rod_member and rod_tombstone. None make an empty one.
func Load(cfg Config, rows ...Row) (*Table, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	t := &Table{
		cfg:    cfg,
		byPeer: map[NodeID]map[[32]byte]*request{}, byPid: map[[32]byte][]*request{}, byHash: map[HoldKey]*request{},
		members: map[HTLCKey]*member{}, tombs: map[NodeID]map[[32]byte]int64{},
		up: map[NodeID]bool{}, buckets: map[NodeID]bucket{}, wake: NewWaker(),
	}
	for _, row := range rows {
		if err := t.loadRow(row); err != nil {
			return nil, fmt.Errorf("%s: %w", row.Table, err)
		}
	}
	for _, m := range t.sortedMembers() {
		r := t.find(m.requestKey)
		if r == nil {
			// It may have been held: passing it on now would pay without the payee being there.
			return nil, fmt.Errorf("%s: channel %d HTLC %d has no request", TableMember, m.key.Channel, m.key.ID)
		}
		m.request = r
		r.members = append(r.members, m)
	}
	for peer, rs := range t.byPeer {
		for _, r := range rs {
			if !r.live() && len(r.members) == 0 {
				return nil, fmt.Errorf("%s: %s and over without HTLCs", TableRequest, r.state)
			}
		}
		t.setWakes(peer)
	}
	return t, nil
}

func (t *Table) loadRow(row Row) error {
	switch row.Table {
	case TableRequest:
		key, err := decodeRequestKey(row.Key)
		if err != nil {
			return err
		}
		r, err := decodeRequest(key, row.Value)
		if err != nil {
			return err
		}
		for _, h := range r.hashes {
			if r.live() && t.byHash[HoldKey{key.peer, h}] != nil {
				return fmt.Errorf("two live requests of a peer for hash %x", h[:4])
			}
		}
		t.index(r)
	case TableMember:
		key, err := decodeHTLCKey(row.Key)
		if err != nil {
			return err
		}
		if t.members[key], err = decodeMember(key, row.Value); err != nil {
			return err
		}
	case TableTombstone:
		key, err := decodeRequestKey(row.Key)
		if err != nil {
			return err
		}
		until, err := decodeTombstone(row.Value)
		if err != nil {
			return err
		}
		t.entomb(key, until)
	default:
		return fmt.Errorf("not a table of rod")
	}
	return nil
}

func (t *Table) find(k requestKey) *request { return t.byPeer[k.peer][k.pid] }

// index enters a request where its state says.
func (t *Table) index(r *request) {
	if t.byPeer[r.peer] == nil {
		t.byPeer[r.peer] = map[[32]byte]*request{}
	}
	t.byPeer[r.peer][r.pid] = r
	t.total++
	if !r.live() {
		return
	}
	t.byPid[r.pid] = append(t.byPid[r.pid], r)
	slices.SortFunc(t.byPid[r.pid], func(a, b *request) int { return a.compare(b.requestKey) })
	for _, h := range r.hashes {
		t.byHash[HoldKey{r.peer, h}] = r
	}
}

// unmatch makes a request match nothing new. Its row stays while it has members.
func (t *Table) unmatch(r *request) {
	t.byPid[r.pid] = slices.DeleteFunc(t.byPid[r.pid], func(o *request) bool { return o == r })
	if len(t.byPid[r.pid]) == 0 {
		delete(t.byPid, r.pid)
	}
	for _, h := range r.hashes {
		if k := (HoldKey{r.peer, h}); t.byHash[k] == r {
			delete(t.byHash, k)
		}
	}
}

// drop forgets a request that was unmatched.
func (t *Table) drop(r *request) {
	delete(t.byPeer[r.peer], r.pid)
	if len(t.byPeer[r.peer]) == 0 {
		delete(t.byPeer, r.peer)
	}
	t.total--
}

func (t *Table) entomb(k requestKey, until int64) {
	if t.tombs[k.peer] == nil {
		t.tombs[k.peer] = map[[32]byte]int64{}
	}
	t.tombs[k.peer][k.pid] = until
}

func (t *Table) entombed(k requestKey) bool {
	_, ok := t.tombs[k.peer][k.pid]
	return ok
}

// sortedRequests and sortedMembers give everything in an order that does not depend on maps.
func (t *Table) sortedRequests() []*request {
	out := make([]*request, 0, t.total)
	for _, rs := range t.byPeer {
		for _, r := range rs {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b *request) int { return a.compare(b.requestKey) })
	return out
}

func (t *Table) sortedMembers() []*member {
	return sortedValues(t.members, func(a, b *member) int { return a.key.compare(b.key) })
}

// sortedValues makes nothing of an empty map: with every block and tick somebody asks.
func sortedValues[K comparable, V any](m map[K]V, compare func(a, b V) int) []V {
	if len(m) == 0 {
		return nil
	}
	return slices.SortedFunc(maps.Values(m), compare)
}

// RequestInfo is a request as an operator sees it.
type RequestInfo struct {
	Peer       NodeID
	PidHash    [32]byte
	State      State
	Hashes     [][32]byte
	TotalMsat  uint64
	Deadline   uint32
	ArmedUntil int64
	Members    []MemberInfo
}

// MemberInfo is an HTLC of a request as an operator sees it.
type MemberInfo struct {
	Key       HTLCKey
	Hash      [32]byte
	Amount    uint64 // msat
	Expiry    uint32
	Deadline  uint32
	Fulfilled bool
	Failed    bool
	Void      bool
}

// Requests lists all requests that have a row, by peer and pid_hash.
func (t *Table) Requests() []RequestInfo {
	var out []RequestInfo
	for _, r := range t.sortedRequests() {
		info := RequestInfo{r.peer, r.pid, r.state, slices.Clone(r.hashes), r.total, r.deadline, r.armedUntil, nil}
		for _, m := range r.members {
			info.Members = append(info.Members, MemberInfo{m.key, m.hash, m.amount, m.expiry, m.deadline,
				m.stage == memberFulfilled, m.stage == memberFailed, m.void})
		}
		out = append(out, info)
	}
	return out
}
