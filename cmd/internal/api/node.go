package api

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"lightningrod/chain"
	"lightningrod/channel"
	"lightningrod/channel/onchain"
	"lightningrod/node"
	"lightningrod/node/forward"

	"github.com/btcsuite/btcd/chaincfg"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/lightningnetwork/lnd/lnwire"
)

// Miner is the embedded chain.
type Miner interface {
	Mine(n int, payTo []byte) ([]chainhash.Hash, error)
}

// Daemon is a node.Node as a Control. Params, Network, Backend and Version are told to whoever asks; Miner may be nil.
type Daemon struct {
	Node    *node.Node
	Params  *chaincfg.Params
	Alias   string
	LSP     bool
	Backend string
	Version string
	Backups string // folder they are written to
	Miner   Miner
}

var _ Control = (*Daemon)(nil)

// Info is all but the state, which the server knows.
func (d *Daemon) Info() Info {
	info := Info{
		ID: hexOf(d.Node.ID()), Alias: d.Alias, Network: d.Params.Name, Backend: d.Backend, Version: d.Version,
		Height: d.Node.Tip(), LSP: d.LSP, Addrs: []string{}, LastEvent: Number(d.LastEvent()),
	}
	for _, a := range d.Node.Addrs() {
		info.Addrs = append(info.Addrs, a.String())
	}
	if err := d.Node.Stale(); err != nil {
		info.Stale = err.Error()
	}
	for _, p := range d.Node.Peers() {
		if p.Connected {
			info.Peers++
		}
	}
	for _, c := range d.Channels() {
		info.Channels++
		if c.Usable {
			info.UsableCount++
		}
	}
	info.GraphChannels, info.GraphNodes = d.Node.GraphSize()
	return info
}

// Ready says why nothing new should be asked of the node.
func (d *Daemon) Ready() error {
	select {
	case <-d.Node.Done():
		return errors.New("the node has stopped")
	default:
		return d.Node.Stale()
	}
}

// serving is Ready for what must not be begun otherwise.
func (d *Daemon) serving() error {
	if err := d.Ready(); err != nil {
		return &Error{Code: Unavailable, Message: err.Error()}
	}
	return nil
}

func (d *Daemon) NewAddress() (Address, error) {
	addr, _, err := d.Node.NewAddress()
	return Address{addr}, err
}

func (d *Daemon) Balance() Balance {
	confirmed, unconfirmed := d.Node.WalletBalance()
	b := Balance{Confirmed: int64(confirmed), Unconfirmed: int64(unconfirmed)}
	for _, c := range d.Channels() {
		b.Local += c.Local
		b.Remote += c.Remote
	}
	return b
}

// connectPatience is how long a connection may take to be made.
const connectPatience = 15 * time.Second

func (d *Daemon) Connect(ctx context.Context, in ConnectPeer) (Peer, error) {
	if _, _, err := net.SplitHostPort(in.Addr); err != nil {
		return Peer{}, invalid("address", "host:port", "%.80q is not host:port", in.Addr)
	}
	id := nodeID(in.ID)
	if id == d.Node.ID() {
		return Peer{}, invalid("id", "another node", "is this node itself")
	}
	ctx, cancel := context.WithTimeout(ctx, connectPatience)
	defer cancel()
	switch err := d.Node.Connect(ctx, id, in.Addr); {
	case errors.Is(err, context.DeadlineExceeded):
		return Peer{}, &Error{Code: Refused, Field: "address", Message: fmt.Sprintf("no answer from %s in %v", in.Addr, connectPatience)}
	case err != nil:
		return Peer{}, err
	}
	if in.Keep {
		if err := d.Node.Keep(id, in.Addr); err != nil {
			return Peer{}, err
		}
	}
	for _, p := range d.Peers() {
		if p.ID == in.ID {
			return p, nil
		}
	}
	return Peer{ID: in.ID, Addr: in.Addr, Kept: in.Keep}, nil
}

