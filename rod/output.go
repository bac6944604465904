package rod

// Kind is what to do with an incoming HTLC.
type Kind uint8

const (
	Pass   Kind = iota // go on forwarding it
	Hold               // keep it; forward nothing
	GiveUp             // fail it back
)

func (k Kind) String() string { return [...]string{"pass", "hold", "give up"}[k] }

// Verdict is Judge's answer.
type Verdict struct {
	Kind          Kind
	Member        bool   // the caller owes Apply(Member{h}) in the same turn
	Deadline      uint32 // R: the height at which it is given up if not on its way. 0 for an HTLC that is nobody's member
	Reason        string // why it is given up; for the log
	ExpiryTooSoon bool   // fail with expiry_too_soon; otherwise temporary_node_failure
}

// Output is what one event causes. Rows are durable before anything but Released and GiveUp is acted on.
type Output struct {
	Rows     []Row
	Replies  []Reply
	Released []HoldKey // judge the held HTLCs of these again: they pass now
	GiveUp   []GivenUp // fail these back, unless they have a child
	Claim    []uint64  // channels to force-close: a preimage would otherwise go stale. Asked again with every block
	Wakes    []Wake
	News     []News
}

// News is something that happened to a request, for whoever watches. Nothing follows from it.
type News struct {
	What    What
	Peer    NodeID // zero: nobody's
	PidHash [32]byte
	Reason  string // of NewsRefused the status that was answered, of NewsWithdrawn the one that was told
}

// What is the kind of a News.
type What uint8

const (
	NewsArmed     What = iota // a request to hold is granted
	NewsRefused               // one is not
	NewsExpired               // one ended because its time is over
	NewsWithdrawn             // one ended otherwise before its release
	// What became of an unblock that came.
	NewsReleased
	NewsEarly     // it is remembered until the parts are complete
	NewsDuplicate // the request was released before
	NewsBadSource // it is for another node than the one that the message goes on to
	NewsUnknown   // nobody's, or of a request that is over
)

func (w What) String() string {
	return [...]string{"armed", "refused", "expired", "withdrawn", "released", "early", "duplicate", "bad_source", "unknown"}[w]
}

// Unblock says whether the News is what became of an unblock.
func (w What) Unblock() bool { return w >= NewsReleased }

// Row is one durable fact. A nil Value deletes.
type Row struct {
	Table      string
	Key, Value []byte
}

// The tables of rows. Keys: rod_request and rod_tombstone: peer (33) and pid_hash (32). rod_member: channel (8), HTLC id (8).
// mailbox: client (33), sequence (8). device: client (33), name. rod_payer: payment id (8). rod_payee: pid_hash (32).
const (
	TableRequest   = "rod_request"
	TableMember    = "rod_member"
	TableTombstone = "rod_tombstone"
	TableMailbox   = "mailbox"
	TableDevice    = "device"
	TablePayer     = "rod_payer"
	TablePayee     = "rod_payee"
)

// Reply is an onion message for a payer, to be sent along the reply path of its own rod_hold.
// Path is nil for the answer to a Direct request, which goes back the way the request came.
// It is quiet: when the payer is away it is kept, but nobody is woken for it.
type Reply struct {
	Peer    NodeID
	Path    []byte
	Type    uint64 // onionmsg_tlv type: TypeHoldAck or TypeStatus
	Payload []byte
}

// GivenUp is an HTLC to fail back.
type GivenUp struct {
	Key           HTLCKey
	ExpiryTooSoon bool // expiry_too_soon; otherwise temporary_node_failure
	Reason        string
}

// Wake is a wish to wake a client's devices. ID is the same for the same wish, whoever repeats it.
type Wake struct {
	ID     [16]byte
	Peer   NodeID
	Method string // of a webhook notification: lsps5.* or rod.*
	Params string // a JSON object
}
