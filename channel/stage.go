package channel

// Stage is how far an update has climbed the ladder of BOLT 2 "Normal Operation". Additions, removals and fee changes
// all climb the same one. 0 means that there is no such update.
type Stage uint8

const (
	Proposed    Stage = 1 // pending on the receiver: never on disk
	Signed      Stage = 2 // in the receiver's commitment
	Acked       Stage = 3 // the receiver has revoked the commitment before
	CrossSigned Stage = 4 // in the sender's commitment
	Irrevocable Stage = 5 // the sender has revoked the commitment before: irrevocably committed
)

// step is one of the four messages that move updates.
type step uint8

const (
	sendCommit    step = iota // we send commitment_signed
	receiveRevoke             // we receive revoke_and_ack
	receiveCommit             // we receive commitment_signed
	sendRevoke                // we send revoke_and_ack
	steps
)

// ladder says which stage a step lifts, by one: of the updates we sent and of those the peer sent. The whole
// commitment dance is this table.
var ladder = [steps]struct{ ours, theirs Stage }{
	sendCommit:    {ours: Proposed, theirs: Acked},
	receiveRevoke: {ours: Signed, theirs: CrossSigned},
	receiveCommit: {ours: Acked, theirs: Proposed},
	sendRevoke:    {ours: CrossSigned, theirs: Signed},
}

// A view says which updates a commitment holds: those of ours that have reached ours, those of the peer's that have
// reached theirs.
type view struct{ ours, theirs Stage }

// The commitments there can be at one time. Next means: were the pending updates signed for now.
var (
	viewLocal      = view{ours: CrossSigned, theirs: Signed} // ours, the newest the peer has signed
	viewRemote     = view{ours: Signed, theirs: CrossSigned} // the peer's, the newest we have signed
	viewRemotePrev = view{ours: Acked, theirs: Irrevocable}  // the peer's, before that one; unrevoked while a revoke_and_ack is awaited
	viewRemoteNext = view{ours: Proposed, theirs: Acked}     // the peer's, what we would sign
	viewLocalNext  = view{ours: Acked, theirs: Proposed}     // ours, what the peer would sign
)

// in says whether an update at stage is in the commitment. Stage 0 never is.
func (v view) in(stage Stage, ours bool) bool {
	if ours {
		return stage >= v.ours
	}
	return stage != 0 && stage >= v.theirs
}

// lift moves every update that the step concerns up by one.
func (s *State) lift(st step) {
	up := func(stage *Stage, ours bool) {
		from := ladder[st].theirs
		if ours {
			from = ladder[st].ours
		}
		if *stage == from {
			*stage++
		}
	}
	for i := range s.offered {
		up(&s.offered[i].add, true)
		up(&s.offered[i].remove, false)
	}
	for i := range s.received {
		up(&s.received[i].add, false)
		up(&s.received[i].remove, true)
	}
	for i := range s.fees {
		up(&s.fees[i].stage, s.params.Opener)
	}
	s.mergeFees()
}

// mergeFees drops the fee rates that no commitment can have any more: of two at one stage the later counts. So there are
// never more than stages, even if the peer keeps on signing for new ones and does not revoke.
func (s *State) mergeFees() {
	kept := s.fees[:0]
	for i, f := range s.fees {
		if i+1 == len(s.fees) || s.fees[i+1].stage != f.stage {
			kept = append(kept, f)
		}
	}
	s.fees = kept
}

// pending says whether a step would move anything: whether there is something to sign for.
func (s *State) pending(st step) bool {
	ours, theirs := ladder[st].ours, ladder[st].theirs
	for i := range s.offered {
		if s.offered[i].add == ours || s.offered[i].remove == theirs {
			return true
		}
	}
	for i := range s.received {
		if s.received[i].add == theirs || s.received[i].remove == ours {
			return true
		}
	}
	from := theirs
	if s.params.Opener {
		from = ours
	}
	for i := range s.fees {
		if s.fees[i].stage == from {
			return true
		}
	}
	return false
}