func (d *Daemon) Disconnect(_ context.Context, in PeerID) (Empty, error) {
	id := nodeID(in.ID)
	if !slices.ContainsFunc(d.Node.Peers(), func(p node.PeerInfo) bool { return p.ID == id }) {
		return Empty{}, &Error{Code: NotFound, Field: "id", Message: "no such peer"}
	}
	err := d.Node.Unkeep(id)
	d.Node.Disconnect(id)
	return Empty{}, err
}

func (d *Daemon) Peers() []Peer {
	all := []Peer{}
	for _, p := range d.Node.Peers() {
		all = append(all, Peer{ID: hexOf(p.ID), Addr: p.Addr, Connected: p.Connected, Inbound: p.Inbound, Kept: p.Kept, Since: timeText(p.Since)})
	}
	return all
}

func (d *Daemon) OpenChannel(ctx context.Context, in OpenChannel) (ChannelRef, error) {
	if err := d.serving(); err != nil {
		return ChannelRef{}, err
	}
	if in.Push > in.Capacity*1000 {
		return ChannelRef{}, invalid("push_msat", "at most the capacity", "%d above the capacity of %d sat", in.Push, in.Capacity)
	}
	if id := nodeID(in.Peer); !d.Node.Connected(id) {
		return ChannelRef{}, invalid("peer", "a connected peer", "is not connected")
	}
	id, err := d.Node.Open(ctx, node.OpenChannel{
		Peer: nodeID(in.Peer), Capacity: in.Capacity, Push: lnwire.MilliSatoshi(in.Push), Private: in.Private, FeePerKw: chain.FeePerKw(in.FeeRate),
	})
	return ChannelRef{Number(id)}, err
}

func (d *Daemon) CloseChannel(_ context.Context, in CloseChannel) (ChannelRef, error) {
	if !slices.ContainsFunc(d.Node.Channels(), func(c node.ChannelInfo) bool { return c.ID == channel.ID(in.Channel) }) {
		return ChannelRef{}, &Error{Code: NotFound, Field: "channel", Message: "no channel " + in.Channel.String()}
	}
	return ChannelRef{in.Channel}, d.Node.Close(channel.ID(in.Channel), in.Force)
}

func (d *Daemon) Channels() []Channel {
	all := []Channel{}
	for _, c := range d.Node.Channels() {
		all = append(all, describeChannel(c))
	}
	return all
}

func describeChannel(c node.ChannelInfo) Channel {
	s := c.State
	local, remote := s.Balance()
	id := s.ChannelID()
	out := Channel{
		Channel: Number(c.ID), Peer: hexOf(c.Peer), ChannelID: hex.EncodeToString(id[:]), Phase: s.Phase().String(),
		Opener: s.Opener(), Private: s.Private(), Capacity: s.Capacity(), Local: uint64(local), Remote: uint64(remote),
		FeeRate: uint32(s.FeePerKw()), HTLCs: len(s.Offered()) + len(s.Received()),
	}
	if scid := s.ShortID(); scid.ToUint64() != 0 {
		out.ShortID = fmt.Sprintf("%dx%dx%d", scid.BlockHeight, scid.TxIndex, scid.TxPosition)
	}
	if f := s.Funding(); f.Hash != (chainhash.Hash{}) {
		out.Funding = f.String()
	}
	if can, may, usable := s.Usable(); usable {
		out.Usable, out.CanSend, out.CanRecv = true, uint64(can.Max), uint64(may.Max)
	}
	out.Pending = pending(s)
	return out
}

// pending is what a channel on chain waits for.
func pending(s *channel.State) []Pending {
	all := []Pending{}
	if s.OnChain() == nil {
		return all
	}
	for _, p := range s.OnChain().Pending() {
		out := Pending{
			What: p.What, Out: p.Out.String(), Amount: p.Amount, State: p.Standing.String(), Height: p.Height, Deadline: p.Deadline, Fee: p.Fee,
		}
		if p.Standing == onchain.Spent {
			out.By = p.By.String()
		}
		all = append(all, out)
	}
	return all
}

// blindings are the values of CreateInvoice.Blinding.
var blindings = map[string]node.Blinding{"": node.NotBlinded, "peers": node.BlindedByPeers, "self": node.BlindedBySelf}

func (d *Daemon) CreateInvoice(in CreateInvoice) (Invoice, error) {
	how, ok := blindings[in.Blinding]
	if !ok {
		return Invoice{}, invalid("blinding", "peers, self or empty", "%q", in.Blinding)
	}
	inv, err := d.Node.CreateInvoice(node.InvoiceWish{
		Amount: lnwire.MilliSatoshi(in.Amount), Description: in.Description, Expiry: time.Duration(in.Expiry) * time.Second, Blinding: how,
	})
	if err != nil {
		return Invoice{}, err
	}
	info, ok := d.Node.Invoice(inv.Hash)
	if !ok {
		return Invoice{}, errors.New("the invoice was made and is gone")
	}
	return describeInvoice(info), nil
}

func (d *Daemon) Invoices() []Invoice {
	all := []Invoice{}
	for _, i := range d.Node.Invoices() {
		all = append(all, describeInvoice(i))
	}
	return all
}

func describeInvoice(i node.InvoiceInfo) Invoice {
	return Invoice{
		Hash: hex.EncodeToString(i.Hash[:]), Text: i.Text, Amount: i.Amount, State: i.State.String(), Expires: timeText(i.Expiry),
		Received: i.Received, PaidAt: timeText(i.PaidAt),
	}
}

// Pay pays, and waits for the outcome as long as it was asked to. A payment that is still pending then is no error.
func (d *Daemon) Pay(ctx context.Context, in Pay) (Payment, error) {
	if err := d.serving(); err != nil {
		return Payment{}, err
	}
	news := d.Node.Events(d.Node.LastEvent() + 1)
	defer news.Close()
	id, err := d.Node.Pay(in.Invoice, lnwire.MilliSatoshi(in.Amount), max(in.Parts, 1))
	if err != nil {
		return Payment{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(in.Wait)*time.Second)
	defer cancel()
	for {
		p, ok := d.Payment(id)
		if !ok || p.State != forward.PaymentPending.String() {
			return p, nil
		}
		if _, err := news.Next(ctx); err != nil {
			return p, nil
		}
	}
}

func (d *Daemon) SendAsync(in SendAsync) (Payment, error) {
	if err := d.serving(); err != nil {
		return Payment{}, err
	}
	id, err := d.Node.SendAsync(node.AsyncPay{
		Invoice: in.Invoice, Amount: lnwire.MilliSatoshi(in.Amount), LSP: nodeID(in.LSP), Parts: max(in.Parts, 1), Hold: in.Hold, ByHTLC: in.ByHTLC,
	})
	if err != nil {
		return Payment{}, err
	}
	p, ok := d.Payment(id)
	if !ok { // its hold was refused already: the event says why
		p = Payment{ID: Number(id), State: forward.PaymentFailed.String()}
	}
	return p, nil
}

func (d *Daemon) CancelAsync(in PaymentID) error {
	err := d.Node.CancelAsync(uint64(in.ID))
	if errors.Is(err, node.ErrNoAsync) {
		return &Error{Code: NotFound, Field: "id", Message: err.Error()}
	}
	return err
}

func (d *Daemon) Payments() []Payment {
	all := []Payment{}
	for _, p := range d.Node.Payments() {
		all = append(all, describePayment(p))
	}
	return all
}

func (d *Daemon) Payment(id uint64) (Payment, bool) {
	p, ok := d.Node.Payment(id)
	return describePayment(p), ok
}

func describePayment(p node.PaymentInfo) Payment {
	out := Payment{
		ID: Number(p.ID), Hash: hex.EncodeToString(p.Hash[:]), State: p.State.String(), Amount: uint64(p.Total), Sent: uint64(p.Sent), Created: timeText(p.Created),
	}
	if f := p.Failure; f != nil {
		out.Failure = &PaymentFailure{Code: f.Code, Reason: f.Text}
		if f.Hop >= 0 {
			hop := uint32(f.Hop)
			out.Failure.Hop, out.Failure.Node = &hop, hexOf(f.Node)
		}
	}
	if p.State == forward.PaymentSucceeded {
		out.Preimage = hex.EncodeToString(p.Preimage[:])
	}
	return out
}

func (d *Daemon) HTLCs() []HTLC {
	all := []HTLC{}
	for _, h := range d.Node.HTLCs() {
		all = append(all, HTLC{
			Channel: Number(h.Key.Channel), ID: h.Key.HTLC, Peer: hexOf(h.Peer), Hash: hex.EncodeToString(h.Hash[:]),
			Amount: uint64(h.Amount), Expiry: h.Expiry, State: h.State, Limit: h.Limit,
		})
	}
	return all
}

func (d *Daemon) Requests() []Request {
	all := []Request{}
	for _, r := range d.Node.Requests() {
		out := Request{
			Peer: hexOf(r.Peer), PidHash: hex.EncodeToString(r.PidHash[:]), State: r.State.String(), Hashes: []string{},
			Total: r.TotalMsat, Deadline: r.Deadline, Parts: len(r.Members),
		}
		for _, h := range r.Hashes {
			out.Hashes = append(out.Hashes, hex.EncodeToString(h[:]))
		}
		all = append(all, out)
	}
	return all
}

func (d *Daemon) Mailbox() []Box {
	all := []Box{}
	for _, b := range d.Node.Mailbox() {
		all = append(all, Box{Client: hexOf(b.Client), Messages: b.Messages, Bytes: b.Bytes, Oldest: timeText(b.Oldest)})
	}
	return all
}

// reader is a node's Reader with the API's events.
type reader struct{ *node.Reader }

func (r reader) Next(ctx context.Context) (Event, error) {
	ev, err := r.Reader.Next(ctx)
	var none *node.NoEventError
	if errors.As(err, &none) {
		return Event{}, gone("from", none.From, none.Oldest)
	}
	return Event{Seq: ev.Seq, At: ev.At.Format(eventTime), Kind: string(ev.Kind), Fields: ev.Fields}, err
}

// eventTime is RFC 3339 with milliseconds.
const eventTime = "2006-01-02T15:04:05.000Z07:00"

func (d *Daemon) Events(from uint64) Reader { return reader{d.Node.Events(from)} }

func (d *Daemon) Commits() node.Timing { return d.Node.Commits() }

func (d *Daemon) RefusedMessages() (throttled, malformed uint64) { return d.Node.RefusedMessages() }

func (d *Daemon) Locked() (received, offered uint64) {
	in, out := d.Node.Locked()
	return uint64(in), uint64(out)
}

func (d *Daemon) OldestEvent() uint64 { return d.Node.OldestEvent() }

func (d *Daemon) LastEvent() uint64 { return d.Node.LastEvent() }

// Mine mines on the embedded chain.
func (d *Daemon) Mine(_ context.Context, in Mine) (Mined, error) {
	if d.Miner == nil {
		return Mined{}, &Error{Code: Refused, Message: "only the embedded chain can be mined on"}
	}
	var script []byte
	if in.Address == "" {
		_, s, err := d.Node.NewAddress()
		if err != nil {
			return Mined{}, err
		}
		script = s
	} else {
		s, err := d.scriptOf(in.Address)
		if err != nil {
			return Mined{}, err
		}
		script = s
	}
	_, err := d.Miner.Mine(in.Blocks, script)
	return Mined{d.Node.Tip()}, err
}

func hexOf(id [33]byte) string { return hex.EncodeToString(id[:]) }

// nodeID is an id whose hex was checked.
func nodeID(text string) (id [33]byte) {
	_, _ = hex.Decode(id[:], []byte(text))
	return id
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
